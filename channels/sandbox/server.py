"""The sandbox as a whole: all far sides on their ports, in one event loop.

In a program of its own: ``asyncio.run(Sandbox(directory).run())``. Inside a test, in a thread beside it:

    with Sandbox(tmp_path, ports=0, config={"smpp": {"answer_seconds": 0.01}}) as sandbox:
        sandbox.ports["smpp"]; sandbox.faults("smpp", throttle=0.5); sandbox.log_lines("smpp")
"""

import asyncio
import contextlib
import errno
import json
import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from channels.sandbox import control, smsc, smtp, web
from channels.sandbox.config import DEFAULT_PORTS, SIDES, BadConfig, Config, load, update
from channels.sandbox.log import Log, read_log
from channels.sandbox.market import Truth
from channels.sandbox.meta import Account
from channels.sandbox.people import Population
from channels.sandbox.reactions import Crowd, Postman, Touch
from channels.sandbox.vendors import all_vendors
from channels.sandbox.vendors.base import BaseVendor
from channels.sandbox.wecom import Corp

T = TypeVar("T")
_LINK = re.compile(r"https?://[!#-;=?-~]+")
LASTING = range(20_000, 32_000)
"""Free ports are taken from these: the kernel gives them to nobody who only calls, so a restart finds them free."""


class PortTaken(Exception):
    """Somebody else listens there. The message says which and what to do."""


class Sandbox:
    """``ports``: 0 for free ones, a mapping of side → port, or None for the usual ones. Ports once had are kept
    (``ports.json``), so a restarted sandbox is found where it was."""

    def __init__(
        self, directory: Path | str, *, ports: Mapping[str, int] | int | None = None, seed: int | None = None,
        config: Mapping[str, Any] | Path | str | None = None, host: str = "127.0.0.1",
    ) -> None:  # fmt: skip
        self.directory = Path(directory)
        own = {} if seed is None else {"seed": seed}
        if isinstance(config, Mapping):
            self.config: Config = load(None, **{**config, **own})
        else:
            self.config = load(config, **own)
        self.host = host
        self._wanted = ports
        self.ports: dict[str, int] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None
        self._failed: BaseException | None = None

    # -- start and stop ----------------------------------------------------------------------------------
    async def run(self, ready: Callable[[], None] | None = None) -> None:
        """Serve until SIGTERM, SIGINT or :meth:`stop`. Raises :class:`PortTaken`, :class:`BadConfig`."""
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._loop.add_signal_handler(number, self._stopping.set)
        async with contextlib.AsyncExitStack() as stack:
            await self._open(stack)
            if ready:
                ready()
            await self._stopping.wait()

    async def _open(self, stack: contextlib.AsyncExitStack) -> None:
        config, seed = self.config, self.config.seed
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log = Log(self.directory)
        stack.push_async_callback(self.log.close)
        people = self._population()
        self.center = smsc.Center(config.smpp, self.log, seed)
        self.mail = smtp.MailServer(config.smtp, self.log, seed)
        self.corp = Corp(
            config.wecom, self.log, seed, people, callback=lambda: self._at_ours(config.wecom.callback)
        )
        self.account = Account(config.meta, self.log, seed, people, speed=lambda: config.market.speed)
        self.postman = Postman(
            lambda: self._at_ours(config.smtp.webhook), lambda: config.smtp.webhook_key,
            lambda ids: self.log.write("smtp", "reported", ids=ids), self.mail.counters,
        )  # fmt: skip
        self.mail.report = self.postman.report
        self.crowd: Crowd | None = None
        if people is not None:
            self.crowd = self._crowd(people)
            self.crowd.restore()
            self.crowd.start()
            stack.push_async_callback(self.crowd.close)
        self.vendors: dict[str, BaseVendor] = {
            name: vendor(getattr(config.vendors, name), self.log, seed, people, self._at_ours)
            for name, vendor in all_vendors().items()
        }
        if self.crowd is not None:
            self.crowd.sides = self.vendors
            for vendor in self.vendors.values():
                vendor.crowd = self.crowd
        for side in (self.mail, self.center, self.corp, self.account):
            side.restore()
        for vendor in self.vendors.values():
            vendor.restore()
        await self._listen(stack)
        self.account.start()
        self.postman.start()
        for vendor in self.vendors.values():
            vendor.start()
            stack.push_async_callback(vendor.close)
        for closing in (
            self.account.close,
            self.corp.close,
            self.postman.close,
            self.center.close,
            self.mail.close,
        ):
            stack.push_async_callback(closing)
        flushing = asyncio.ensure_future(self._flush_now_and_then())
        stack.callback(flushing.cancel)
        self._write_ports()

    async def _listen(self, stack: contextlib.AsyncExitStack) -> None:
        wanted = self._wanted_ports()
        for side in SIDES:
            tries = [wanted[side]] if wanted[side] else random.sample(LASTING, 10)
            for port in tries:
                try:
                    self.ports[side] = await self._serve(side, port, stack)
                    break
                except OSError as error:
                    if port != tries[-1] and error.errno == errno.EADDRINUSE:
                        continue
                    raise PortTaken(
                        f"port {port} ({side}) is taken: end who listens there, or give --ports {side}=0"
                    ) from error

    async def _serve(self, side: str, port: int, stack: contextlib.AsyncExitStack) -> int:
        if side in {"smtp", "smpp"}:
            serving = (
                smtp.serve(self.mail, self.host, port)
                if side == "smtp"
                else smsc.serve(self.center, self.host, port)
            )
            server = await serving
            stack.callback(server.close)
            return int(server.sockets[0].getsockname()[1])
        if side in self.vendors:
            return await self.vendors[side].serve(self.host, port, stack)
        apps = {"wecom": self.corp.app, "meta": self.account.app, "control": lambda: control.app(self)}
        runner, port = await web.serve(apps[side](), self.host, port)
        stack.push_async_callback(runner.cleanup)
        return port

    def _wanted_ports(self) -> dict[str, int]:
        """Explicit ones first, then those of the last run, then the usual ones."""
        last: dict[str, int] = {}
        with contextlib.suppress(OSError, ValueError):
            last = json.loads((self.directory / "ports.json").read_text())
        given = self._wanted
        if isinstance(given, Mapping):
            unknown = set(given) - set(SIDES)
            if unknown:
                raise BadConfig(f"no side {sorted(unknown)[0]!r}; known: {', '.join(SIDES)}")
            return {side: given.get(side, last.get(side, DEFAULT_PORTS[side])) for side in SIDES}
        usual = dict.fromkeys(SIDES, 0) if given == 0 else DEFAULT_PORTS
        return {side: last.get(side, usual[side]) for side in SIDES}

    def _write_ports(self) -> None:
        aside = self.directory / f".ports.{os.getpid()}"
        aside.write_text(json.dumps({**self.ports, "host": self.host, "pid": os.getpid()}, indent=1))
        aside.replace(self.directory / "ports.json")

    def _at_ours(self, address: str) -> str:
        """A webhook's address; one that begins with / is a path of Evenreach's."""
        return self.config.market.app_url.rstrip("/") + address if address.startswith("/") else address

    def _population(self) -> Population | None:
        market = self.config.market
        path = self.directory / market.population
        if not path.exists():
            return None
        try:
            return Population.read(path)
        except ValueError as error:
            raise BadConfig(str(error)) from error

    def _crowd(self, people: Population) -> Crowd:
        """The people, with a wire from every far side to them."""
        try:
            truth = Truth.of({"seed": self.config.seed, **self.config.market.truth})
        except TypeError as error:
            raise BadConfig(f"market.truth: {error}") from error
        crowd = Crowd(self.config.market, truth, people, self.log, self.center.reply, self.corp.leave)

        def by_sms(phone: str, number: str, text: str, attempt: str) -> None:
            row = people.find("phone", phone)
            if row is not None:
                crowd.touch(Touch(row, "sms", tuple(_LINK.findall(text)), number=number))

        def by_mail(mail: smtp.Mail) -> None:
            row = people.find("email", mail.recipient)
            if row is not None:
                crowd.touch(Touch(row, "email", mail.links, mail.pixels, mail.unsubscribe))

        def by_wecom(ext: str, userid: str, text: str, msgid: str) -> None:
            row = people.find("wecom_external_id", ext)
            if row is not None:
                crowd.touch(Touch(row, "wecom", tuple(_LINK.findall(text)), employee=userid))

        def by_ad(rows: list[int], adset: str) -> None:
            for row in rows:
                crowd.touch(Touch(row, "social"))

        self.center.arrived, self.mail.arrived = by_sms, by_mail
        self.corp.arrived, self.account.arrived = by_wecom, by_ad
        return crowd

    async def _flush_now_and_then(self) -> None:
        """Lines that no answer waits for (receipts told, reactions planned) reach the disk soon as well."""
        while True:
            await asyncio.sleep(0.2)
            await self.log.flushed()

    # -- in a test ---------------------------------------------------------------------------------------
    def __enter__(self) -> "Sandbox":
        ready = threading.Event()

        def work() -> None:
            try:
                asyncio.run(self.run(ready.set))
            except BaseException as error:  # handed to the thread that waits
                self._failed = error
            finally:
                ready.set()

        self._thread = threading.Thread(target=work, name="sandbox", daemon=True)
        self._thread.start()
        ready.wait()
        if self._failed:
            raise self._failed
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self._loop and self._stopping and self._thread and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(10)
        if self._failed:
            raise self._failed

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function (or coroutine function) within the sandbox's loop and return what it returns."""

        async def inside() -> Any:
            result = function(*arguments)
            return await result if asyncio.iscoroutine(result) else result

        assert self._loop is not None  # noqa: S101
        return asyncio.run_coroutine_threadsafe(inside(), self._loop).result(30)

    def faults(self, side: str, **changes: Any) -> None:
        """``faults("smpp", throttle=0.5, next=["drop"])``; what is not named stays."""
        told = {side: {"faults": changes}}
        self.change({"vendors": told} if side in self.vendors else told)

    def change(self, values: Mapping[str, Any]) -> None:
        self.call(lambda: self.apply(dict(values)))

    def apply(self, values: dict[str, Any]) -> None:
        """Change the configuration while running. Raises :class:`BadConfig`, then nothing is changed."""
        speed = self.config.market.speed
        update(self.config, values)
        wanted, self.config.market.speed = self.config.market.speed, speed
        self.set_speed(wanted)

    def set_speed(self, speed: float) -> None:
        if self.crowd:
            self.crowd.set_speed(speed)
        self.config.market.speed = speed

    def state(self) -> dict[str, Any]:
        """Counters of every side and what still waits."""
        sides: dict[str, Any] = {
            "smtp": self.mail, "smpp": self.center, "wecom": self.corp, "meta": self.account, "market": self.crowd,
            **self.vendors,
        }  # fmt: skip
        return {
            "counters": {name: dict(side.counters) for name, side in sides.items() if side},
            "waiting": {
                "smpp": self.center.waiting(), "webhook": self.postman.waiting(),
                "market": self.crowd.waiting() if self.crowd else 0,
                **{name: vendor.waiting() for name, vendor in self.vendors.items()},
            },
            "faults": {
                name: dict(side.config.faults.seen)
                for name, side in sides.items()
                if side and hasattr(side.config, "faults") and side.config.faults.seen
            },
            "day": self.crowd.now() if self.crowd else 0.0,
            "ports": self.ports,
            "config": asdict(self.config),
        }  # fmt: skip

    def counters(self, side: str) -> dict[str, int]:
        counters: dict[str, int] = self.call(self.state)["counters"].get(side, {})
        return counters

    def log_lines(self, kind: str, event: str = "") -> list[dict[str, Any]]:
        """The log as far as it is on the disk."""
        self.call(self.log.flushed)  # type: ignore[unused-coroutine]
        return [line for line in read_log(self.directory, kind) if not event or line["event"] == event]

    def wait(self, until: Callable[[], Any], seconds: float = 10.0) -> Any:
        """What ``until`` returns once it is true. Raises :class:`TimeoutError`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = until()
            if found:
                return found
            time.sleep(0.02)
        raise TimeoutError(f"not within {seconds} s")

"""Runs the installation, kills it, and waits until every touch has come to its end."""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from campaigns.retrying import steadily
from channels.accounts import callback_url
from channels.sandbox.config import SIDES
from channels.sandbox.server import LASTING
from config import postgres, queue, web
from config.children import Child, Children
from config.torture import count, scene

T = TypeVar("T")
WEIGHTS = {"worker": 5, "database": 2, "sandbox": 2, "web": 1, "beat": 1}  # how often each is killed
REACHABLE = 120.0  # seconds the database may be away at most
BEGINS = 30.0  # seconds in which a slice begins to be sent, a dead worker's restart included
QUIET = 3.0  # seconds without any change before the end is believed

OPEN = """
SELECT count(*) FILTER (WHERE state = 'claimed' OR state = 'held'),
       count(*) FILTER (WHERE state = 'planned' AND deferred <> 'pressure'),
       count(*) FILTER (WHERE state = 'planned')
FROM campaigns_touch
"""
INBOX = "SELECT count(*) FROM channels_inboxevent WHERE state = 'new'"
BEGUN = "SELECT count(*) FROM campaigns_attempt"
OPEN_SLICE = """
UPDATE campaigns_touch SET due_at = %(now)s WHERE state = 'planned' AND deferred = '' AND id %% %(slices)s = %(slice)s
"""
UNSETTLED = "SELECT count(*) FROM campaigns_attempt WHERE state IN ('recorded', 'unknown')"
OPEN_WAITING = (
    "UPDATE campaigns_touch SET due_at = %(now)s WHERE state = 'planned' AND deferred <> 'pressure'"
)
END_FLIGHT = """
UPDATE campaigns_touch SET deadline_at = %(now)s, due_at = least(due_at, %(now)s) WHERE state = 'planned'
"""


class NotFinished(Exception):
    """Not every touch came to an end in time; what was counted is told all the same."""


class Torture:
    def __init__(
        self,
        *,
        customers: int,
        kills: int,
        workers: int,
        seed: int,
        minutes: float,
        say: Callable[[str], None],
    ) -> None:
        self.customers, self.kills, self.workers, self.minutes = customers, kills, workers, minutes
        self.random = random.Random(seed)  # noqa: S311
        self.say = say
        self.folder: Path = settings.DATA_DIR
        password = settings.DATABASES["default"]["PASSWORD"]
        # Somebody else's database is used as it is, and never killed.
        self.server = postgres.default_server(self.folder, password) if settings.EMBEDDED else None
        url = settings.BROKER_URL
        self.redis = Path(url.removeprefix("redis+socket://")) if url.startswith("redis+socket://") else None
        self.children = Children(self.folder / "log", say)
        self.killed: Counter[str] = Counter()

    def run(self) -> dict[str, Any]:
        began = time.monotonic()
        if self.server:
            self.server.hold()
        try:
            self._prepare()
            self._start()
            sending = time.monotonic()
            finished = self._kill_and_wait()
            seconds = time.monotonic() - sending
            counted = self._count()
        finally:
            self.children.stop(hurry=lambda: True)
            connection.close()
            if self.server:
                self.server.leave()
        return {
            "customers": self.customers,
            "broker": "redis" if self.redis else "embedded",
            "kills": sum(self.killed.values()),
            "killed": dict(self.killed),
            **counted,
            "finished": finished,
            "sending_seconds": round(seconds, 1),
            "seconds": round(time.monotonic() - began, 1),
        }

    def _count(self) -> dict[str, Any]:
        return count.count(self.folder / "sandbox")

    # Setting up --------------------------------------------------------------------------------

    def _prepare(self) -> None:
        call_command("migrate", interactive=False, verbosity=0, skip_checks=True)
        if self.server is None:  # what an installation with a database of its own is told to do once
            call_command("collectstatic", interactive=False, verbosity=0, skip_checks=True)
        queue.install()
        self.ports = dict(zip(SIDES, free_ports(len(SIDES)), strict=True))
        self._set_up()

    def _set_up(self) -> None:
        """Rows, and what the sandbox reads when it starts."""
        self.scene = scene.build(self.customers, self.ports["smtp"], self.ports["smpp"], timezone.now())
        sandbox = self.folder / "sandbox"
        sandbox.mkdir(parents=True, exist_ok=True)
        config = {
            "smtp": {"webhook": callback_url(self.scene.channels[0]), "webhook_key": "torture"},
            "smpp": {"receipt_seconds": 0.3, "answer_seconds": 0.005},
        }
        (sandbox / "config.json").write_text(json.dumps(config))

    def _start(self) -> None:
        manage = [sys.executable, str(settings.BASE_DIR / "manage.py")]
        celery = [sys.executable, "-m", "celery", "--quiet", "-A", "config"]
        if self.redis is not None:
            self._start_broker(self.redis)
        ports = ",".join(f"{side}={port}" for side, port in self.ports.items())
        self._child("sandbox", [*manage, "sandbox", "--dir", str(self.folder / "sandbox"), "--ports", ports])
        port = settings.PUBLIC_URL.rpartition(":")[2]
        self._child(
            "web", web.command(f"127.0.0.1:{port}"), EVENREACH_WEB_WORKERS="1", EVENREACH_WEB_THREADS="4"
        )
        for number in range(self.workers):
            self._child(
                f"worker{number + 1}",
                [
                    *celery, "worker", "--pool", "prefork" if self.redis else "threads",
                    "--concurrency", str(settings.WORKER_THREADS),
                    "--hostname", f"worker{number + 1}@torture", "--loglevel", "WARNING",
                    "--without-gossip", "--without-mingle", "--without-heartbeat",
                ],
            )  # fmt: skip
        self._child("beat", [*celery, "beat", "--loglevel", "WARNING", "--pidfile", ""])
        self._wait_for_web()

    def _start_broker(self, socket_path: Path) -> None:
        """A Redis that keeps what it was given, as docs/operations.md asks for."""
        self._child(
            "broker",
            [
                str(shutil.which("redis-server")), "--port", "0", "--unixsocket", str(socket_path),
                "--dir", str(self.folder),
                "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction",
                "--loglevel", "warning",
            ],
        )  # fmt: skip

    def _child(self, name: str, command: list[str], **environment: str) -> None:
        shared = {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(settings.BASE_DIR)}
        self.children.start(Child(name, command, shared | environment))

    def _wait_for_web(self) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + REACHABLE
        while time.monotonic() < deadline:
            self.children.watch()
            try:
                with opener.open(f"{settings.PUBLIC_URL}/healthz", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise NotFinished("the web does not answer; see the log folder")

    # The story ---------------------------------------------------------------------------------

    def _kill_and_wait(self) -> bool:
        """Kill while there is work under way; then wait for the end. False when time was up first.

        Touches come due in as many slices as there are kills, and one more. A kill comes at a random moment
        after its slice began to be sent.
        """
        deadline = time.monotonic() + 60 * self.minutes
        for number, kind in enumerate(self._plan()):
            begun = steadily(self._begun, REACHABLE)
            steadily(partial(self._open_slice, number), REACHABLE)
            # A slice of those who wait for an earlier touch, or have no place left, begins nothing.
            self._watch_until(partial(self._began_since, begun), min(deadline, time.monotonic() + BEGINS))
            if time.monotonic() >= deadline:
                return False
            self._watch_for(self.random.uniform(0.0, 2.0))
            self._kill(kind)
        steadily(lambda: self._open_slice(self.kills), REACHABLE)
        return self._wait_for_the_end(deadline)

    def _watch_until(self, true: Callable[[], bool], deadline: float) -> bool:
        while time.monotonic() < deadline:
            self.children.watch()
            if true():
                return True
            time.sleep(0.05)
        return False

    def _watch_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self._watch_until(lambda: time.monotonic() >= until, until + 1)

    def _wait_for_the_end(self, deadline: float) -> bool:
        quiet_since: float | None = None
        seen: tuple[Any, ...] = ()
        ended = False
        while time.monotonic() < deadline:
            self.children.watch()
            state = self._state()
            if state != seen:
                seen, quiet_since = state, time.monotonic()
            flying, waiting, planned, inbox, _unsettled = state
            still = time.monotonic() - (quiet_since or 0.0)
            if not flying and not waiting and not inbox and still > QUIET:
                if not planned:
                    return True
                if not ended:  # only the capped are left: their flight ends now
                    steadily(self._end_flight, REACHABLE)
                    ended = True
            elif waiting and not flying and still > QUIET:
                # Behind an earlier touch of the person whose slice was opened after theirs, they wait for its old day.
                steadily(self._open_waiting, REACHABLE)
                quiet_since = time.monotonic()
            time.sleep(0.25)
        return False

    def _begun(self) -> int:
        with connection.cursor() as cursor:
            cursor.execute(BEGUN)
            n: int = cursor.fetchone()[0]
            return n

    def _began_since(self, begun: int) -> bool:
        return steadily(self._begun, REACHABLE) > begun

    def _open_slice(self, number: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(OPEN_SLICE, {"now": timezone.now(), "slices": self.kills + 1, "slice": number})

    def _plan(self) -> list[str]:
        """What is killed, in order: everything once if there are kills enough, then by weight."""
        weights = WEIGHTS | ({"broker": 1} if self.redis else {})
        if self.server is None:
            weights.pop("database")
        first = list(weights)
        rest = self.random.choices(first, list(weights.values()), k=max(0, self.kills - len(first)))
        chosen = [*first[: self.kills], *rest]
        if self.kills > len(first):
            self.random.shuffle(chosen)
        return chosen

    def _kill(self, kind: str) -> None:
        if kind == "database" and self.server:
            pid = self.server.postmaster()
            if pid is not None:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
                self.killed[kind] += 1
                self.say(f"killed {kind}")
            time.sleep(self.random.uniform(0.2, 1.5))
            connection.close()
            self._restart_database()
            return
        name = kind if kind != "worker" else f"worker{self.random.randint(1, self.workers)}"
        (child,) = [child for child in self.children.all if child.name == name]
        # One that was killed a moment ago is first started again, so that every kill is one.
        self._watch_until(partial(_is_up, child), time.monotonic() + BEGINS)
        if child.process is not None and _is_up(child):
            with suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)
            child.wait = self.random.uniform(0.1, 1.0)
            self.killed[kind] += 1
            self.say(f"killed {name}")

    def _restart_database(self) -> None:
        deadline = time.monotonic() + REACHABLE
        while self.server:
            try:
                self.server.hold()
                return
            except postgres.ServerError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def _state(self) -> tuple[int, int, int, int, int]:
        def ask() -> tuple[int, int, int, int, int]:
            with connection.cursor() as cursor:
                cursor.execute(OPEN)
                flying, waiting, planned = cursor.fetchone()
                cursor.execute(INBOX)
                (inbox,) = cursor.fetchone()
                cursor.execute(UNSETTLED)
                (unsettled,) = cursor.fetchone()
            return flying, waiting, planned, inbox, unsettled

        return steadily(ask, REACHABLE)

    def _open_waiting(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(OPEN_WAITING, {"now": timezone.now()})

    def _end_flight(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(END_FLIGHT, {"now": timezone.now()})


def _is_up(child: Child) -> bool:
    return child.process is not None and child.process.poll() is None


def free_ports(n: int) -> list[int]:
    """Ports nobody listens on now, of those that a restart finds free again."""
    found: list[int] = []
    for port in random.sample(LASTING, len(LASTING)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == n:
            return found
    raise OSError("too few free ports")

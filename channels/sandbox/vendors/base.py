"""What a vendor's far side is: one file in this folder with one class named ``Vendor``.

It recomputes every signature, keeps the vendor's limits, and writes what it takes to its log before it answers
(``await self.log.flushed()``). It imports nothing of the adapter it stands opposite to.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import aiohttp
from aiohttp import web

from channels.sandbox.faults import Faults
from channels.sandbox.log import Log, read_log
from channels.sandbox.people import Person, Population, Touch
from channels.sandbox.web import serve

if TYPE_CHECKING:
    from channels.sandbox.reactions import Crowd

RETRY_SECONDS = 0.2  # between two tries to tell our webhook something; doubled each time
TRIES = 8

LINK = re.compile(r"https?://[!#-;=?-~]+")

Door = Callable[[dict[str, Any]], Awaitable[Any]]


@dataclass
class VendorConfig:
    """What one may tell this side; inherit and add fields with defaults. Credentials open the sandbox only."""

    callback: str = ""  # events are posted here; a path is one of market.app_url
    faults: Faults = field(default_factory=Faults)


class BaseVendor:
    """Inherit, declare, and give ``app``. Created anew at each start of the sandbox, then ``restore`` reads the log."""

    name: ClassVar[str]  # the module's name, the log's file and the key below "vendors" in the configuration
    port: ClassVar[int]  # the usual one, 18110 and up; unique
    Config: ClassVar[type[VendorConfig]] = VendorConfig

    def __init__(
        self, config: Any, log: Log, seed: int, people: Population | None, ours: Callable[[str], str]
    ) -> None:
        self.config, self.log, self.seed, self.people = config, log, seed, people
        self.ours = ours  # makes a callback's path a whole address
        self.counters: dict[str, int] = {}
        self._telling: set[asyncio.Task[bool]] = set()
        self.crowd: Crowd | None = None  # the people behind, once they live

    def count(self, name: str, n: int = 1) -> None:
        self.counters[name] = self.counters.get(name, 0) + n

    def write(self, event: str, **fields: Any) -> None:
        self.log.write(self.name, event, **fields)

    def lines(self) -> Any:
        """The log so far, oldest first; for ``restore``."""
        return read_log(self.log.directory.parent, self.name)

    # -- to override -------------------------------------------------------------------------------------
    def restore(self) -> None:
        """Read back what was known before a kill."""

    def app(self) -> web.Application:
        """The HTTP site; not needed where ``serve`` is overridden (gRPC)."""
        raise NotImplementedError

    async def serve(self, host: str, port: int, stack: AsyncExitStack) -> int:
        """Listen; returns the port."""
        runner, port = await serve(self.app(), host, port)
        stack.push_async_callback(runner.cleanup)
        return port

    def start(self) -> None:
        """Begin what runs by itself."""

    def waiting(self) -> int:
        """What is still to be told."""
        return len(self._telling)

    def doors(self) -> Mapping[str, Door]:
        """Paths of the control door that make things happen now: ``/<name>/<verb>`` → handler of a JSON body."""
        return {}

    # -- the people behind -------------------------------------------------------------------------------
    def reached(self, medium: str, kind: str, address: str, text: str, about: str = "") -> None:
        """Somebody has a message before them. What it leads to comes back as from any stranger: clicks and orders by
        themselves, answers and departures over this side."""
        row = self.people.find(kind, address) if self.crowd and self.people else None
        if row is not None and self.crowd:
            links = tuple(LINK.findall(text))
            self.crowd.touch(Touch(row, medium, links, via=self.name, about=about))

    def seen_by(self, medium: str, rows: Iterable[int]) -> None:
        """These people saw an advertisement, each as often as named. The platform tells nobody who they are."""
        for row in rows if self.crowd else ():
            self.crowd.touch(Touch(row, medium))  # type: ignore[union-attr]

    async def answers(self, person: Person, text: str) -> None:
        """Somebody writes to us over this side."""
        raise NotImplementedError

    async def leaves(self, person: Person, about: str) -> None:
        """Somebody wants no more of it, in the way this side tells such a thing."""
        raise NotImplementedError

    async def close(self) -> None:
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)

    # -- telling us --------------------------------------------------------------------------------------
    def tell(
        self,
        body: bytes,
        headers: Mapping[str, str],
        *,
        url: str = "",
        after: float = 0.0,
        taken: Callable[[int, bytes], bool] = lambda status, answer: status < 300,
    ) -> None:
        """Post to our callback, later and again until it is ``taken``; nothing where there is no address."""
        address = self.ours(url or self.config.callback)
        if not address:
            return
        task = asyncio.ensure_future(self._tell(address, body, dict(headers), after, taken))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(
        self,
        url: str,
        body: bytes,
        headers: dict[str, str],
        after: float,
        taken: Callable[[int, bytes], bool],
    ) -> bool:
        await asyncio.sleep(after)
        for attempt in range(TRIES):
            async with self._client() as client:
                try:
                    async with client.post(url, data=body, headers=headers) as answer:
                        self.count(f"callback {answer.status}")
                        if taken(answer.status, await answer.read()):
                            return True
                except (aiohttp.ClientError, TimeoutError):
                    self.count("callback failed")
            await asyncio.sleep(RETRY_SECONDS * 2**attempt)
        return False

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[aiohttp.ClientSession]:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as client:
            yield client

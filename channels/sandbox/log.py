"""The log of the sandbox: JSON lines, on the disk before any answer leaves.

One file a far side (``smtp.jsonl``, ``smpp.jsonl``, ``wecom.jsonl``, ``meta.jsonl``, ``market.jsonl``). A line
that was cut short by a kill was never answered: readers leave it out, and a restart closes it with a newline.
"""

import asyncio
import datetime as dt
import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def digest(*parts: str | bytes) -> str:
    """What tells two message contents apart: 16 hex digits."""
    total = hashlib.blake2b(digest_size=8)
    for part in parts:
        total.update(part if isinstance(part, bytes) else part.encode())
        total.update(b"\0")
    return total.hexdigest()


def read_log(directory: Path | str, kind: str) -> Iterator[dict[str, Any]]:
    """The whole lines of ``<directory>/log/<kind>.jsonl``, oldest first; nothing where there is no file."""
    path = Path(directory) / "log" / f"{kind}.jsonl"
    if not path.exists():
        return
    with path.open("rb") as lines:
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:
                continue  # cut short by a kill, so never answered


class Log:
    """Appends now, flushes in groups: all who wait share one fsync. Belongs to one event loop."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "log"
        self.directory.mkdir(parents=True, exist_ok=True)
        self._files: dict[str, int] = {}
        self._waiting: dict[str, list[str]] = {}
        self._next: asyncio.Future[None] | None = None
        self._flushing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sandbox-log")

    def write(self, kind: str, event: str, **fields: Any) -> None:
        """Queue one line. It is on the disk once :meth:`flushed` returns."""
        at = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        self._waiting.setdefault(kind, []).append(_encode({"at": at, "kind": kind, "event": event, **fields}))

    async def flushed(self) -> None:
        """Return when every line written so far is on the disk."""
        if not self._waiting and not self._flushing:
            return
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        mine = self._next
        if not self._flushing:
            self._flushing = True
            asyncio.ensure_future(self._flush())  # noqa: RUF006  (lives until _flushing is false again)
        await asyncio.shield(mine)

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._next is not None:
                batch, self._waiting = self._waiting, {}
                done, self._next = self._next, None
                try:
                    await loop.run_in_executor(self._thread, self._store, batch)
                except BaseException as error:
                    done.set_exception(error)
                    raise
                done.set_result(None)
        finally:
            self._flushing = False

    def _store(self, batch: dict[str, list[str]]) -> None:
        for kind, lines in batch.items():
            descriptor = self._open(kind)
            data = memoryview(("\n".join(lines) + "\n").encode())
            while data:
                data = data[os.write(descriptor, data) :]
            os.fdatasync(descriptor)

    def _open(self, kind: str) -> int:
        if kind not in self._files:
            path = self.directory / f"{kind}.jsonl"
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                os.write(descriptor, b"\n")
            folder = os.open(self.directory, os.O_RDONLY)
            os.fsync(folder)  # the name of a new file must survive as well
            os.close(folder)
            self._files[kind] = descriptor
        return self._files[kind]

    async def close(self) -> None:
        await self.flushed()
        self._thread.shutdown()
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

"""The processes `manage.py up` keeps running: started, watched, restarted, stopped together."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

WRAPPER = Path(__file__).with_name("child.py")
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds before a dead child is started again
STEADY = 60.0  # seconds after which a child counts as healthy again
PATIENCE = 20.0  # seconds children get to finish when all is stopped
LOG_SIZE = 20 * 1024 * 1024  # bytes; a longer log is put aside at the next start


@dataclass
class Child:
    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    on_parent_death: signal.Signals = signal.SIGKILL
    process: "subprocess.Popen[bytes] | None" = None
    wait: float = FIRST_WAIT
    started: float = 0.0
    due: float = 0.0


class Children:
    """Call everything from one thread: the kernel ties a child to the thread that started it."""

    def __init__(self, logs: Path, say: Callable[[str], None]) -> None:
        self.logs, self.say = logs, say
        self.all: list[Child] = []
        self._printing = threading.Lock()
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, child: Child) -> None:
        if child not in self.all:
            self.all.append(child)
        log = self._log(child.name)
        child.process = subprocess.Popen(  # noqa: S603
            [
                sys.executable, "-I", "-S", str(WRAPPER),
                str(os.getpid()), str(int(child.on_parent_death)), *child.command,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | child.environment,
            # Its own session: Ctrl-C reaches us only, and we stop the children in order.
            start_new_session=True,
        )  # fmt: skip
        child.started = time.monotonic()
        assert child.process.stdout is not None  # noqa: S101
        threading.Thread(
            target=self._copy,
            args=(child.name, child.process.stdout, log),
            daemon=True,
            name=f"log-{child.name}",
        ).start()

    def watch(self) -> None:
        """Start again what died, each time after a longer wait. Call it often."""
        now = time.monotonic()
        for child in self.all:
            if child.process is not None:
                if child.process.poll() is None:
                    if now - child.started > STEADY:
                        child.wait = FIRST_WAIT
                    continue
                _signal_group(child.process, signal.SIGKILL)  # what it left behind
                self.say(
                    f"{child.name} ended ({child.process.returncode}); it starts again in {child.wait:.0f} s."
                )
                child.process, child.due = None, now + child.wait
                child.wait = min(child.wait * 2, LONGEST_WAIT)
            elif now >= child.due:
                self.start(child)

    def stop(self, hurry: Callable[[], bool]) -> None:
        """End all, in the reverse order of their start; whoever does not within PATIENCE is killed."""
        running = [c.process for c in reversed(self.all) if c.process is not None]
        for process in running:
            _signal_group(process, signal.SIGTERM, leader_only=True)
        deadline = time.monotonic() + PATIENCE
        while any(p.poll() is None for p in running) and time.monotonic() < deadline and not hurry():
            time.sleep(0.05)
        for process in running:
            _signal_group(process, signal.SIGKILL)  # also children of a child that is gone
            process.wait()

    def _log(self, name: str) -> IO[bytes]:
        path = self.logs / f"{name}.log"
        with suppress(FileNotFoundError):
            if path.stat().st_size > LOG_SIZE:
                path.replace(path.with_suffix(".log.1"))
        return open(path, "ab", buffering=0)

    def _copy(self, name: str, source: IO[bytes], log: IO[bytes]) -> None:
        with source, log:
            for line in source:
                log.write(line)
                with self._printing, suppress(OSError, ValueError):
                    sys.stdout.write(f"{name:>9} | {line.decode(errors='replace').rstrip()}\n")
                    sys.stdout.flush()


def _signal_group(process: "subprocess.Popen[bytes]", how: signal.Signals, leader_only: bool = False) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if leader_only:
            process.send_signal(how)
        else:
            os.killpg(process.pid, how)

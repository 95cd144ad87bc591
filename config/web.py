"""The web server: `python -m config.web ADDRESS [APPLICATION]`, a few processes of a few threads each.

Left to itself a process of granian's would outlive a parent that was killed and keep the port, and would hand the
environment of the machine to the application as if a caller had sent it.
"""

import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import granian.wsgi
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels

from config import env
from config.child import die_with

APPLICATION = "config.wsgi:application"
PATIENCE = 10  # seconds a process may take to finish what it answers
IDLE = 600  # seconds after which a thread with nothing to do ends; the most there is


def command(address: str, application: str = APPLICATION) -> list[str]:
    """What to run for the web at ``address``, such as ``127.0.0.1:8000`` or ``[::]:8000``."""
    return [sys.executable, "-m", "config.web", address, application]


def serve(address: str, application: str = APPLICATION) -> None:
    """Until SIGTERM or SIGINT. ``address``: a name or number and a port; without a host, all of this machine's."""
    host, _colon, port = address.rpartition(":")
    server = Granian(
        application,
        address=_number(host.strip("[]") or "0.0.0.0"),  # noqa: S104
        port=int(port),
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        workers=env.number("EVENREACH_WEB_WORKERS", 2),
        blocking_threads=env.number("EVENREACH_WEB_THREADS", 6),
        blocking_threads_idle_timeout=IDLE,
        respawn_failed_workers=True,
        workers_kill_timeout=PATIENCE,
        log_level=LogLevels.error,  # a warning of its says that 6 threads are many for two processors
    )
    server.serve(target_loader=partial(_load, os.getpid()))


def _number(host: str) -> str:
    """The address of a name: granian listens on addresses only."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return str(min(found, key=lambda one: one[0] != socket.AF_INET)[4][0])


def _load(parent: int, target: str) -> Callable[..., Any]:
    """The application, in the process that is to run it."""
    # Until granian's own stand, those it has from its parent would only swallow the signal.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_DFL)
    die_with(parent, signal.SIGTERM)
    granian.wsgi.os = SimpleNamespace(environ={})  # type: ignore[assignment]
    module, _colon, name = target.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m config.web ADDRESS [APPLICATION], such as 0.0.0.0:8000")
    serve(*sys.argv[1:])

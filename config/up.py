"""`manage.py up`: everything on this machine, by one command, until Ctrl-C."""

import fcntl
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from django.conf import settings
from django.core.management import call_command, get_commands
from django.utils.translation import gettext as _

from config import demo_logins, heartbeat, postgres, queue, web
from config.children import Child, Children

EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104  (addresses that mean all of them)
READY_TIMEOUT = 90.0  # seconds the web may take until its first answer
SEEDED = "demo-data"  # a row among the heartbeats: when the demo data was put in


class Stopped(Exception):
    """Ctrl-C or SIGTERM came while things were being prepared."""


class AlreadyUp(Exception):
    """Another `up` runs in this folder; the text is its address."""


def free_port(host: str, port: int, tries: int = 50) -> int:
    """`port`, or the next one nobody listens on."""
    for candidate in range(port, port + tries):
        if _is_free(host, candidate):
            return candidate
    raise OSError(_("No free port from %(port)s on.") % {"port": port})


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


class Up:
    def __init__(self, host: str, port: int | None, demo: bool, say: Callable[[str], None]) -> None:
        self.host, self.wanted_port, self.demo, self.say = host, port, demo, say
        self.data: Path = settings.DATA_DIR
        self.signals = 0
        self.preparing = True
        self.children = Children(self.data / "log", say)

    # The whole story ------------------------------------------------------------------------

    def run(self) -> int:
        self.data.mkdir(parents=True, exist_ok=True)
        lock = self._only_one()
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(each, self._on_signal)
        try:
            self.port = self._port(lock)
            self.url = self._url()
            logins = self._prepare()
            self.preparing = False
            return self._serve(lock, logins)
        except Stopped:
            return 0
        finally:
            self.preparing = False
            if self.children.all:
                self.say(_("Stopping…"))
            self.children.stop(hurry=lambda: self.signals > 1)
            if settings.EMBEDDED:
                _server().leave()
            os.ftruncate(lock, 0)
            os.close(lock)

    def _only_one(self) -> int:
        lock = os.open(self.data / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            address = os.pread(lock, 200, 0).decode()
            os.close(lock)
            raise AlreadyUp(address) from None
        return lock

    def _port(self, lock: int) -> int:
        port = self.wanted_port or 8000
        # An `up` that was killed leaves its address here; its web needs a moment to follow it.
        deadline = time.monotonic() + (10 if os.pread(lock, 200, 0) else 0)
        while not _is_free(self.host, port) and time.monotonic() < deadline:
            time.sleep(0.2)
        if self.wanted_port is None:
            return free_port(self.host, port)
        if not _is_free(self.host, port):
            raise OSError(_("Port %(port)s is taken.") % {"port": port})
        return port

    def _url(self) -> str:
        if self.host in EVERYWHERE or self.host == "127.0.0.1":
            return f"http://localhost:{self.port}"
        return f"http://{self._bracketed(self.host)}:{self.port}"

    @staticmethod
    def _bracketed(host: str) -> str:
        return f"[{host}]" if ":" in host else host

    def _prepare(self) -> dict[str, str]:
        if settings.EMBEDDED:
            self.say(_("Starting the database…"))
            _server().hold()
        self.say(_("Bringing the database up to date…"))
        call_command("migrate", interactive=False, verbosity=0, skip_checks=True)
        queue.install()
        demo_logins.ensure_roles()
        if not self.demo:
            return {}
        logins = demo_logins.ensure_people(self.data / "demo-logins.json")
        if "seed_demo" in get_commands() and SEEDED not in heartbeat.signs():
            self.say(_("Putting in demo data…"))
            call_command("seed_demo")
            heartbeat.mark(SEEDED)
        return logins

    def _serve(self, lock: int, logins: dict[str, str]) -> int:
        for child in self._plan():
            self.children.start(child)
        if not self._answers():
            if not self.signals:
                self.say(_("The web does not answer; see %(folder)s") % {"folder": self.data / "log"})
            return 0 if self.signals else 1
        os.ftruncate(lock, 0)
        os.pwrite(lock, self.url.encode(), 0)
        self.say("")
        self.say(_("Evenreach is ready: %(url)s") % {"url": self.url})
        if logins:
            self.say(_("Log in as:"))
            for line in demo_logins.lines(logins):
                self.say(f"  {line}")
        self.say(_("Ctrl-C stops everything."))
        while not self.signals:
            self.children.watch()
            if settings.EMBEDDED:
                _server().hold()  # starts it again if it was killed
            time.sleep(0.3)
        return 0

    # Parts ----------------------------------------------------------------------------------

    def _plan(self) -> list[Child]:
        manage = [sys.executable, str(settings.BASE_DIR / "manage.py")]
        celery = [sys.executable, "-m", "celery", "--quiet", "-A", "config"]
        shared = {
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE", "config.settings"),
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(settings.BASE_DIR), os.environ.get("PYTHONPATH")])
            ),
            "EVENREACH_PUBLIC_URL": os.environ.get("EVENREACH_PUBLIC_URL", self.url),
        }
        os.environ.setdefault("EVENREACH_PUBLIC_URL", self.url)
        plan: list[Child] = []
        if self.demo and "sandbox" in get_commands():
            plan.append(Child("sandbox", [*manage, "sandbox"], shared))
        address = f"{self._bracketed(self.host)}:{self.port}"
        plan += [
            Child(
                "web",
                web.command(address),
                shared,
                # Its own workers follow only if it may end in order.
                on_parent_death=signal.SIGTERM,
            ),
            Child(
                "worker",
                [
                    *celery, "worker",
                    "--pool", "threads",
                    "--concurrency", str(settings.WORKER_THREADS),
                    "--hostname", "worker@%h",
                    "--loglevel", "WARNING",
                    "--without-gossip", "--without-mingle", "--without-heartbeat",
                ],
                shared,
            ),
            Child("beat", [*celery, "beat", "--loglevel", "WARNING", "--pidfile", ""], shared),
        ]  # fmt: skip
        return plan

    def _answers(self) -> bool:
        near = "127.0.0.1" if self.host in EVERYWHERE else self.host
        address = f"http://{self._bracketed(near)}:{self.port}/healthz"
        # No proxy of the environment may stand between us and ourselves.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + READY_TIMEOUT
        while time.monotonic() < deadline and not self.signals:
            self.children.watch()
            try:
                with opener.open(address, timeout=5):
                    return True
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        return False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.signals += 1
        if self.preparing:
            raise Stopped


def _server() -> postgres.Server:
    return postgres.default_server(settings.DATA_DIR, settings.DATABASES["default"]["PASSWORD"])

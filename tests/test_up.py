"""`manage.py up`, run for real in a folder of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.postgres import Server
from config.up import free_port
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def var() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="evenreach-up-") as name:
        yield Path(name) / "var"


class Running:
    """An `up` in `var`; its output up to the line that says it is ready."""

    def __init__(self, var: Path, *arguments: str, demo: bool = False) -> None:
        environment = {
            k: v for k, v in os.environ.items() if k not in {"DATABASE_URL", "DJANGO_SETTINGS_MODULE"}
        }
        environment |= {
            "EVENREACH_DATA": str(var),
            "EVENREACH_WEB_WORKERS": "1",
            "EVENREACH_WORKER_THREADS": "2",
        }
        self.var = var
        # The demo data has tests of its own and takes its time.
        without = [] if demo else ["--no-demo"]
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "up", *without, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        self.said: list[str] = []

    def until(self, wanted: str) -> re.Match[str]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if found := re.search(wanted, line):
                return found
        raise AssertionError(f"never said {wanted!r}:\n" + "".join(self.said))

    def processes(self) -> list[str]:
        """Command lines of everything that belongs to this installation, found by its environment."""
        mark = f"EVENREACH_DATA={self.var}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        return [line for line in found if line]


@pytest.fixture
def up(var: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(*arguments: str) -> Running:
        started.append(Running(var, *arguments))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.send_signal(signal.SIGTERM)
            each.process.communicate(timeout=90)


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_it_serves_restarts_what_dies_and_leaves_nothing_behind(
    up: Callable[..., Running], var: Path
) -> None:
    running = up("--port", str(free_port("127.0.0.1", 18100)))
    url = running.until(r"ready: (http\S+)")[1]
    assert get(url + "/healthz") == (200, "ok\n")
    assert get(url + "/accounts/login/")[0] == 200
    assert until(lambda: get(url + "/readyz")[0] == 200), get(url + "/readyz")

    # A second one says where the first is.
    second = up()
    assert second.until(r"already: (http\S+)")[1] == url
    assert second.process.wait(30) == 0

    # The worker is killed and comes back.
    worker = next(
        int(entry.name)
        for entry in Path("/proc").glob("[0-9]*")
        if (entry / "cmdline").exists()
        and b"--pool\0threads" in (entry / "cmdline").read_bytes()
        and f"EVENREACH_DATA={var}".encode() in (entry / "environ").read_bytes()
    )
    os.kill(worker, signal.SIGKILL)
    running.until(r"worker ended \(-9\); it starts again")
    assert until(lambda: any("--pool threads" in line for line in running.processes()))

    # The database is killed under everybody and the next request finds it again.
    server = Server(var / "postgres", "", log=var / "log")
    postmaster = server.postmaster()
    assert postmaster is not None
    os.kill(postmaster, signal.SIGKILL)
    assert until(lambda: get(url + "/readyz")[0] == 200, 90), get(url + "/readyz")

    running.process.send_signal(signal.SIGINT)
    running.process.communicate(timeout=90)
    assert running.process.returncode == 0
    assert running.processes() == []
    assert server.postmaster() is None


def test_killed_with_9_it_takes_its_children_along(up: Callable[..., Running], var: Path) -> None:
    running = up("--port", str(free_port("127.0.0.1", 18200)))
    running.until(r"ready: (http\S+)")
    running.process.kill()
    running.process.communicate(timeout=90)
    assert until(lambda: running.processes() == []), running.processes()
    again = up()
    again.until(r"ready: (http\S+)")


def test_a_taken_port_is_passed_over_unless_it_was_asked_for() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port("127.0.0.1", port) > port


@pytest.mark.django_db
def test_the_demo_people_get_passwords_of_their_own(tmp_path: Path, client) -> None:
    from config import demo_logins
    from config.models import User

    file = tmp_path / "demo-logins.json"
    first = demo_logins.ensure_people(file)
    assert demo_logins.ensure_people(file) == first == json.loads(file.read_text())
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(set(first.values())) == len(demo_logins.PEOPLE)
    assert {(user.username, group.name) for user in User.objects.all() for group in user.groups.all()} == {
        ("marketer", "marketer"),
        ("approver", "approver"),
        ("channels", "channel_admin"),
        ("finance", "finance"),
    }
    for login in ("marketer", "marketer@example.com"):
        client.logout()
        answer = client.post("/accounts/login/", {"login": login, "password": first["marketer"]})
        assert (answer.status_code, answer.url) == (302, "/")

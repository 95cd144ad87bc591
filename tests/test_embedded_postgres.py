"""The embedded server, run for real in folders of its own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from config.postgres import SOCKET_PATH_LIMIT, Server

ROOT = Path(__file__).resolve().parent.parent
COMMAND = [sys.executable, str(ROOT / "manage.py")]

# Holds the server of the folder in argv[1], says so, and leaves when its input ends.
HOLDER = """
import sys
from pathlib import Path
from config.postgres import Server
folder = Path(sys.argv[1])
Server(folder, "secret", log=folder / "log", durable=False).hold()
print("holding", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: its parents are closed to the account the server runs as, which has a test of its own.
    with tempfile.TemporaryDirectory(prefix="evenreach-pg-") as name:
        os.chmod(name, 0o755)
        yield Path(name) / "postgres"


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    found = Server(folder, "secret", log=folder / "log", durable=True)
    yield found
    found.leave()
    found.stop()


def hold(folder: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    return process


def finish(process: "subprocess.Popen[str]") -> None:
    process.communicate("", timeout=60)


def test_it_listens_on_no_network_and_lets_nobody_in_without_the_password(server: Server) -> None:
    server.hold()
    with server.connect("evenreach") as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(
            host=str(server.socket_folder), user="evenreach", password="wrong", dbname="evenreach"
        )
    assert server.socket_folder.stat().st_mode & 0o077 == 0
    assert server.data.stat().st_mode & 0o077 == 0


def test_after_kill_9_everything_committed_is_there(server: Server) -> None:
    server.hold()
    with server.connect("evenreach") as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
    pid = server.postmaster()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    again = Server(server.folder, "secret", log=server.log)
    again.hold()
    with again.connect("evenreach") as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)
    assert again.postmaster() != pid
    again.leave()


def test_a_pid_file_whose_number_belongs_to_somebody_else_is_no_obstacle(server: Server) -> None:
    server.hold()
    pid_file = server.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    owner = pid_file.stat()
    os.kill(int(lines[0]), signal.SIGKILL)
    time.sleep(0.3)
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    os.chown(pid_file, owner.st_uid, owner.st_gid)
    again = Server(server.folder, "secret", log=server.log)
    again.hold()
    assert again.answers()
    again.leave()


def test_two_commands_share_one_server_and_the_last_one_stops_it(folder: Path) -> None:
    watcher = Server(folder, "secret", log=folder / "log")
    first, second = hold(folder), hold(folder)
    pid = watcher.postmaster()
    assert pid is not None
    finish(first)
    assert watcher.postmaster() == pid, "the second still holds it"
    finish(second)
    assert watcher.postmaster() is None


def test_a_holder_killed_with_9_keeps_nobody_from_stopping_it(folder: Path) -> None:
    watcher = Server(folder, "secret", log=folder / "log")
    first = hold(folder)
    first.kill()
    first.communicate()
    assert watcher.answers(), "the server outlives the kill"
    finish(hold(folder))
    assert watcher.postmaster() is None


def test_many_starting_at_once_start_one_server(folder: Path) -> None:
    folder.parent.mkdir(exist_ok=True)
    crowd = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _each in range(4)
    ]
    assert [p.stdout.readline() for p in crowd if p.stdout] == ["holding\n"] * 4
    for process in crowd:
        finish(process)
    assert Server(folder, "secret", log=folder / "log").postmaster() is None


def test_an_interrupted_first_start_is_begun_again(server: Server) -> None:
    half = server.folder / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    server.hold()
    assert server.answers()


def test_a_deep_folder_gets_a_short_socket_path(folder: Path) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    server = Server(deep, "secret", log=deep / "log", durable=False)
    assert len(os.fsencode(server.socket_folder / ".s.PGSQL.5432")) <= SOCKET_PATH_LIMIT
    server.hold()
    try:
        assert server.answers()
        assert server.socket_folder.stat().st_mode & 0o077 == 0
    finally:
        server.leave()


CLOSED = """
import sys
from pathlib import Path
from config import postgres, unprivileged
closed = Path(sys.argv[1])
binaries = postgres.copy_binaries(postgres.wheel_binaries(), closed / "program")
postgres.wheel_binaries = lambda: binaries
if sys.argv[2] == "without":
    unprivileged.WALKING = ()
server = postgres.Server(closed / "inner" / "postgres", "secret", log=closed / "log", durable=False)
server.hold()
assert server.answers()
assert closed.stat().st_mode & 0o777 == 0o700, "nobody's folders change their mode"
assert server.data.stat().st_uid != 0
print(server.data)
"""


# Only root meets this; others have nothing to skip.
@pytest.mark.parametrize("capabilities", ["with", "without"] if os.geteuid() == 0 else ["with"])
def test_it_runs_below_a_folder_closed_to_others(folder: Path, capabilities: str) -> None:
    """Program and data both below a folder of root's own, as after `git clone` into `mktemp -d`."""
    closed = folder.parent / "closed"
    closed.mkdir(mode=0o700)
    done = subprocess.run(
        [sys.executable, "-c", CLOSED, str(closed), capabilities], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    data = Path(done.stdout.strip())
    assert data.is_relative_to(closed) == (capabilities == "with")
    if capabilities == "without":
        shutil.rmtree(data.parent)  # /var/lib/evenreach/…


def test_commands_that_need_no_database_start_none(folder: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "DATABASE_URL"} | {
        "EVENREACH_DATA": str(folder.parent / "var"),
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    for words in (["help"], ["check"]):
        subprocess.run([*COMMAND, *words], env=environment, check=True, capture_output=True)
    assert not (folder.parent / "var" / "postgres" / "data").exists()


def test_a_plain_command_starts_the_server_and_stops_it_again(folder: Path) -> None:
    var = folder.parent / "var"
    environment = {k: v for k, v in os.environ.items() if k != "DATABASE_URL"} | {
        "EVENREACH_DATA": str(var),
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    asked = "from django.db import connection as c; k = c.cursor(); k.execute('SELECT 6 * 7'); print(k.fetchone())"
    done = subprocess.run(
        [*COMMAND, "shell", "--no-imports", "-c", asked],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "(42,)" in done.stdout
    assert Server(var / "postgres", "", log=var / "log").postmaster() is None

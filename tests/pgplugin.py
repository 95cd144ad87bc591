"""A private PostgreSQL for the test run, started before Django reads its settings.

Only the controller of pytest-xdist starts it; workers find DATABASE_URL in their environment. A given
DATABASE_URL is used as it is. Migrating an empty database takes long, so a migrated one is kept in
`var/test-database/` under a name made from all migrations; each run works on a copy of it.
"""

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.fernet import Fernet

from config.postgres import Server

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "var" / "test-database"
MIGRATED = "evenreach_migrated"
# Opens throw-away servers on a socket of their own only, and has to be the one the kept copy was made with.
PASSWORD = "evenreach-tests"  # noqa: S105

_running: list[tuple[Server, Path]] = []


@pytest.hookimpl(tryfirst=True)  # before pytest-django reads the settings
def pytest_load_initial_conftests(early_config: Any) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    # Nothing of the machine's own installation is read or changed by tests.
    folder = Path(tempfile.mkdtemp(prefix="evenreach-tests-"))
    os.environ["EVENREACH_DATA"] = str(folder / "var")
    os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(50))
    os.environ.setdefault("EVENREACH_FIELD_KEYS", Fernet.generate_key().decode())
    os.environ.setdefault("EVENREACH_HASH_KEY", secrets.token_urlsafe(32))
    server = Server(folder / "pg", PASSWORD, log=folder / "postgres.log", durable=False)
    _running.append((server, folder))
    if not os.environ.get("DATABASE_URL"):
        kept = KEPT / _name()
        if not kept.exists():
            _keep_migrated(kept)
        _copy(kept, folder / "pg")
        server.hold()
        os.environ["DATABASE_URL"] = server.url()
        os.environ["EVENREACH_TEST_TEMPLATE"] = MIGRATED


def pytest_unconfigure(config: Any) -> None:
    while _running:
        server, folder = _running.pop()
        server.leave()
        shutil.rmtree(folder, ignore_errors=True)


def _name() -> str:
    """What a migrated database depends on: every migration, ours and those of pinned packages."""
    digest = hashlib.sha256()
    sources = [*ROOT.glob("*/migrations/*.py"), *ROOT.glob("*requirements*.txt"), ROOT / "config/postgres.py"]
    sources += [ROOT / name for name in ("config/settings.py", "config/queue.py")]
    for path in sorted(sources):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _keep_migrated(kept: Path) -> None:
    """Make a server, migrate a database in it, and keep the stopped server's folder."""
    folder = Path(tempfile.mkdtemp(prefix="evenreach-tests-"))
    server = Server(folder / "pg", PASSWORD, log=folder / "postgres.log", durable=False)
    try:
        server.hold()
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {MIGRATED}")
        url = server.url().replace("/evenreach?", f"/{MIGRATED}?", 1)
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--skip-checks", "-v0"],
            cwd=ROOT, check=True, env=os.environ | {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "config.test_settings"},
        )  # fmt: skip
    finally:
        server.leave()
    KEPT.mkdir(parents=True, exist_ok=True)
    for old in sorted(KEPT.iterdir(), key=lambda path: path.stat().st_mtime)[:-3]:
        shutil.rmtree(old, ignore_errors=True)
    aside = KEPT / f".{kept.name}.{os.getpid()}"
    _copy(folder / "pg", aside)
    try:
        aside.rename(kept)
    except OSError:  # another run was first
        shutil.rmtree(aside, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    """With owners and modes: the server runs as an account of its own."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)  # noqa: S607

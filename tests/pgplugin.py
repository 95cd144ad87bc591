"""A private PostgreSQL for the test run, started before Django reads its settings.

Only the controller of pytest-xdist starts it; workers find DATABASE_URL in their environment. A given
DATABASE_URL is used as it is.
"""

import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from config.postgres import Server

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
    server = Server(folder / "pg", secrets.token_urlsafe(16), log=folder / "postgres.log", durable=False)
    _running.append((server, folder))
    if not os.environ.get("DATABASE_URL"):
        server.hold()
        os.environ["DATABASE_URL"] = server.url()


def pytest_unconfigure(config: Any) -> None:
    while _running:
        server, folder = _running.pop()
        server.leave()
        shutil.rmtree(folder, ignore_errors=True)

"""Fixtures every test may use, and the rule that in CI nothing is skipped."""

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.test import Client

# A busy machine is no failure; a test that hangs ends by its time-out.
hypothesis.settings.register_profile("evenreach", deadline=None)
hypothesis.settings.load_profile("evenreach")

ROOT = Path(__file__).resolve().parent.parent
ROLES = {"marketer": "marketer", "approver": "approver", "channels": "channel_admin", "finance": "finance"}

# Programs a test may need: marker → name on PATH.
PROGRAMS = {"needs_chromium": "chromium", "needs_redis": "redis-server", "needs_gettext": "msgfmt"}

# Playwright drives the browser through an event loop in the test's own thread; Django takes that for async code.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")


def pytest_configure(config: pytest.Config) -> None:
    for marker, program in PROGRAMS.items():
        config.addinivalue_line("markers", f"{marker}: needs the program {program}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = {marker for marker, program in PROGRAMS.items() if shutil.which(program) is None}
    for item in items:
        if {"page", "context", "browser"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("needs_chromium")
        for marker in missing:
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=f"skipped: not installed ({PROGRAMS[marker]})"))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With EVENREACH_NO_SKIPS=1 a skipped test fails the run: in CI everything is installed."""
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("EVENREACH_NO_SKIPS") != "1" or reporter is None:
        return
    if reporter.stats.get("skipped") and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if os.environ.get("EVENREACH_NO_SKIPS") == "1" and skipped:
        terminalreporter.section("EVENREACH_NO_SKIPS: skipped tests count as failures", red=True)
        for report in skipped:
            terminalreporter.line(f"{report.nodeid}: {report.longrepr[2] if report.longrepr else ''}")


SMALL = 1_000_000  # bytes of a table whose rows are removed one by one
USED_TABLES = """
WITH RECURSIVE named AS (
    SELECT c.oid FROM pg_class c WHERE c.relname = ANY (%s) AND c.relnamespace = 'public'::regnamespace
    UNION
    SELECT i.inhrelid FROM pg_inherits i JOIN named ON named.oid = i.inhparent
)
SELECT c.relname, pg_relation_size(c.oid) FROM pg_class c JOIN named USING (oid)
WHERE c.relkind = 'r' AND pg_relation_size(c.oid) > 0
ORDER BY c.relname
"""


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """Transactional tests empty all tables afterwards, also those that only SQL knows (partitions) and
    those whose triggers let no row be removed (the ledger).

    Only what has pages is touched, and small tables row by row: truncating all makes and syncs a thousand files.
    """
    from django.apps import apps
    from django.db import connection

    by_sql_alone = [
        model._meta.db_table
        for model in apps.get_app_config("campaigns").get_models()
        if not model._meta.managed
    ]
    # On the class: under the event loop of a browser test, Django has another connection object.
    operations: Any = type(connection.ops)
    flush = operations.sql_flush

    def sql_flush(self: Any, style: Any, tables: list[str], **options: Any) -> list[str]:
        tables = list(dict.fromkeys([*tables, *by_sql_alone])) if tables else tables
        with self.connection.cursor() as cursor:
            cursor.execute(USED_TABLES, [tables])
            used = cursor.fetchall()
        large = [name for name, size in used if size > SMALL]
        return [
            "SET LOCAL session_replication_role = replica",  # no trigger fires, and no key is checked
            *(flush(self, style, large, **{**options, "allow_cascade": True}) if large else ()),
            *(f'DELETE FROM "{name}"' for name, size in used if size <= SMALL),
            "SET LOCAL session_replication_role = origin",
        ]

    operations.sql_flush = sql_flush


# People ---------------------------------------------------------------------------------------


@pytest.fixture
def make_user(db: None) -> Callable[..., Any]:
    """make_user("somebody", role="finance") → a user in that group."""
    from django.contrib.auth.models import Group

    from config.models import User

    def make(username: str, role: str = "", **fields: Any) -> User:
        user, _made = User.objects.get_or_create(username=username, defaults=fields)
        if role:
            user.groups.add(Group.objects.get_or_create(name=role)[0])
        return user

    return make


@pytest.fixture
def log_in(make_user: Callable[..., Any]) -> Callable[[str], Client]:
    """log_in("marketer") → a test client of the person of that name (see ROLES)."""

    def client(username: str) -> Client:
        found = Client()
        found.force_login(
            make_user(username, ROLES.get(username, "")),
            backend="allauth.account.auth_backends.AuthenticationBackend",
        )
        return found

    return client


@pytest.fixture
def as_marketer(log_in: Callable[[str], Client]) -> Client:
    return log_in("marketer")


@pytest.fixture
def as_approver(log_in: Callable[[str], Client]) -> Client:
    return log_in("approver")


@pytest.fixture
def as_channel_admin(log_in: Callable[[str], Client]) -> Client:
    return log_in("channels")


@pytest.fixture
def as_finance(log_in: Callable[[str], Client]) -> Client:
    return log_in("finance")


# Browser --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    return {
        **browser_type_launch_args,
        "executable_path": shutil.which("chromium"),
        "args": ["--no-sandbox", "--disable-dev-shm-usage"],
    }


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    return {**browser_context_args, "viewport": {"width": 1366, "height": 900}, "locale": "en"}


@pytest.fixture
def page_as(context: Any, live_server: Any, log_in: Callable[[str], Client]) -> Callable[[str], Any]:
    """page_as("marketer") → a new browser page on which that person is logged in; open `live_server.url + …`."""

    def open_page(username: str) -> Any:
        from django.conf import settings

        cookie = log_in(username).cookies[settings.SESSION_COOKIE_NAME]
        context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": live_server.url}])
        return context.new_page()

    return open_page


@pytest.fixture
def shots() -> Callable[[Any, str], Path]:
    """shots(page, "campaign-matrix") saves var/shots/campaign-matrix.png for people to look at."""

    def save(page: Any, name: str) -> Path:
        path = ROOT / "var" / "shots" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=path, full_page=True)
        return path

    return save


# Redis ----------------------------------------------------------------------------------------


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A Redis of this test's own, on a unix socket; mark the test `needs_redis`."""
    import subprocess
    import time

    import redis

    place = tmp_path / "redis.sock"
    server = subprocess.Popen(
        ["redis-server", "--port", "0", "--unixsocket", str(place), "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    try:
        client = redis.Redis(unix_socket_path=str(place))
        for _try in range(100):
            try:
                client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.05)
        yield f"redis+socket://{place}"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(autouse=True)
def _own_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adapters that a test adds are gone with it: the next test sees the folder's."""
    from channels import adapters

    monkeypatch.setattr(adapters, "_added", {})


@pytest.fixture(autouse=True)
def _english() -> Generator[None]:
    """A test that switches the language does not leave it so."""
    from django.utils import translation

    with translation.override("en"):
        yield

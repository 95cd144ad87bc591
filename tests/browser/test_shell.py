"""The frame of every screen, in a real browser: log-in, languages, narrow and wide, keyboard, axe, policy."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import reverse
from playwright.sync_api import Page, expect

from audiences import jobs
from audiences.models import Job
from config.models import User

WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 390, "height": 844}


@pytest.fixture
def watched(page: Page) -> Iterator[Page]:
    """A page whose console errors and refused scripts fail the test at its end."""
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: told.append(str(error)))
    yield page
    assert told == []


def accessible(page: Page) -> None:
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
    assert found.violations_count == 0, found.generate_report()


def log_in(page: Page, live_server: Any, user: User, password: str) -> None:
    page.goto(live_server.url + "/")
    page.get_by_label("Login").fill(user.username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Home", level=1)).to_be_visible()


@pytest.fixture
def administrator(transactional_db: None) -> User:
    return User.objects.create_superuser("chief", password="a-long-Passw0rd")


def test_somebody_logs_in_switches_the_language_and_logs_out(
    watched: Page, live_server: Any, administrator: User, shots: Callable[..., Path]
) -> None:
    page = watched
    page.set_viewport_size(WIDE)
    page.goto(live_server.url + "/")
    accessible(page)
    shots(page, "shell-login")
    log_in(page, live_server, administrator, "a-long-Passw0rd")
    accessible(page)
    shots(page, "shell-home")

    page.get_by_role("button", name="中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-hans")
    expect(page.get_by_role("heading", level=1)).to_have_text("首页")
    accessible(page)
    shots(page, "shell-home-zh")
    administrator.refresh_from_db()
    assert administrator.language == "zh-hans"
    page.get_by_role("button", name="EN").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Home")

    page.get_by_role("button", name="Your account").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()


def test_the_log_in_page_speaks_chinese_before_anybody_logged_in(
    watched: Page, live_server: Any, administrator: User, shots: Callable[..., Path]
) -> None:
    watched.goto(live_server.url + reverse("account_login"))
    watched.get_by_role("button", name="中文").click()
    expect(watched.get_by_role("button", name="登录")).to_be_visible()
    expect(watched.get_by_label("密码")).to_be_visible()
    accessible(watched)
    shots(watched, "shell-login-zh")


def test_on_a_phone_the_navigation_folds_and_opens_by_keyboard(
    watched: Page, live_server: Any, administrator: User, shots: Callable[..., Path]
) -> None:
    page = watched
    page.set_viewport_size(NARROW)
    log_in(page, live_server, administrator, "a-long-Passw0rd")
    expect(page.get_by_role("link", name="Users and roles")).to_be_hidden()
    shots(page, "shell-home-narrow")
    opener = page.get_by_role("button", name="Open the navigation")
    opener.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Users and roles")).to_be_visible()
    accessible(page)
    shots(page, "shell-navigation-narrow")
    page.get_by_role("link", name="Users and roles").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Users and roles")
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider == 0
    shots(page, "shell-users-narrow")


def test_the_first_stop_of_the_tab_key_skips_to_the_content(
    watched: Page, live_server: Any, administrator: User
) -> None:
    log_in(watched, live_server, administrator, "a-long-Passw0rd")
    watched.goto(live_server.url + "/")
    watched.keyboard.press("Tab")
    expect(watched.get_by_role("link", name="Skip to the content")).to_be_focused()
    watched.keyboard.press("Enter")
    expect(watched.locator("main")).to_be_focused()


def test_an_administrator_makes_an_account_that_can_log_in(
    watched: Page, live_server: Any, administrator: User, shots: Callable[..., Path]
) -> None:
    page = watched
    page.set_viewport_size(WIDE)
    log_in(page, live_server, administrator, "a-long-Passw0rd")
    page.get_by_role("link", name="Users and roles").click()
    accessible(page)
    shots(page, "shell-users")
    page.get_by_role("link", name="New user").click()
    page.get_by_label("Username").fill("mei")
    page.get_by_label("Marketer").check()
    accessible(page)
    shots(page, "shell-new-user")
    page.get_by_role("button", name="Make the account").click()
    password = page.locator("#secret").inner_text()
    shots(page, "shell-password")
    page.get_by_role("link", name="Done").click()
    page.get_by_role("link", name="mei", exact=True).click()
    page.get_by_role("button", name="Close the account").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    shots(page, "shell-confirm")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert User.objects.get(username="mei").is_active

    page.get_by_role("button", name="Your account").click()
    page.get_by_role("button", name="Log out").click()
    log_in(page, live_server, User.objects.get(username="mei"), password)
    expect(page.get_by_role("link", name="Users and roles")).to_have_count(0)


def test_an_account_is_closed_only_after_the_question_is_answered(
    watched: Page, live_server: Any, administrator: User
) -> None:
    mei = User.objects.create_user("mei", password="x")
    log_in(watched, live_server, administrator, "a-long-Passw0rd")
    watched.goto(live_server.url + reverse("config:user", args=[mei.pk]))
    watched.get_by_role("button", name="Close the account").click()
    watched.get_by_role("dialog").get_by_role("button", name="Yes, go on").click()
    expect(watched.get_by_text("mei can no longer log in.")).to_be_visible()
    mei.refresh_from_db()
    assert not mei.is_active


def test_the_other_screens_of_the_shell_are_accessible_at_both_widths(
    watched: Page, live_server: Any, administrator: User, shots: Callable[..., Path]
) -> None:
    page = watched
    log_in(page, live_server, administrator, "a-long-Passw0rd")
    for name in (
        "config:profile",
        "config:api_keys",
        "config:new_api_key",
        "config:audit_trail",
        "audiences:jobs",
    ):
        for size, word in ((WIDE, "wide"), (NARROW, "narrow")):
            page.set_viewport_size(size)
            page.goto(live_server.url + reverse(name))
            accessible(page)
            shots(page, f"shell-{name.replace(':', '-')}-{word}")
            wider = page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert wider == 0, f"{name} is wider than {size['width']} px"
    for name in ("account_change_password", "mfa_index", "mfa_activate_totp"):
        page.goto(live_server.url + reverse(name))
        if page.get_by_role("button", name="Confirm").count():
            page.get_by_label("Password").fill("a-long-Passw0rd")
            page.get_by_role("button", name="Confirm").click()
        accessible(page)
        shots(page, f"shell-{name}")


def test_the_dark_theme_is_accessible_and_kept(
    watched: Page, live_server: Any, administrator: User, shots: Callable[..., Path]
) -> None:
    watched.set_viewport_size(WIDE)
    log_in(watched, live_server, administrator, "a-long-Passw0rd")
    watched.get_by_role("button", name="Light or dark").last.click()
    expect(watched.locator("html")).to_have_attribute("data-bs-theme", "dark")
    watched.goto(live_server.url + reverse("config:users"))
    expect(watched.locator("html")).to_have_attribute("data-bs-theme", "dark")
    accessible(watched)
    shots(watched, "shell-users-dark")


def test_a_running_job_shows_its_progress_and_can_be_cancelled(
    watched: Page, live_server: Any, administrator: User, shots: Callable[..., Path]
) -> None:
    page = watched
    jobs.job_kind("browser-test", lambda job: None, "Count of everybody")
    try:
        job = Job.objects.create(kind="browser-test", state="running", done=40, total=100, step="Counting")
        log_in(page, live_server, administrator, "a-long-Passw0rd")
        page.goto(live_server.url + reverse("audiences:job", args=[job.pk]))
        expect(page.get_by_text("40 / 100")).to_be_visible()
        accessible(page)
        shots(page, "shell-job")
        Job.objects.filter(pk=job.pk).update(done=70)
        expect(page.get_by_text("70 / 100")).to_be_visible()
        page.get_by_role("button", name="Cancel").first.click()
        expect(page.get_by_text("Stopping at the next safe point…")).to_be_visible()
        job.refresh_from_db()
        assert job.cancel_asked
    finally:
        del jobs.job_kinds._entries["browser-test"]


def test_a_failed_request_of_a_part_is_told_not_swallowed(
    page: Page, live_server: Any, administrator: User, shots: Callable[..., Path]
) -> None:
    jobs.job_kind("browser-test", lambda job: None, "Count of everybody")
    try:
        job = Job.objects.create(kind="browser-test", state="running", done=40, total=100, step="Counting")
        log_in(page, live_server, administrator, "a-long-Passw0rd")
        page.goto(live_server.url + reverse("audiences:job", args=[job.pk]))
        job.delete()
        expect(page.get_by_text("This no longer exists. Reload the page.")).to_be_visible(timeout=8000)
    finally:
        del jobs.job_kinds._entries["browser-test"]

"""The road as a marketer, an approver and finance live it: `up` with its demo data, four channels, real servers.

Everything runs as for a user: its own database, web, worker, beat and sandbox. The marketer loads a file,
builds a segment, plans; another approves; the campaign runs against the far sides; coverage adds up with
nothing over; finance signs. Pictures go to var/shots/story-*.png.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.test_up import Running

pytestmark = [pytest.mark.timeout(900), pytest.mark.needs_chromium]
PATIENCE = 60_000  # ms for a page; machines are slow when two tests run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, str], Running]]:
    """A running installation with 300 people: its address and passwords."""
    monkeypatch.setenv("EVENREACH_DEMO_CUSTOMERS", "300")
    running = Running(tmp_path / "var", demo=True)
    try:
        address = running.until(r"Evenreach is ready: (\S+)")[1]
        yield address, json.loads((tmp_path / "var" / "demo-logins.json").read_text()), running
    finally:
        running.process.terminate()
        running.process.wait(60)


@pytest.fixture
def enter(browser: Any, home: Any) -> Iterator[Callable[[str], Any]]:
    """enter("finance") → a page on which that person has logged in by the form."""
    address, passwords, _running = home
    contexts = []

    def page_of(who: str) -> Any:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en", base_url=address)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.goto("/accounts/login/")
        page.fill("input[name=login]", who)
        page.fill("input[name=password]", passwords[who])
        page.press("input[name=password]", "Enter")
        page.wait_for_url(lambda url: "login" not in url)
        return page

    yield page_of
    for context in contexts:
        context.close()


def until(page: Any, wanted: Callable[[], bool], what: str, seconds: float = 240) -> None:
    """Reload until something is so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if wanted():
            return
        page.wait_for_timeout(1500)
        page.reload()
    raise AssertionError(f"{what} within {seconds} s; the page says:\n{page.inner_text('main')[:3000]}")


def test_the_road_from_a_file_to_a_signed_report(
    enter: Callable[[str], Any], shots: Callable[[Any, str], Path], tmp_path: Path
) -> None:
    marketer = enter("marketer")
    shots(marketer, "story-01-home")
    load_a_file(marketer, tmp_path, shots)
    segment = build_a_segment(marketer, shots)
    campaign = plan_a_campaign(marketer, segment, shots)

    approver = enter("approver")
    approver.goto("/")
    shots(approver, "story-08-approver-home")
    approver.goto(f"{campaign}approval/")
    shots(approver, "story-09-approval")
    approver.click("button[name=decision][value=approve]")
    approver.click("dialog [data-yes]")
    approver.wait_for_load_state()

    marketer.goto(f"{campaign}live/")
    run_and_watch(marketer, campaign, shots)
    number = re.search(r"/campaigns/(\d+)/", campaign)
    assert number is not None
    read_coverage(marketer, number[1], shots)
    sign(enter("finance"), number[1], shots)


def load_a_file(page: Any, folder: Path, shots: Callable[[Any, str], Path]) -> None:
    """Thirty new people, one bad line among them; the bad one is told, the good ones are in."""
    rows = ["会员号,姓名,手机号,邮箱,短信授权,邮件授权"]
    rows += [f"N{n:04d},新客{n},138{n:08d},n{n}@example.com,是,是" for n in range(1, 31)]
    rows.append("N9999,坏号,12345,bad@example.com,是,是")
    file = folder / "new members.csv"
    file.write_text("\n".join(rows), encoding="utf-8-sig")
    page.goto("/imports/")
    page.locator("a[href*='new'], a[href*='upload']").first.click()
    page.wait_for_load_state()
    kind = page.locator("select[name=kind]")
    if kind.count():
        kind.select_option("customers")
    page.set_input_files("input[type=file]", str(file))
    page.locator("main form:has(input[type=file]) button.btn-primary").click()
    page.wait_for_load_state()
    shots(page, "story-02-import-mapping")
    page.locator("main form button.btn-primary").last.click()
    until(
        page,
        lambda: "30" in page.inner_text("main") and "12345" in page.inner_text("main"),
        "the import ended",
    )
    shots(page, "story-03-import-result")


def build_a_segment(page: Any, shots: Callable[[Any, str], Path]) -> str:
    """A rule in the builder; the count is seen before saving."""
    page.goto("/segments/")
    shots(page, "story-04-segments")
    page.goto("/segments/new/")
    page.fill("input[name=name]", "Members and new people")
    shots(page, "story-05-segment-builder")
    return "近半年活跃会员 · Active members"


def plan_a_campaign(page: Any, segment: str, shots: Callable[[Any, str], Path]) -> str:
    """The demo's draft over WeCom, SMS, email and ads, starting now; forecast and submitted."""
    page.goto("/campaigns/")
    page.click("text=Winter tasting")
    page.wait_for_load_state()
    campaign = page.url if page.url.endswith("/") else page.url + "/"
    campaign = re.sub(r"(/campaigns/\d+/).*", r"\1", campaign)
    start = datetime.now(ZoneInfo("Asia/Shanghai"))
    page.goto(f"{campaign}basics/")
    inputs = page.locator("input[type=datetime-local]")
    inputs.nth(0).fill((start - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M"))
    inputs.nth(1).fill((start + timedelta(days=5)).strftime("%Y-%m-%dT%H:%M"))
    page.locator("main form button:has-text('On to frequency')").click()
    page.wait_for_load_state()
    assert page.locator("select[name=segment], main").count()
    page.goto(f"{campaign}matrix/")
    shots(page, "story-06-matrix")
    page.goto(f"{campaign}forecast/")
    page.click("text=Run the forecast")
    until(
        page,
        lambda: "Plan" in page.inner_text("main") and page.locator("progress").count() == 0,
        "the forecast ended",
    )
    shots(page, "story-07-forecast")
    page.goto(f"{campaign}approval/")
    page.click("main button:has-text('Submit')")
    page.wait_for_load_state()
    return campaign


def run_and_watch(page: Any, campaign: str, shots: Callable[[Any, str], Path]) -> None:
    until(page, lambda: "Running" in page.inner_text("main"), "the campaign runs")
    shots(page, "story-10-live")
    page.wait_for_timeout(20_000)  # receipts, clicks and orders of the simulated market come in
    page.reload()
    shots(page, "story-11-live-later")


def read_coverage(page: Any, number: str, shots: Callable[[Any, str], Path]) -> None:
    """Nothing over; something reached; every part of the target named."""
    page.goto(f"/reports/coverage/{number}/")
    until(page, lambda: reached(page) > 0, "somebody was reached")
    assert page.locator("[data-figure=over]").inner_text().strip() == "0"
    assert page.locator(".alert-danger").count() == 0
    shots(page, "story-12-coverage")


def reached(page: Any) -> int:
    figure = page.locator("a[href*='/reached/']").first
    return int(re.sub(r"\D", "", figure.inner_text()) or 0) if figure.count() else 0


def sign(page: Any, number: str, shots: Callable[[Any, str], Path]) -> None:
    page.goto(f"/reports/roi/{number}/")
    page.click("button:has-text('Bring up to date')")
    until(
        page,
        lambda: "Message fees" in page.inner_text("main") and page.locator("progress").count() == 0,
        "costs are in the ledger",
    )
    shots(page, "story-13-roi")
    page.fill("#comment", "As at the end of the story")
    page.click("button:has-text('Sign spend and revenue')")
    page.click("dialog [data-yes]")
    page.wait_for_load_state()
    page.click("a:has-text('As at the end of the story')")
    page.wait_for_load_state()
    assert "SHA-256" in page.inner_text("main")
    shots(page, "story-14-signed")

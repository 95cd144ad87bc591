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


def press(page: Any, selector: str) -> None:
    """Click what leads to another page, and be there."""
    with page.expect_navigation():
        page.click(selector)


def test_the_road_from_a_file_to_a_signed_report(
    enter: Callable[[str], Any], shots: Callable[[Any, str], Path], tmp_path: Path
) -> None:
    marketer = enter("marketer")
    shots(marketer, "story-01-home")
    load_a_file(marketer, tmp_path, shots)
    build_a_segment(marketer, shots)
    campaign = plan_a_campaign(marketer, shots)

    approver = enter("approver")
    approver.goto("/")
    shots(approver, "story-08-approver-home")
    approver.goto(f"{campaign}approval/")
    shots(approver, "story-09-approval")
    approver.click("button[name=decision][value=approve]")
    press(approver, "dialog [data-yes]")

    marketer.goto(f"{campaign}live/")
    run_and_watch(marketer, shots)
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
    press(page, "a:has-text('Load a file')")
    page.check("input[name=kind][value=customers]", force=True)
    page.set_input_files("input[type=file]", str(file))
    press(page, "button:has-text('Look at the columns')")
    shots(page, "story-02-import-mapping")
    press(page, "main button.btn-primary:has-text('Load')")
    until(page, lambda: "12345" in page.inner_text("main"), "the import ended")
    shots(page, "story-03-import-result")


SEGMENT = "Members and customers"


def build_a_segment(page: Any, shots: Callable[[Any, str], Path]) -> None:
    """A rule in the builder, counted as one edits."""
    page.goto("/segments/new/")
    page.select_option("[data-add]", "stage")
    for stage in ("member", "customer", "advocate"):
        page.check(f"input[type=checkbox][value={stage}]")
    page.locator("#estimate").filter(has_text=re.compile(r"[1-9]\d\d")).wait_for()
    page.fill("input[name=name]", SEGMENT)
    shots(page, "story-04-segment-builder")
    press(page, "button[name=act][value=save]")
    shots(page, "story-05-segment")


def plan_a_campaign(page: Any, shots: Callable[[Any, str], Path]) -> str:
    """The demo's draft over WeCom, SMS, email and ads, starting now; forecast and submitted."""
    page.goto("/campaigns/")
    press(page, "a:has-text('Winter tasting')")
    found = re.search(r"/campaigns/\d+/", page.url)
    assert found is not None
    campaign = found[0]
    start = datetime.now(ZoneInfo("Asia/Shanghai"))
    page.goto(f"{campaign}basics/")
    choice = page.locator("select[name$=segment] option", has_text=SEGMENT).get_attribute("value")
    page.select_option("select[name$=segment]", choice)
    moments = page.locator("input[type=datetime-local]")
    moments.nth(0).fill((start - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M"))
    moments.nth(1).fill((start + timedelta(days=5)).strftime("%Y-%m-%dT%H:%M"))
    page.click("main button:has-text('Save')")
    page.wait_for_timeout(2000)
    page.goto(f"{campaign}matrix/")
    shots(page, "story-06-matrix")
    page.goto(f"{campaign}forecast/")
    press(page, "main button:has-text('Run the forecast')")
    until(page, lambda: "Cost expected".lower() in page.inner_text("main").lower(), "the forecast ended")
    shots(page, "story-07-forecast")
    page.goto(f"{campaign}approval/")
    press(page, "main button:has-text('Submit')")
    return campaign


def run_and_watch(page: Any, shots: Callable[[Any, str], Path]) -> None:
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
    for channel in ("WeCom", "SMS", "Email", "Meta ads"):
        cells = page.locator(f"tr:has(th:has-text('{channel}')) td.num").all_inner_texts()
        assert int(cells[2].replace(",", "")) > 0, f"nothing was planned on {channel}: {cells}"
    shots(page, "story-12-coverage")


def reached(page: Any) -> int:
    figure = page.locator("a[href*='/reached/']").first
    return int(re.sub(r"\D", "", figure.inner_text()) or 0) if figure.count() else 0


def sign(page: Any, number: str, shots: Callable[[Any, str], Path]) -> None:
    page.goto(f"/reports/roi/{number}/")
    press(page, "button:has-text('Bring up to date')")
    until(
        page,
        lambda: "Message fees" in page.inner_text("main") and page.locator("progress").count() == 0,
        "costs are in the ledger",
    )
    shots(page, "story-13-roi")
    page.fill("#comment", "As at the end of the story")
    page.click("button:has-text('Sign spend and revenue')")
    press(page, "dialog [data-yes]")
    press(page, "a:has-text('As at the end of the story')")
    assert "SHA-256" in page.inner_text("main")
    shots(page, "story-14-signed")

"""Money, destinations, credentials and people's work in a real browser: wide and narrow, in both languages, by axe."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from audiences.models import Customer
from campaigns.models import PeopleTask
from channels.models import DailyReport, Employee, PushDestination, WalletEntry, WalletStatement
from channels.sandbox.server import Sandbox
from config.models import User
from tests.browser.test_channels import NARROW, accessible, no_sideways, watched
from tests.channel_rows import make_channel
from tests.sandbox_fixture import start_sandbox
from tests.test_spend_push import place

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["watched"]


@pytest.fixture
def groups(tmp_path: Path) -> Iterator[Sandbox]:
    with start_sandbox(tmp_path / "robots") as running:
        yield running


def accounts() -> None:
    """Three accounts with a life behind them: one low, one with a package that expires, one without a wallet."""
    today = timezone.localdate()
    search = make_channel(medium="search", name="百度搜索 A", price_model="cpc")
    sms = make_channel(name="短信（营销）")
    social = make_channel(medium="social", name="Social B", price_model="cpm")

    def entry(channel: Any, kind: str, amount: str, back: int, **fields: Any) -> None:
        fields = {"unit": "CNY", "source": "file 流水.csv"} | fields
        WalletEntry.objects.create(
            channel=channel, kind=kind, amount=Decimal(amount), day=today - timedelta(days=back),
            source_key=f"{kind}{back}{WalletEntry.objects.count()}", **fields,
        )  # fmt: skip

    entry(search, "opening", "8000", 9)
    for back in range(1, 8):
        entry(search, "cash_consumption", "950", back)
    entry(search, "bonus_consumption", "120", 1)
    entry(search, "top_up", "1500", 1)
    entry(sms, "top_up", "200000", 60, unit="messages", expires_on=today + timedelta(days=12))
    entry(sms, "top_up", "500000", 20, unit="messages", expires_on=today + timedelta(days=300))
    entry(sms, "cash_consumption", "81200", 1, unit="messages")
    WalletStatement.objects.create(
        channel=search,
        day=today - timedelta(days=1),
        balance=Decimal("2700"),
        source="file",
        fetched_at=timezone.now(),
    )
    for channel, unit, balance, counted in (
        (sms, "messages", "618000", "618800"),
        (social, "CNY", "1250.5", None),
    ):
        WalletStatement.objects.create(
            channel=channel, day=today, unit=unit, balance=Decimal(balance), counted=counted and Decimal(counted),
            source="api", fetched_at=timezone.now(),
        )  # fmt: skip
    DailyReport.objects.create(
        channel=social,
        day=today - timedelta(days=1),
        spend=Decimal("321.5"),
        source="api",
        fetched_at=timezone.now(),
    )


def both(page: Page, url: str, name: str, shots: Callable[..., Path], who: str) -> None:
    """The page wide and narrow, in English and Chinese."""
    for language in ("en", "zh-hans"):
        User.objects.filter(username=who).update(language=language)
        for width, size in (("1280", {"width": 1280, "height": 900}), ("390", NARROW)):
            page.set_viewport_size(size)
            page.goto(url)
            accessible(page)
            no_sideways(page)
            shots(page, f"{name}-{width}-{language}")
    User.objects.filter(username=who).update(language="en")


def test_the_daily_sheet_and_the_wallets(
    watched: Callable[[str], Page], live_server: Any, shots: Callable[..., Path]
) -> None:
    accounts()
    page = watched("channels")
    both(page, live_server.url + reverse("channels:sheet"), "money-sheet", shots, "channels")
    both(page, live_server.url + reverse("channels:wallets"), "money-wallets", shots, "channels")
    page.goto(live_server.url + reverse("channels:sheet"))
    expect(page.get_by_text("The platform's statement differs.")).to_be_visible()
    expect(page.get_by_text("messages expire on")).to_be_visible()


def test_an_admin_connects_a_group_and_sends_the_sheet(
    watched: Callable[[str], Page], live_server: Any, shots: Callable[..., Path], groups: Sandbox
) -> None:
    accounts()
    page = watched("channels")
    page.goto(live_server.url + reverse("channels:pushes"))
    accessible(page)
    page.get_by_role("link", name="New destination").first.click()
    accessible(page)
    page.get_by_role("link", name="DingTalk group robot").click()
    accessible(page)
    shots(page, "money-push-form")
    address, secret = place(groups, "dingtalk")
    page.get_by_label("Name*", exact=True).fill("投放群")
    page.get_by_label("Address of the robot's webhook").fill(address)
    page.get_by_label("Signing secret").fill(secret)
    page.get_by_role("button", name="Save").click()
    assert secret not in page.content()
    page.get_by_role("button", name="Send now").click()
    expect(page.get_by_text("The sheet was sent. Look into the group.")).to_be_visible()
    (line,) = groups.log_lines("dingtalk_robot", "message")
    assert "百度搜索 A" in line["text"]
    found = PushDestination.objects.get()
    both(page, live_server.url + reverse("channels:push", args=[found.pk]), "money-push", shots, "channels")
    both(page, live_server.url + reverse("channels:pushes"), "money-pushes", shots, "channels")


def test_credentials_are_rotated(
    watched: Callable[[str], Page], live_server: Any, shots: Callable[..., Path], groups: Sandbox
) -> None:
    config = groups.config.wecom
    channel = make_channel(
        "wecom", "wecom", name="企微", credentials={"secret": "old"},
        settings={"base_url": f"http://127.0.0.1:{groups.ports['wecom']}", "corp_id": config.corp_id},
    )  # fmt: skip
    page = watched("channels")
    url = live_server.url + reverse("channels:rotate", args=[channel.pk])
    both(page, url, "money-rotate", shots, "channels")
    page.goto(url)
    page.locator("[name=adapter-secret]").fill("wrong")
    page.get_by_role("button", name="Test and replace").click()
    expect(page.get_by_text("the old credentials stay")).to_be_visible()
    accessible(page)
    page.locator("[name=adapter-secret]").fill(config.secret)
    page.get_by_role("button", name="Test and replace").click()
    expect(page.get_by_text("The new credentials hold")).to_be_visible()
    both(
        page,
        live_server.url + reverse("channels:channel", args=[channel.pk]),
        "money-channel",
        shots,
        "channels",
    )
    url = live_server.url + reverse("campaigns:employees", args=[channel.pk])
    both(page, url, "money-employees", shots, "channels")


def test_an_employee_works_through_the_day_on_a_phone(
    watched: Callable[[str], Page],
    live_server: Any,
    shots: Callable[..., Path],
    make_user: Callable[..., Any],
) -> None:
    user = make_user("mei", email="mei@shop.example")
    user.set_password("a-long-password")
    user.save()
    channel = make_channel(medium="call", name="门店电话")
    mei = Employee.objects.create(channel=channel, external_id="7", name="梅", store="徐汇店", user=user)
    now = timezone.now()
    for n, hours in enumerate((-30, -2, 0.01, 30)):
        person = Customer.objects.create(name=f"回访顾客 {n}", stage="member")
        due = now + timedelta(hours=hours)
        PeopleTask.objects.create(channel=channel, employee=mei, customer=person, title="回访", due_at=due)
    page = watched("nobody")
    page.context.clear_cookies()
    page.set_viewport_size(NARROW)
    page.goto(live_server.url + "/")
    page.locator("[name=login]").fill("mei")
    page.locator("[name=password]").fill("a-long-password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Tasks")
    expect(page.get_by_text("Late", exact=True)).to_be_visible()
    both(page, live_server.url + reverse("campaigns:tasks"), "money-tasks", shots, "mei")
    page.set_viewport_size(NARROW)
    page.goto(live_server.url + reverse("campaigns:tasks"))
    page.get_by_text("回访顾客 0").click()
    page.get_by_label("Note").fill("周六到店")
    accessible(page)
    shots(page, "money-task-390")
    page.get_by_role("button", name="No answer", exact=True).click()  # the wrong button
    expect(page.get_by_role("status").get_by_text("No answer")).to_be_visible()
    accessible(page)
    shots(page, "money-undo-390")
    page.get_by_role("button", name="Take it back").click()
    expect(page.get_by_label("Note")).to_have_value("周六到店")
    page.get_by_role("button", name="Interested", exact=True).click()
    assert PeopleTask.objects.filter(outcome="interested", note="周六到店").count() == 1

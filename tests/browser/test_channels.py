"""Channels in a real browser: connected, watched, paused; rules replaced; everything read by axe."""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from audiences import consent
from audiences.models import Customer
from channels import audience_sync, counts, flights, inbox, links, states
from channels.adapters.base import Flight, Inbound, Receipt
from channels.models import Channel, DailyReport, InboxEvent, PlatformRule, WalletEntry, WalletStatement
from tests.channel_rows import make_brand, make_channel

pytestmark = pytest.mark.django_db(transaction=True)
WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 390, "height": 844}


@pytest.fixture
def watched(page_as: Callable[[str], Page]) -> Iterator[Callable[[str], Page]]:
    """Pages whose console errors and refused scripts fail the test at its end."""
    told: list[str] = []

    def open_page(who: str) -> Page:
        page = page_as(who)
        page.set_viewport_size(WIDE)
        page.on("console", lambda message: told.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: told.append(str(error)))
        return page

    yield open_page
    assert [text for text in told if "422" not in text] == []


def accessible(page: Page) -> None:
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
    assert found.violations_count == 0, found.generate_report()


def no_sideways(page: Page) -> None:
    """A phone never scrolls the page sideways; wide tables scroll by themselves."""
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth + 1")


def test_a_channel_admin_connects_a_channel_by_hand_and_pauses_it(
    watched: Callable[[str], Page], live_server: Any, shots: Callable[..., Path]
) -> None:
    make_brand()
    page = watched("channels")
    page.goto(live_server.url + reverse("channels:channels"))
    accessible(page)
    shots(page, "channels-empty")
    page.get_by_role("link", name="Connect a channel").first.click()
    accessible(page)
    shots(page, "channels-connect-medium")
    page.get_by_role("link", name="Email", exact=True).click()
    accessible(page)
    shots(page, "channels-connect-adapter")
    page.get_by_role("link", name="Email (SMTP)").click()
    page.get_by_label("Name*", exact=True).fill("Letters")
    page.get_by_label("SMTP server").fill("127.0.0.1")
    page.get_by_label("Sender's address").fill("news@shop.example")
    page.get_by_label("Port").fill("1")
    page.get_by_label("Messages a day").fill("-1")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("It cannot be less than 0.")).to_be_visible()
    accessible(page)
    shots(page, "channels-connect-errors")
    page.get_by_label("Messages a day").fill("5000")
    page.get_by_label("Encryption").select_option("none")
    page.get_by_label("Password").fill("very-secret-indeed")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Letters")
    assert "very-secret-indeed" not in page.content()
    page.get_by_role("button", name="Test the connection").click()
    expect(page.locator("#check .alert-danger")).to_contain_text("refused")
    accessible(page)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Nothing is handed over; what comes in is still stored.")).to_be_visible()
    assert Channel.objects.get().state == "paused"
    page.get_by_role("button", name="Archive").click()
    page.locator("#confirm").get_by_role("button", name="Yes, go on").click()
    expect(page.get_by_role("button", name="Take out of the archive")).to_be_visible()


def story() -> dict[str, Any]:
    """A few channels with a life behind them."""
    now, today = timezone.now(), timezone.localdate()
    email = make_channel(
        "email",
        "email",
        name="会员邮件",
        unit_price=Decimal("0.008"),
        daily_capacity=200_000,
        rate_per_second=50,
        settings={"host": "smtp.example.com", "from_address": "news@shop.example", "tls": "starttls"},
        credentials={"password": "x" * 12},
    )
    sms = make_channel(name="短信（人工）", unit_price=Decimal("0.045"), settings={"signature": "均达"})
    search = make_channel(medium="search", name="Search A", price_model="cpc", unit_price=Decimal("1.2"))
    social = make_channel(
        medium="social",
        name="Social, by hand",
        price_model="cpm",
        unit_price=Decimal(40),
        settings={"instructions": "Ads manager → Audiences → Upload"},
    )
    for hour in range(24):
        at = now - timedelta(hours=hour)
        counts.count_many(
            email.pk,
            {
                "accepted": 4000 + 137 * hour,
                "refused": 30,
                "refused:5.1.1": 21,
                "refused:5.7.1": 9,
                "throttled": 12,
                "throttled:4.7.1": 12,
            },
            at,
        )
    states.stop(sms, "535 the account is locked")
    events = [
        Inbound(
            f"k{n}",
            now - timedelta(minutes=n),
            receipt=Receipt.DELIVERED,
            reference=f"<{1000 + n}.ab12@shop.example>",
        )
        for n in range(60)
    ]
    inbox.store(email, events, now)
    for event in InboxEvent.objects.order_by("id")[:2]:
        inbox.set_aside(
            event.pk, "ValueError: unknown type 'teleported'; known: accepted, delivered, bounced", now
        )
    for back in range(10):
        day = today - timedelta(days=back)
        for placement, spend in (("brand words", 1200 + 31 * back), ("category words", 800 - 17 * back)):
            DailyReport.objects.create(
                channel=search,
                day=day,
                placement=placement,
                spend=spend,
                exposures=90_000 + back,
                clicks=1000 + back,
                source="api",
                fetched_at=now,
            )
    for n, (kind, amount) in enumerate(
        (("opening", 5000), ("top_up", 20000), ("bonus", 2000), ("cash_consumption", 15500))
    ):
        WalletEntry.objects.create(
            channel=search,
            day=date(2026, 11, n + 1),
            kind=kind,
            amount=amount,
            source="file wallet.csv",
            source_key=str(n),
        )
    WalletStatement.objects.create(
        channel=search, day=date(2026, 11, 20), balance=11480, source="file", fetched_at=now
    )
    audience = audience_sync.audience_for(social, 7, "双十一 buyers")
    for n in range(12):
        customer = Customer.objects.create(name=f"P{n}")
        customer.identities.create(kind="phone", value=f"+8613800{n:06d}")
        if n % 3:
            consent.grant(customer.pk, social.brand_id, "social", "form", now - timedelta(days=1), "upload")
        audience_sync.want(audience.pk, [customer.pk], now)
    flights.want(audience, Flight("", Decimal(30000), today, today + timedelta(days=11), 3, 7))
    return {"email": email, "sms": sms, "audience": audience}


def test_every_screen_stands_on_a_desk_and_on_a_phone(
    watched: Callable[[str], Page], live_server: Any, shots: Callable[..., Path]
) -> None:
    rows = story()
    PlatformRule.objects.get_or_create(
        medium="sms",
        country="CN",
        key="hours",
        defaults={
            "value": {"from": "08:00", "to": "21:00"},
            "valid_from": date(2020, 1, 1),
            "source": "operators",
        },
    )
    page = watched("channels")
    event = InboxEvent.objects.filter(state="poison").first()
    assert event is not None
    places = {
        "channels": reverse("channels:channels"),
        "channel": reverse("channels:channel", args=[rows["email"].pk]),
        "channel-stopped": reverse("channels:channel", args=[rows["sms"].pk]),
        "channel-edit": reverse("channels:edit", args=[rows["email"].pk]),
        "audience": reverse("channels:audience", args=[rows["audience"].pk]),
        "inbox": reverse("channels:inbox"),
        "inbox-poison": reverse("channels:inbox") + "?state=poison",
        "event": reverse("channels:event", args=[event.pk]),
        "spend": reverse("channels:spend"),
        "reports": reverse("channels:reports"),
        "wallets": reverse("channels:wallets") + "?to=2026-11-30",
        "rules": reverse("channels:rules"),
        "rule": reverse("channels:new_rule"),
    }
    for name, path in places.items():
        for size, width in ((WIDE, "wide"), (NARROW, "narrow")):
            page.set_viewport_size(size)
            page.goto(live_server.url + path)
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            shots(page, f"channels-{name}-{width}")
            no_sideways(page)
            accessible(page)


def test_a_rule_is_found_and_replaced(watched: Callable[[str], Page], live_server: Any) -> None:
    PlatformRule.objects.get_or_create(
        medium="sms",
        country="CN",
        key="hours",
        adapter="",
        defaults={
            "value": {"from": "08:00", "to": "21:00"},
            "valid_from": date(2020, 1, 1),
            "source": "operators",
        },
    )
    page = watched("channels")
    page.goto(live_server.url + reverse("channels:rules"))
    page.get_by_label("Medium").select_option("sms")
    expect(page.locator("#list tbody tr").first).to_contain_text("SMS")
    row = page.locator("#list tbody tr", has_text="Hours of sending").filter(has_text="CN").first
    row.get_by_role("link", name="Replace").click()
    page.get_by_label("Value").fill('{"from": "09:00", "to": "20:30"}')
    page.get_by_label("Source*", exact=True).fill("A letter of the operator")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The rule is saved.")).to_be_visible()
    newest = PlatformRule.objects.filter(medium="sms", key="hours", country="CN").order_by("-pk")[0]
    assert newest.value == {"from": "09:00", "to": "20:30"}


def test_a_person_unsubscribes_and_chooses_without_logging_in(
    page: Page, live_server: Any, shots: Callable[..., Path]
) -> None:
    channel = make_channel(medium="email", name="Letters")
    make_channel(name="Texts")
    customer = Customer.objects.create(name="林晓", language="en")
    consent.grant(customer.pk, channel.brand_id, "email", "form", timezone.now())
    page.set_viewport_size(NARROW)
    address = links.unsubscribe_urls(channel.pk, 7)(11, customer.pk).replace(
        settings.PUBLIC_URL, live_server.url
    )
    page.goto(address)
    accessible(page)
    shots(page, "public-unsubscribe")
    page.get_by_role("button", name="Unsubscribe").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You are unsubscribed")
    accessible(page)
    page.get_by_role("link", name="Choose here").click()
    email = page.get_by_label("Email")
    expect(email).not_to_be_checked()
    email.check()
    page.get_by_role("button", name="Save my choice").click()
    expect(page.get_by_role("status")).to_contain_text("Saved")
    expect(page.get_by_label("Email")).to_be_checked()
    accessible(page)
    shots(page, "public-preferences")
    assert not page.context.cookies()

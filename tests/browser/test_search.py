"""What a search platform cannot keep to, and which rule a text breaks, in a real browser."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from channels import audience_sync, flights
from channels.adapters.base import Flight
from channels.models import PlatformAudience, PlatformRule
from tests import campaign_drafts as drafts
from tests.channel_rows import make_channel

pytestmark = pytest.mark.django_db(transaction=True)
WIDTHS = {"wide": {"width": 1280, "height": 900}, "narrow": {"width": 390, "height": 844}}


def looked_at(page: Page, shots: Callable[..., Path], name: str) -> None:
    """Both widths: nothing scrolls sideways."""
    for width, size in WIDTHS.items():
        page.set_viewport_size(size)  # type: ignore[arg-type]
        wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth + 1"
        assert page.evaluate(wide), f"{name} at {width}"
        shots(page, f"{name}-{width}")


def test_the_page_of_an_audience_says_what_its_platform_cannot_keep_to(
    page_as: Callable[[str], Page], live_server: Any, shots: Callable[..., Path]
) -> None:
    channel = make_channel("baidu", "search", settings={"user_name": "shop", "user_id": "1", "app_id": "a"})
    audience = audience_sync.audience_for(channel, 7, "Main: Double Eleven #7")
    first, last = dt.date(2026, 11, 1), dt.date(2026, 11, 12)
    flights.want(audience, Flight("", Decimal(7000), first, last, 3, 7))
    told = Flight("9000001", Decimal(7000), first, last, without=("starts_on", "ends_on"))
    PlatformAudience.objects.update(
        external_id="7000001",
        flight_reference="9000001",
        known_flight=flights.to_json(told),
        platform_size=640,
    )
    page = page_as("channels")
    page.goto(live_server.url + reverse("channels:audience", args=[audience.pk]))
    expect(page.get_by_text("first day, last day")).to_be_visible()
    expect(page.get_by_text("but for the cap")).to_be_visible()
    looked_at(page, shots, "search-audience")


def test_a_broken_rule_is_named_with_who_says_so(
    page_as: Callable[[str], Page], live_server: Any, shots: Callable[..., Path]
) -> None:
    # Tests with a live server begin without the rows of migrations.
    PlatformRule.objects.create(
        medium="sms", country="CN", key="forbidden_characters", value="【】", valid_from=dt.date(2020, 1, 1),
        source="Mainland SMS operators' common rules",
    )  # fmt: skip
    drafts.make_channel("sms")
    version = drafts.make_message("sms", text="【双十一】全场五折")
    page = page_as("marketer")
    page.goto(live_server.url + reverse("campaigns:message", args=[version.message_id]))
    expect(page.get_by_text("Forbidden characters")).to_be_visible()
    expect(page.get_by_text("Mainland SMS operators' common rules").first).to_be_visible()
    looked_at(page, shots, "search-broken-rule")

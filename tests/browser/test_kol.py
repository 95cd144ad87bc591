"""KOL accounts and posts in a real browser: from the first account to a ranking, and the page of a capless platform."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from audiences.vocabulary import Medium
from campaigns import kol as posts
from channels import audience_sync, flights
from channels.adapters.base import Flight
from channels.models import InboxEvent, KolAccount, KolPlacement
from tests import factories as make
from tests.browser.test_channels import NARROW, accessible, no_sideways, watched
from tests.channel_rows import make_channel

__all__ = ["watched"]
pytestmark = pytest.mark.django_db(transaction=True)


def test_from_the_first_account_to_a_post_that_is_out(
    watched: Callable[[str], Page], live_server: Any, shots: Callable[..., Path]
) -> None:
    channel = make_channel("manual", Medium.KOL, name="KOL", price_model="fixed")
    make.campaign([channel], name="双十一")
    page = watched("marketer")
    page.goto(live_server.url + reverse("channels:kol"))
    accessible(page)
    shots(page, "kol-empty")
    page.get_by_role("link", name="New account").click()
    accessible(page)
    page.get_by_label("Channel*").select_option("KOL")
    page.get_by_label("Name*", exact=True).fill("小厨娘")
    page.get_by_label("Platform").fill("小红书")
    page.get_by_label("Account there*").fill("xiaochuniang")
    page.get_by_label("Followers").fill("-3")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("It cannot be less than 0.")).to_be_visible()
    shots(page, "kol-account")
    page.get_by_label("Followers").fill("31000")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#list")).to_contain_text("小厨娘")
    page.goto(live_server.url + reverse("campaigns:new_kol_post"))
    accessible(page)
    page.get_by_label("Campaign*").select_option("双十一")
    page.get_by_label("KOL account*").select_option("小厨娘")
    page.get_by_label("Day of the post*").fill(timezone.localdate().isoformat())
    page.get_by_label("Fee*").fill("3000")
    page.get_by_label("Where the link leads*").fill("https://shop.example.com/new")
    shots(page, "kol-new-post")
    page.get_by_role("button", name="Plan the post").click()
    expect(page.get_by_text("Give its link to 小厨娘")).to_be_visible()
    accessible(page)
    shots(page, "kol-posts")
    page.goto(live_server.url + reverse("campaigns:task", args=[KolPlacement.objects.get().task_id]))
    page.set_viewport_size(NARROW)
    no_sideways(page)
    accessible(page)
    shots(page, "kol-task-390")
    page.get_by_role("button", name="It is out").click()
    expect(page.get_by_text("Noted.")).to_be_visible()
    assert KolPlacement.objects.get().state == "posted"


def test_the_ranking_reads_well_wide_and_narrow_in_both_languages(
    watched: Callable[[str], Page], live_server: Any, shots: Callable[..., Path]
) -> None:
    channel = make_channel("manual", Medium.KOL, name="KOL", price_model="fixed")
    campaign = make.campaign([channel], name="双十一")
    now, day = timezone.now(), timezone.localdate() - timedelta(days=3)
    for n, (name, followers, fee, visits) in enumerate(
        (
            ("大明星", 8_200_000, 50_000, 600),
            ("小厨娘", 31_000, 3_000, 7002),
            ("测评君", 410_000, 12_000, 1398),
        )
    ):
        account = KolAccount.objects.create(
            channel=channel, name=name, handle=f"kol{n}", platform="小红书", followers=followers
        )
        post = posts.posted(
            posts.place(campaign, account, day, Decimal(fee), "https://shop.example.com/new"), day, now
        )
        InboxEvent.objects.bulk_create(
            InboxEvent(
                channel=channel, dedupe_key=f"{n}-{k}", kind="response", response="click", occurred_at=now,
                received_at=now, detail={"link_id": post.link_id}, state="ignored",
            )
            for k in range(visits)
        )  # fmt: skip
    page = watched("marketer")
    page.goto(live_server.url + reverse("channels:kol"))
    expect(page.locator("#list tbody tr").first).to_contain_text("小厨娘")
    accessible(page)
    shots(page, "kol-ranking")
    page.get_by_label("Rank by").select_option("revenue")
    expect(page.locator("#list")).to_contain_text("Revenue for a unit of fee")
    page.set_viewport_size(NARROW)
    no_sideways(page)
    shots(page, "kol-ranking-390")
    page.goto(live_server.url + reverse("campaigns:kol_posts"))
    no_sideways(page)
    shots(page, "kol-posts-390")
    page.context.add_cookies(
        [{"name": settings.LANGUAGE_COOKIE_NAME, "value": "zh-hans", "url": live_server.url}]
    )
    page.goto(live_server.url + reverse("channels:kol"))
    no_sideways(page)
    shots(page, "kol-ranking-zh")


def test_the_page_of_a_platform_without_caps(
    watched: Callable[[str], Page], live_server: Any, shots: Callable[..., Path]
) -> None:
    today = timezone.localdate()
    channel = make_channel(
        "xiaohongshu",
        "social",
        name="小红书聚光",
        price_model="cpc",
        settings={"account_id": "1", "app_id": "2"},
    )
    audience = audience_sync.audience_for(channel, 7, "均达: 双十一 #7")
    asked = Flight("7001", Decimal(5000), today, today + timedelta(days=9), 3, 7)
    flights.want(audience, asked)
    audience.known_flight = flights.to_json(Flight("7001", asked.budget, asked.starts_on, asked.ends_on))
    audience.flight_reference = "7001"
    audience.save()
    page = watched("marketer")
    page.goto(live_server.url + reverse("channels:audience", args=[audience.pk]))
    expect(page.get_by_text("This platform has no frequency cap")).to_be_visible()
    accessible(page)
    shots(page, "audience-without-cap")
    page.set_viewport_size(NARROW)
    no_sideways(page)
    page.get_by_label("Id of the campaign").fill("7002")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Noted.")).to_be_visible()
    audience.refresh_from_db()
    assert audience.flight_reference == "7002"

"""A channel's health and a channel paused within its campaign, on a desk and on a phone, in both languages."""

from datetime import timedelta
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from channels import audience_sync, fetching
from channels.models import Channel, ChannelFetch, PlatformAudienceMember
from tests import factories as make
from tests.channel_rows import make_channel

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)


def fits(page: Page) -> None:
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth + 1")


def stopped_channel() -> Channel:
    """An ad account whose token is over: people wait on both sides, reports fail, days are missing."""
    now = timezone.now()
    channel = make_channel(
        "meta", "social", name="Meta, 上海", state="stopped", state_reason="(#190) token expired"
    )
    audience = audience_sync.audience_for(channel, 7, "双十一 buyers")
    for n, person in enumerate(make.customers(9)):
        PlatformAudienceMember.objects.create(
            audience=audience, customer_id=person, wanted=n > 2, held=n < 6, changed_at=now - 20 * HOUR
        )
    fetching.succeeded("reports", channel, now - 30 * HOUR)
    fetching.failed(
        "reports", channel, "(#190) Error validating access token: the session has expired", now - 5 * HOUR
    )
    fetching.succeeded("balances", channel, now - 28 * HOUR)
    ChannelFetch.objects.filter(kind="balances").update(nothing=True)
    ChannelFetch.objects.filter(kind="reports").update(
        missed=[{"from": "2026-03-02", "until": "2026-03-09", "why": ""}]
    )
    return channel


@pytest.mark.parametrize("language", ["en", "zh-hans"])
@pytest.mark.parametrize("width", [1280, 390])
def test_health_and_the_pause_of_one_channel(
    language: str, width: int, live_server: Any, page_as: Any, context: Any, shots: Any
) -> None:
    now = timezone.now()
    stopped = stopped_channel()
    one, other = make.channel(name="会员邮件"), make.channel(name="Mail, shop B")
    ads = [make_channel("meta", "social", name="Meta, Beijing"), make_channel("weibo", "social", name="微博")]
    found = make.campaign([one, other, *ads], now=now, name="双十一")
    make.released(found, make.customers(12), due_at=now - HOUR)
    page = page_as("marketer")
    context.add_cookies([{"name": settings.LANGUAGE_COOKIE_NAME, "value": language, "url": live_server.url}])
    page.set_viewport_size({"width": width, "height": 900})
    for name, channel in (("health-stopped", stopped), ("health-mail", one)):
        page.goto(live_server.url + reverse("channels:channel", args=[channel.pk]))
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        shots(page, f"{name}-{language}-{width}")
        fits(page)
    page.goto(live_server.url + reverse("campaigns:live", args=[found.pk]))
    fits(page)
    pause = page.locator(
        f"form[action='{reverse('campaigns:pause_channel', args=[found.pk, one.pk])}'] button"
    )
    pause.click()
    page.locator("#confirm [data-yes]").click()
    resume = page.locator(
        f"form[action='{reverse('campaigns:resume_channel', args=[found.pk, one.pk])}'] button"
    )
    expect(resume).to_be_visible()
    assert list(found.channel_plans.exclude(paused_at=None).values_list("channel_id", flat=True)) == [one.pk]
    shots(page, f"live-paused-{language}-{width}")
    fits(page)
    resume.click()
    expect(pause).to_be_visible()
    for channel in ads:  # stand still as well, one for a while already
        audience = audience_sync.audience_for(channel, found.pk, "双十一 buyers")
        audience.pause_wanted, audience.pause_wanted_at, audience.flight_reference = True, now - HOUR, "2385"
        audience.pause_error = "(#190) Error validating access token: the session has expired"
        audience.save()
    page.reload()
    shots(page, f"live-ads-{language}-{width}")
    fits(page)
    page.goto(live_server.url + reverse("channels:audience", args=[audience.pk]))
    shots(page, f"audience-ads-{language}-{width}")
    fits(page)
    page.goto(live_server.url)
    shots(page, f"home-ads-{language}-{width}")
    fits(page)

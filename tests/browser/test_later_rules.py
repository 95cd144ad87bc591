"""A channel that a rule stopped, will stop, or no longer stops: on a desk and on a phone, in both languages."""

import datetime as dt
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from campaigns.models import Broadcast, BroadcastTask, Campaign, MessageVariant
from channels import rule_rows
from channels.models import Channel, Employee, PlatformRule
from tests import factories as make
from tests import plan_rows as rows
from tests.campaign_drafts import make_person
from tests.test_rules_after_approval import going, line, mend

pytestmark = pytest.mark.django_db(transaction=True)
DAY = dt.timedelta(days=1)


def fits(page: Page) -> None:
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth + 1")


def scene(now: dt.datetime) -> tuple[Campaign, Channel, PlatformRule]:
    """Mail stopped by a rule, text messages to be stopped in three days."""
    (mail, _wire), (text, _other) = line(), line("sms")
    Channel.objects.filter(pk=mail.pk).update(name="会员邮件")
    Channel.objects.filter(pk=text.pk).update(name="Text messages, shop B")
    found = going([mail, text], rows.customers(6, ("email", "sms")), now=now)
    Campaign.objects.filter(pk=found.pk).update(name="双十一", created_by=make_person("marketer", "marketer"))
    MessageVariant.objects.filter(version__message__medium="email").update(name="A")
    usual = {"key": "forbidden_characters", "value": "★", "source": "运营商通知 2026-117"}
    made = PlatformRule(medium="email", valid_from=(now - DAY).date(), **usual)
    rule_rows.save(made, now)
    rule_rows.save(PlatformRule(medium="sms", country="CN", valid_from=(now + 3 * DAY).date(), **usual), now)
    return found, mail, made


@pytest.mark.parametrize("language", ["en", "zh-hans"])
@pytest.mark.parametrize("width", [1280, 390])
def test_what_a_rule_stopped_will_stop_and_no_longer_stops(
    language: str, width: int, live_server: Any, page_as: Any, context: Any, shots: Any
) -> None:
    now = timezone.now()
    found, mail, _rule = scene(now)
    page = page_as("marketer")
    context.add_cookies([{"name": settings.LANGUAGE_COOKIE_NAME, "value": language, "url": live_server.url}])
    page.set_viewport_size({"width": width, "height": 900})
    live = live_server.url + reverse("campaigns:live", args=[found.pk])
    page.goto(live)
    stopped = page.get_by_role("alert")
    expect(stopped).to_contain_text("★")
    expect(page.locator(".alert-warning")).to_contain_text("Text messages, shop B")
    expect(stopped).to_contain_text("运营商通知 2026-117")
    shots(page, f"rule-live-stopped-{language}-{width}")
    fits(page)
    page.goto(live_server.url + reverse("config:home"))
    shots(page, f"rule-home-{language}-{width}")
    fits(page)
    page.goto(live)
    stopped.locator(f"a[href='{reverse('campaigns:content', args=[found.pk])}']").click()
    expect(page).to_have_url(live_server.url + reverse("campaigns:content", args=[found.pk]))
    PlatformRule.objects.filter(
        medium="sms", value="★"
    ).delete()  # a change must keep to every rule of its flight
    mend(found, mail, now)
    page.goto(live)
    go_on = page.locator(
        f"form[action='{reverse('campaigns:resume_channel', args=[found.pk, mail.pk])}'] button"
    )
    expect(go_on).to_be_visible()
    shots(page, f"rule-live-mended-{language}-{width}")
    fits(page)
    go_on.click()
    expect(go_on).to_have_count(0)
    assert not found.channel_plans.exclude(paused_at=None).exists()


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_who_saves_a_rule_sees_what_it_stops(
    language: str, live_server: Any, page_as: Any, context: Any, shots: Any
) -> None:
    now = timezone.now()
    mail, _wire = line()
    found = going([mail], rows.customers(2), now=now)
    page = page_as("channels")
    context.add_cookies([{"name": settings.LANGUAGE_COOKIE_NAME, "value": language, "url": live_server.url}])
    page.goto(live_server.url + reverse("channels:new_rule"))
    page.locator("[name=medium]").select_option("email")
    page.locator("[name=key]").select_option("forbidden_characters")
    page.locator("[name=value]").fill('"★"')
    page.locator("[name=valid_from]").fill((now - DAY).date().isoformat())
    page.locator("[name=source]").fill("运营商通知 2026-117")
    page.locator("form.card button.btn-primary").click()
    expect(page.get_by_text(found.name)).to_be_visible()
    assert found.channel_plans.get().paused_at is not None
    shots(page, f"rule-saved-{language}")
    fits(page)


@pytest.mark.parametrize("language", ["en", "zh-hans"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_post_that_a_rule_stopped_says_so(
    language: str, width: int, live_server: Any, page_as: Any, context: Any, shots: Any, make_user: Any
) -> None:
    now = timezone.now()
    channel = rows.channel("wecom", adapter="wecom", name="企业微信")
    found = make.campaign([channel], now=now, name="双十一")
    employee = Employee.objects.create(channel=channel, external_id="staff0", name="王芳")
    post = Broadcast.objects.create(
        campaign=found, channel=channel, kind="moments", text="新茶到店 ★", weight="0.2", due_at=now, until=now + DAY,
        state="approved", approved_by=make_user("approver"), approved_at=now,
    )  # fmt: skip
    BroadcastTask.objects.create(broadcast=post, employee=employee)
    PlatformRule.objects.create(
        medium="wecom",
        key="forbidden_characters",
        value="★",
        valid_from=(now - DAY).date(),
        source="运营商通知",
    )
    page = page_as("marketer")
    context.add_cookies([{"name": settings.LANGUAGE_COOKIE_NAME, "value": language, "url": live_server.url}])
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(live_server.url + reverse("campaigns:broadcast", args=[post.pk]))
    expect(page.get_by_role("alert")).to_contain_text("★")
    shots(page, f"rule-post-{language}-{width}")
    fits(page)
    page.goto(live_server.url + reverse("config:home"))
    expect(page.locator(f"a[href='{reverse('campaigns:broadcast', args=[post.pk])}']")).to_be_visible()
    shots(page, f"rule-post-home-{language}-{width}")
    fits(page)

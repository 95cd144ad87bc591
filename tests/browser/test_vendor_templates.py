"""A text that goes out by an approved template, in a real browser: what the provider's template has to read."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from campaigns.models import MessageVersion
from channels.models import PlatformRule
from tests.browser.test_channels import NARROW, WIDE, accessible, no_sideways, watched  # noqa: F401
from tests.campaign_drafts import make_channel, make_message

pytestmark = pytest.mark.django_db(transaction=True)
TEXT = "{{name|您}}好，新品上市 https://shop.example/new 退订 {{unsubscribe}} 拒收请回复R"


def test_the_editor_shows_the_template_and_refuses_what_tencent_would(
    watched: Callable[[str], Page],  # noqa: F811
    live_server: Any,
    shots: Callable[..., Path],
) -> None:
    aliyun = make_channel("sms", adapter="aliyun_sms", name="Aliyun")
    tencent = make_channel("sms", adapter="tencent_sms", name="Tencent")
    PlatformRule.objects.get_or_create(  # as it is seeded; an earlier test may have emptied the table
        medium="sms", adapter="tencent_sms", country="CN", key="template_links",
        defaults={"value": "fixed", "source": "Tencent", "valid_from": dt.date(2020, 1, 1)},
    )  # fmt: skip
    version = make_message("sms", text=TEXT)
    MessageVersion.objects.filter(pk=version.pk).update(template="SMS_7")
    page = watched("marketer")
    address = live_server.url + reverse("campaigns:message", args=[version.message_id])
    page.goto(f"{address}?on={aliyun.pk}")
    expect(page.get_by_text("/l/${link}")).to_be_visible()
    expect(page.get_by_text("No rule of “Aliyun” is broken.")).to_be_visible()
    accessible(page)
    shots(page, "vendor-template-en-wide")
    page.goto(f"{address}?on={tencent.pk}")
    expect(page.get_by_text("take out {{unsubscribe}}")).to_be_visible()
    expect(page.get_by_text("who clicked is not known")).to_be_visible()
    page.set_viewport_size(NARROW)
    no_sideways(page)
    accessible(page)
    shots(page, "vendor-template-en-narrow")
    page.get_by_role("button", name="中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-hans")
    page.goto(f"{address}?on={aliyun.pk}")
    no_sideways(page)
    shots(page, "vendor-template-zh-narrow")
    page.set_viewport_size(WIDE)
    page.reload()
    shots(page, "vendor-template-zh-wide")

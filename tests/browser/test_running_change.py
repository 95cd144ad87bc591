"""What a change of a running campaign costs and brings, as its maker and its approver see it."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from playwright.sync_api import expect

from campaigns.models import FrequencyTarget
from campaigns.planner import make_plan
from tests import plan_rows as rows
from tests.test_release import NOW, released

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_the_forecast_of_a_change_says_now_and_with_the_change(
    language: str, live_server: Any, page_as: Any, context: Any, shots: Any
) -> None:
    channels = [rows.channel(unit_price="0.05"), rows.channel("sms", unit_price="0.5")]
    campaign = rows.campaign(rows.customers(40, ["email", "sms"]), channels, 1, budget="100", state="running")
    released(campaign)
    FrequencyTarget.objects.update(touches=3)
    make_plan(campaign, user=None, now=NOW)
    page = page_as("marketer")
    context.add_cookies([{"name": settings.LANGUAGE_COOKIE_NAME, "value": language, "url": live_server.url}])
    title = {"en": "What the change costs and brings", "zh-hans": "这次更改的成本与效果"}[language]
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{live_server.url}/campaigns/{campaign.pk}/forecast/")
        table = page.get_by_role("region", name=title)
        expect(table).to_be_visible()
        expect(table.locator("tfoot")).to_contain_text("240")
        shots(page, f"change-{language}-{width}")
        expect(table.locator("xpath=following-sibling::*")).to_be_visible()
        violations = Axe().run(page).response["violations"]
        assert [one["id"] for one in violations if one["impact"] in ("serious", "critical")] == []
        page.goto(f"{live_server.url}/campaigns/{campaign.pk}/matrix/")
        shots(page, f"matrix-{language}-{width}")

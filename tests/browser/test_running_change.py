"""What a change of a running campaign costs and brings, as its maker and its approver see it."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from playwright.sync_api import expect

from campaigns import changes, definition, rounds, versions
from campaigns.models import CampaignVersion, FrequencyTarget
from campaigns.planner import make_plan
from tests import plan_rows as rows
from tests.test_release import NOW, released, touches

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


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_an_approver_sees_what_a_change_costs_and_afterwards_what_it_took_out(
    language: str, live_server: Any, page_as: Any, context: Any, shots: Any, make_user: Any
) -> None:
    channels = [rows.channel(unit_price="0.05"), rows.channel("sms", unit_price="0.5")]
    campaign = rows.campaign(rows.customers(40, ["email", "sms"]), channels, 3, budget="100", state="running")
    released(campaign)
    touches(campaign, ordinal=1).update(state="sent", cost="0.05")
    with versions.editing(campaign.pk, make_user("maker", "marketer"), NOW) as (_campaign, document):
        document["matrix"] = [cell | {"touches": 2} for cell in document["matrix"]]
    made = make_plan(campaign, user=None, now=NOW, document=versions.working(campaign))
    change = versions.open_version(campaign)
    assert change is not None
    CampaignVersion.objects.filter(pk=change.pk).update(state="submitted", plan=made)
    page = page_as("approver")
    context.add_cookies([{"name": settings.LANGUAGE_COOKIE_NAME, "value": language, "url": live_server.url}])
    taken_out = {"en": "Taken out by an approved change", "zh-hans": "因已批准的变更移出"}[language]
    costs = {"en": "What the change costs and brings", "zh-hans": "这次更改的成本与效果"}[language]

    def looked(name: str, path: str) -> None:
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(f"{live_server.url}{path}")
            assert page.evaluate(
                "document.documentElement.scrollWidth <= document.documentElement.clientWidth + 1"
            )
            shots(page, f"{name}-{language}-{width}")
            violations = Axe().run(page).response["violations"]
            assert [one["id"] for one in violations if one["impact"] in ("serious", "critical")] == []

    looked("change-approval", f"/campaigns/{campaign.pk}/approval/")
    expect(page.get_by_role("region", name=costs)).to_contain_text("160")
    definition.write(campaign, versions.working(campaign))
    rounds.write_rounds(campaign, 2, NOW)
    CampaignVersion.objects.filter(pk=change.pk).update(state="approved")
    changes.follow(campaign, CampaignVersion.objects.get(pk=change.pk), NOW)
    looked("change-live", f"/campaigns/{campaign.pk}/live/")
    expect(page.get_by_text(taken_out)).to_be_visible()
    looked("change-coverage", f"/reports/coverage/{campaign.pk}/")
    expect(page.get_by_text(taken_out)).to_be_visible()
    page.locator("a[href$='changed/']").click()
    expect(page.locator("tbody tr")).to_have_count(80)
    shots(page, f"change-taken-out-{language}")

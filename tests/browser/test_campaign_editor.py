"""The campaign editor as a marketer's hands meet it: what is typed is saved, and what is missing goes away."""

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import expect

from audiences.models import Job
from campaigns import definition
from campaigns.models import Campaign, Message
from tests.campaign_drafts import make_channel, make_draft, make_message, make_plan

pytestmark = pytest.mark.django_db(transaction=True)
STEPS = ("basics", "matrix", "content", "rules", "forecast", "approval")


@pytest.fixture
def campaign(make_user: Callable[..., Any]) -> Campaign:
    return make_draft(
        make_user("marketer", "marketer"), channels=[make_channel(name="Newsletter"), make_channel("sms")]
    )


def cell(campaign: Campaign, stage: str) -> list[tuple[int, int]]:
    document = definition.read(Campaign.objects.get(pk=campaign.pk))
    return [(one["touches"], one["min_gap_hours"]) for one in document["matrix"] if one["stage"] == stage]


def test_a_number_typed_into_the_matrix_is_saved_by_itself(
    campaign: Campaign, live_server: Any, page_as: Any
) -> None:
    page = page_as("marketer")
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.goto(f"{live_server.url}/campaigns/{campaign.pk}/matrix/")
    page.get_by_label("Advocate, Newsletter: touches a round").fill("3")
    page.get_by_label("Advocate, Newsletter: hours apart at least").fill("72")
    page.keyboard.press("Tab")
    expect(page.locator("#glance")).to_contain_text("Saved")
    expect(page.locator("#glance")).to_contain_text("Advocate")
    assert cell(campaign, "advocate") == [(3, 72)]
    page.get_by_label("Advocate, Newsletter: touches a round").fill("91")
    page.keyboard.press("Tab")
    expect(page.locator("#glance").get_by_role("alert")).to_contain_text("from 0 to 90")
    assert cell(campaign, "advocate") == [(3, 72)]
    page.reload()
    expect(page.get_by_label("Advocate, Newsletter: touches a round")).to_have_value("3")
    # The browser tells of the refused value's answer; nothing else, so no policy was broken.
    assert [text for text in told if "422" not in text] == []


def test_the_matrix_is_walked_by_keyboard(campaign: Campaign, live_server: Any, page_as: Any) -> None:
    page = page_as("marketer")
    page.goto(f"{live_server.url}/campaigns/{campaign.pk}/matrix/")
    page.get_by_label("Prospect, Newsletter: touches a round").focus()
    page.keyboard.press("Alt+ArrowDown")
    expect(page.get_by_label("Member, Newsletter: touches a round")).to_be_focused()


def test_the_slider_and_its_number_move_together(campaign: Campaign, live_server: Any, page_as: Any) -> None:
    page = page_as("marketer")
    page.goto(f"{live_server.url}/campaigns/{campaign.pk}/rules/")
    page.locator("input[type=range]").focus()
    page.keyboard.press("End")
    expect(page.locator("#id_holdout")).to_have_value("50")
    page.keyboard.press("Tab")
    expect(page.locator("#glance")).to_contain_text("Saved")
    assert definition.read(Campaign.objects.get(pk=campaign.pk))["holdout_share"] == "0.5000"


def test_words_are_checked_while_they_are_typed(live_server: Any, page_as: Any, make_user: Any) -> None:
    make_channel("sms")
    make_message("sms")
    page = page_as("marketer")
    page.goto(f"{live_server.url}/content/{Message.objects.get().pk}/")
    page.locator("#text-1").fill("上新啦")
    expect(page.locator("#preview-1")).to_contain_text("拒收请回复R")
    page.locator("#text-1").press("End")
    page.locator("#text-1").press_sequentially(" 拒收请回复R")
    expect(page.locator("#preview-1")).to_contain_text("No rule of")


def test_every_step_can_be_read_by_everybody(campaign: Campaign, live_server: Any, page_as: Any) -> None:
    make_plan(campaign)
    page = page_as("marketer")
    found: dict[str, list[str]] = {}
    pages = [f"/campaigns/{campaign.pk}/{step}/" for step in STEPS]
    pages += ["/campaigns/", "/campaigns/calendar/", "/content/", "/contact-policy/", "/offers/", "/tasks/"]
    for address in pages:
        page.goto(live_server.url + address)
        page.wait_for_load_state("networkidle")
        violations = Axe().run(page).response["violations"]
        serious = [
            f"{one['id']}: {one['nodes'][0]['html'][:160]}"
            for one in violations
            if one["impact"] in ("serious", "critical")
        ]
        if serious:
            found[address] = serious
    assert found == {}


def test_removing_a_channel_is_asked_about_first(campaign: Campaign, live_server: Any, page_as: Any) -> None:
    page = page_as("marketer")
    page.goto(f"{live_server.url}/campaigns/{campaign.pk}/matrix/")
    page.get_by_role("button", name="Remove Newsletter").click()
    dialog = page.locator("dialog#confirm")
    expect(dialog).to_contain_text("Take Newsletter out of the campaign?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Remove Newsletter")).to_be_visible()
    page.get_by_role("button", name="Remove Newsletter").click()
    dialog.locator("[data-yes]").click()
    expect(page.get_by_role("button", name="Remove Newsletter")).to_have_count(0)
    assert Campaign.objects.get(pk=campaign.pk).channel_plans.count() == 1


def test_the_forecast_appears_when_its_work_is_done(
    campaign: Campaign, live_server: Any, page_as: Any
) -> None:
    job = Job.objects.create(
        kind="plan", subject=f"campaign:{campaign.pk}", state="running", step="Reading the audience"
    )
    page = page_as("marketer")
    page.goto(f"{live_server.url}/campaigns/{campaign.pk}/forecast/")
    expect(page.locator("#forecast")).to_contain_text("Reading the audience")
    make_plan(campaign, reach=812)
    Job.objects.filter(pk=job.pk).update(state="done", finished_at=timezone.now())
    expect(page.locator("#forecast")).to_contain_text("812")
    expect(page.locator("#forecast")).to_contain_text("This forecast answers the definition as it stands.")

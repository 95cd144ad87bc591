"""From nothing to a triggered birthday campaign that is approved and opens for the right people on the right day."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Page, expect

from audiences import jobs
from audiences.models import Customer, Job
from campaigns import occasions, triggers
from campaigns.models import Campaign, MessageVariant, Offer, Opening, Touch
from tests import plan_rows as rows

pytestmark = pytest.mark.django_db(transaction=True)


def people() -> dict[str, Customer]:
    """Whose birthday is tomorrow by the sun or the moon, in two zones; and somebody of another day."""
    found: dict[str, Customer] = {}
    soon = timezone.localdate() + dt.timedelta(days=2)
    lunar_day = next(
        day for day in occasions.days_between(soon, soon + dt.timedelta(days=40)) if occasions.lunar(day)[0] > 0
        and occasions.lunar(day)[1] < 29 and (day.month, day.day) not in ((2, 28), (2, 29))
    )  # fmt: skip
    month, number, _days = occasions.lunar(lunar_day)
    if (month, number) == (2, 30):
        number = 29
    for name, date, calendar, zone in (
        ("solar", dt.date(1990, lunar_day.month, lunar_day.day), "solar", "Asia/Shanghai"),
        ("lunar", dt.date(1988, month, number), "lunar", "Asia/Shanghai"),
        ("york", dt.date(1992, lunar_day.month, lunar_day.day), "solar", "America/New_York"),
        (
            "other",
            dt.date(1990, 1, 1) + dt.timedelta(days=(lunar_day.timetuple().tm_yday + 90) % 360),
            "solar",
            "Asia/Shanghai",
        ),
    ):
        person = rows.customers(1, zone=zone)[0]
        Customer.objects.filter(pk=person.pk).update(birth_date=date, birth_calendar=calendar)
        found[name] = person
    found["day"] = lunar_day  # type: ignore[assignment]
    return found


def run_jobs() -> None:
    for job in Job.objects.filter(state=Job.State.WAITING).order_by("pk"):
        jobs.run(job.pk)


def readable(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    bad = [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}"
        for one in Axe().run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert bad == [], page.url


def test_a_birthday_campaign_from_nothing_to_its_first_touch(
    live_server: Any, page_as: Callable[..., Page], make_user: Callable[..., Any]
) -> None:
    who = people()
    day: dt.date = who["day"]  # type: ignore[assignment]
    everybody = rows.fixed_list([who[name] for name in ("solar", "lunar", "york", "other")])
    channel = rows.channel()
    message = rows.message()
    MessageVariant.objects.update(
        subject="生日快乐", text="{{name|friend}}: {{offer.value}} {{offer.code}} {{unsubscribe}}"
    )
    page = page_as("marketer")

    # The occasion, with a preview of who has it.
    page.goto(f"{live_server.url}/occasions/new/")
    page.get_by_label("Name").fill("Birthday")
    expect(page.locator(".if-dated")).to_be_hidden()
    page.get_by_label("Festival").check()
    expect(page.locator(".if-dated")).to_be_visible()
    page.get_by_label("Birthday", exact=True).check()
    expect(page.locator("#occasion-preview")).to_contain_text(day.isoformat())
    readable(page)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("table")).to_contain_text("Each person's own")
    readable(page)

    # The campaign and how it runs.
    page.goto(f"{live_server.url}/campaigns/new/")
    page.get_by_label("Name").fill("Birthday gift")
    page.get_by_label("Audience").select_option(label=everybody.name)
    page.get_by_label("First day").fill(timezone.localdate().isoformat())
    page.get_by_label("Last day").fill((timezone.localdate() + dt.timedelta(days=120)).isoformat())
    page.get_by_role("button", name="Create the draft").click()
    campaign = Campaign.objects.get()
    page.goto(f"{live_server.url}/campaigns/{campaign.pk}/runs/")
    expect(page.locator(".if-triggered")).to_be_hidden()
    page.get_by_label("When something happens").first.check()
    page.get_by_label("An occasion").check()
    page.get_by_label("Occasion", exact=True).select_option(label="Birthday")
    expect(page.locator("#runs-told")).to_contain_text("On “Birthday”")
    expect(page.locator("#runs-told")).to_contain_text("of the audience have it")
    page.get_by_label("Stays open, days").fill("2")
    page.keyboard.press("Tab")
    expect(page.locator("#runs-told")).to_contain_text("open for 2 days each time")
    readable(page)

    # Once by email, with an offer.
    page.goto(f"{live_server.url}/campaigns/{campaign.pk}/matrix/")
    page.locator("select[name=channel]").select_option(str(channel.pk))
    page.locator("button[value=add_channel]").click()
    page.get_by_label(f"Customer, {channel.name}: touches a round").fill("1")
    page.keyboard.press("Tab")
    expect(page.locator("#glance")).to_contain_text("Saved")
    page.goto(f"{live_server.url}/offers/new/?campaign={campaign.pk}")
    page.get_by_label("Name").fill("Birthday coupon")
    page.get_by_label("What the person gets").fill("¥20")
    page.get_by_label("A code of each person's own").check()
    expect(page.locator(".if-shared")).to_be_hidden()
    page.get_by_label("Cost of a redemption").fill("8")
    page.get_by_role("button", name="Save").click()
    page.get_by_label("Or make so many").fill("10")
    readable(page)
    page.get_by_role("button", name="Add codes").click()
    assert Offer.objects.get().pool.count() == 10
    page.goto(f"{live_server.url}/campaigns/{campaign.pk}/content/")
    page.get_by_label("What this campaign offers").select_option(str(Offer.objects.get().pk))
    expect(page.locator("main")).to_contain_text("A code of each person's own")
    page.get_by_label("Message", exact=True).select_option(str(message.pk))
    expect(page.locator("main")).to_contain_text("A7K2-9Q")
    readable(page)

    # The forecast, and the approval by somebody else.
    page.goto(f"{live_server.url}/campaigns/{campaign.pk}/forecast/")
    page.get_by_role("button", name="Run the forecast").click()
    run_jobs()
    page.goto(f"{live_server.url}/campaigns/{campaign.pk}/forecast/")
    expect(page.locator("#forecast")).to_contain_text(
        "The forecast takes those who have the occasion within the flight"
    )
    expect(page.locator("#forecast")).to_contain_text("Birthday coupon")
    page.goto(f"{live_server.url}/campaigns/{campaign.pk}/approval/")
    page.get_by_role("button", name="Submit").click()
    boss = page_as("approver")
    boss.goto(f"{live_server.url}/campaigns/{campaign.pk}/approval/")
    expect(boss.locator("main")).to_contain_text("On “Birthday”, once a person")
    expect(boss.locator("#offer-approved")).to_contain_text("Birthday coupon")
    readable(boss)
    boss.get_by_role("button", name="Approve").click()
    boss.locator("dialog#confirm [data-yes]").click()
    expect(boss.locator("main")).to_contain_text("Approved")
    run_jobs()
    campaign.refresh_from_db()
    assert campaign.state == "running"
    assert Touch.objects.count() == 0

    # It opens for each on the day, in the person's own zone.
    shanghai = triggers.zone_info("Asia/Shanghai")
    midnight = dt.datetime.combine(day, dt.time.min, shanghai)
    triggers.look(campaign, midnight - dt.timedelta(minutes=30))
    assert Touch.objects.count() == 0
    assert Opening.objects.filter(opened_at=None).count() >= 2
    triggers.look(campaign, midnight + dt.timedelta(minutes=10))
    assert set(Touch.objects.values_list("customer_id", flat=True)) == {who["solar"].pk, who["lunar"].pk}
    triggers.look(campaign, midnight + dt.timedelta(hours=14))
    assert set(Touch.objects.values_list("customer_id", flat=True)) == {
        who[n].pk for n in ("solar", "lunar", "york")
    }
    for touch in Touch.objects.all():
        zone = triggers.zone_info(Customer.objects.get(pk=touch.customer_id).zone)
        assert touch.due_at.astimezone(zone).date() == day
    page.goto(f"{live_server.url}/campaigns/{campaign.pk}/runs/")
    expect(page.locator("#runs-told")).to_contain_text("Opened 3 times so far, for 3 people")
    page.goto(f"{live_server.url}/campaigns/calendar/?month={day:%Y-%m}")
    expect(page.locator(".calendar-occasions")).to_contain_text("Birthday")
    readable(page)


def test_a_recurring_campaign_shows_its_next_dates(
    live_server: Any, page_as: Callable[..., Page], make_user: Callable[..., Any]
) -> None:
    from tests.campaign_drafts import make_draft

    campaign = make_draft(make_user("marketer", "marketer"))
    page = page_as("marketer")
    page.goto(f"{live_server.url}/campaigns/{campaign.pk}/runs/")
    page.get_by_label("Again and again").first.check()
    page.get_by_label("First run").fill(
        (timezone.localdate() + dt.timedelta(days=3)).strftime("%Y-%m-%dT09:00")
    )
    page.get_by_label("Every", exact=True).fill("2")
    page.get_by_label("How many times").fill("3")
    page.keyboard.press("Tab")
    expect(page.locator("#runs-told")).to_contain_text("Every 2 weeks, 3 times")
    expect(page.locator("#runs-told li")).to_have_count(3)
    readable(page)
    assert Campaign.objects.get().cadence["times"] == 3

"""Reports in a real browser: a newcomer reads over, gap and the biggest cause; finance posts, signs and closes."""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from campaigns.models import Budget, Campaign, Response
from channels.models import DailyReport
from config.models import User
from reports import attribution, lift
from reports.accruals import post_incurred
from reports.models import AttributionRun, FxRate
from tests.browser.test_shell import NARROW, WIDE, accessible
from tests.plan_rows import channel, customers
from tests.report_rows import START, order, released, short, touch

HOUR = dt.timedelta(hours=1)
LATER = START + dt.timedelta(days=20)


@dataclass(frozen=True, slots=True)
class Ran:
    campaign: Campaign
    empty: Campaign


@pytest.fixture
def ran(transactional_db: None) -> Ran:
    """180 people reached by three channels, 60 held out; causes, releases, costs and orders of every kind."""
    people = customers(240, ["email", "sms", "wecom"])
    mail = channel("email", name="Newsletter")
    sms = channel("sms", name="SMS, main sender", unit_price=Decimal("0.045"))
    wecom = channel("wecom", name="WeCom, stores of the east", guarantee="confirmed_later")
    ads = channel(
        "social", name="Social ads", guarantee="aggregate", observability="person_targeted", price_model="cpm"
    )
    campaign = released(
        people, [mail, sms, wecom, ads], held_out=people[180:], name="Spring members' days", holdout_share=Decimal("0.25"),
        margin_rate=Decimal("0.35"), budget=Decimal(2000),
    )  # fmt: skip
    Budget.objects.create(campaign=campaign, channel=None, currency="CNY", amount=2000)
    ends = ["delivered"] * 6 + ["sent"] * 2 + ["unknown", "gap", "gap", "released"]
    for position, person in enumerate(people[:180]):
        for turn, each in enumerate((mail, sms, wecom)):
            if (position + turn) % 7 == 0:
                short(campaign, person, each, 1, ("pressure", "no_consent", "no_identity")[turn])
                touch(campaign, person, each, 1, "delivered", at=START + turn * 24 * HOUR, cost="0.045")
                continue
            state = ends[(position * 5 + turn * 3) % len(ends)]
            reason = {"gap": ("bounced", "refused", "unconfirmed")[turn], "released": "silence"}.get(
                state, ""
            )
            touch(campaign, person, each, 1, state, reason, at=START + turn * 24 * HOUR, cost="0.045")
            after = "planned" if position % 9 == 0 else "delivered"
            touch(campaign, person, each, 2, after, at=START + (72 + turn * 24) * HOUR, cost="0.045")
        for ordinal in (1, 2):
            touch(campaign, person, ads, ordinal, "unobserved", at=START + ordinal * 24 * HOUR)
    Response.objects.bulk_create(
        Response(
            customer=person, campaign_id=campaign.pk, channel=ads, kind="exposure", occurred_at=START + turn * HOUR,
            received_at=START + turn * HOUR, source="pixel", source_key=f"{person.pk}-{turn}",
        )
        for person in people[:4] for turn in range(3)
    )  # fmt: skip
    for position, person in enumerate(people):
        if position % (2 if position < 180 else 5) == 0:
            order(person, str(80 + position % 60), START + (80 + position % 40) * HOUR)
    for day in range(3):
        DailyReport.objects.create(
            channel=ads, day=(START + day * 24 * HOUR).date(), placement="spring", spend=Decimal("123.456"), source="api",
            exposures=12_000, reach=5_400, frequency=Decimal("2.2"), fetched_at=LATER, campaign_id=campaign.pk,
        )  # fmt: skip
    post_incurred(LATER)
    for model in attribution.MODELS:
        attribution.attribute(campaign, model, LATER)
    lift.store(campaign, lift.measure(campaign, LATER), LATER)
    FxRate.objects.create(
        day=START.date(), base="USD", quote="CNY", rate=Decimal("7.1"), source="central bank"
    )
    return Ran(campaign, released(people[:2], [mail], target=0, name="Nothing yet"))


@pytest.fixture
def open_as(page_as: Callable[[str], Page]) -> Iterator[Callable[[str], Page]]:
    """Pages whose console errors and refused scripts fail the test at its end."""
    told: list[str] = []

    def opened(username: str) -> Page:
        page = page_as(username)
        page.on("console", lambda message: told.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: told.append(str(error)))
        return page

    yield opened
    assert told == []


def addresses(ran: Ran) -> dict[str, str]:
    run = AttributionRun.objects.get(campaign_id=ran.campaign.pk, model="last")
    pk = ran.campaign.pk
    return {
        "coverage-index": reverse("reports:coverage_index"),
        "coverage": reverse("reports:coverage", args=[pk]),
        "coverage-people": reverse("reports:coverage_people", args=[pk]) + "?received=4&side=below",
        "coverage-over": reverse("reports:coverage_rows", args=[pk, "over_by_platform"]),
        "coverage-all-rows": reverse("reports:coverage_all_rows", args=["gap"]) + "?since=2026-01-01",
        "coverage-span": reverse("reports:coverage_index") + "?since=2026-01-01&until=2026-12-31",
        "coverage-empty": reverse("reports:coverage", args=[ran.empty.pk]),
        "roi-index": reverse("reports:roi_index"),
        "roi": reverse("reports:roi", args=[pk]),
        "roi-empty": reverse("reports:roi", args=[ran.empty.pk]),
        "finance": reverse("reports:finance"),
        "ledger": reverse("reports:ledger") + f"?campaign={pk}&account=cost",
        "coverage-rows": reverse("reports:coverage_rows", args=[pk, "gap"]) + "?cause=bounced",
        "credits": reverse("reports:credit_rows", args=[run.pk]),
        "lift-rows": reverse("reports:lift_rows", args=[pk, "held_out"]),
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("language", "size"), [("en", WIDE), ("en", NARROW), ("zh-hans", WIDE), ("zh-hans", NARROW)]
)
def test_every_report_is_accessible_and_nothing_sticks_out(
    open_as: Callable[[str], Page],
    live_server: Any,
    ran: Ran,
    shots: Callable[..., Path],
    language: str,
    size: Any,
) -> None:
    page = open_as("finance")
    User.objects.filter(username="finance").update(language=language)
    page.set_viewport_size(size)
    for name, address in addresses(ran).items():
        page.goto(live_server.url + address)
        expect(page.locator("html")).to_have_attribute("lang", language)
        if (language, size) in (("en", WIDE), ("zh-hans", NARROW)):
            accessible(page)
        shots(page, f"reports-{name}-{language}-{size['width']}")
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider == 0, f"{name} is {wider} px wider than {size['width']} px"


def test_a_newcomer_reads_over_gap_and_the_biggest_cause_before_scrolling(
    open_as: Callable[[str], Page], live_server: Any, ran: Ran
) -> None:
    page = open_as("marketer")
    page.set_viewport_size({"width": 1280, "height": 720})
    page.goto(live_server.url + reverse("reports:coverage_index") + "?since=2026-01-01&until=2026-12-31")
    page.get_by_role("link", name="Spring members' days").click()
    for figure in ("over", "gap", "cause"):
        expect(page.locator(f"[data-figure={figure}]")).to_be_in_viewport()
    expect(page.locator("[data-figure=over-by-us]")).to_have_text("0")
    expect(page.locator("[data-figure=over]")).to_have_text("4")
    expect(page.locator("[data-figure=over-by-platform]")).to_have_text("4")
    cause = page.locator("[data-figure=cause]")
    words = cause.inner_text()
    touches = page.locator("[data-figure=cause-touches]").inner_text().replace(",", "")
    cause.get_by_role("link").click()
    expect(page.locator("[data-figure=sum]")).to_contain_text(f"{touches} touches")
    expect(page.get_by_text(words).first).to_be_visible()


def test_a_gap_opens_to_its_people_by_keyboard_alone(
    open_as: Callable[[str], Page], live_server: Any, ran: Ran
) -> None:
    page = open_as("marketer")
    page.goto(live_server.url + reverse("reports:coverage", args=[ran.campaign.pk]))
    page.locator("[data-figure=gap] a").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Gap: Spring members' days")


def test_finance_signs_what_it_sees_and_others_cannot(
    open_as: Callable[[str], Page], live_server: Any, ran: Ran, shots: Callable[..., Path]
) -> None:
    page = open_as("marketer")
    page.goto(live_server.url + reverse("reports:roi", args=[ran.campaign.pk]))
    expect(page.get_by_role("button", name="Sign spend and revenue")).to_have_count(0)
    page = open_as("finance")
    page.goto(live_server.url + reverse("reports:roi", args=[ran.campaign.pk]))
    cost = page.locator("[data-figure=cost]").inner_text()
    page.get_by_label("Comment").fill("checked against the invoice")
    page.get_by_role("button", name="Sign spend and revenue").click()
    page.get_by_role("dialog").get_by_role("button", name="Yes, go on").click()
    expect(page.get_by_text("Signed. The report as it stands now")).to_be_visible()
    page.get_by_role("link", name="checked against the invoice").click()
    expect(page.get_by_text(cost).first).to_be_visible()
    accessible(page)
    shots(page, "reports-signed")


def test_the_cost_on_the_page_is_the_sum_of_its_ledger_lines(
    open_as: Callable[[str], Page], live_server: Any, ran: Ran
) -> None:
    page = open_as("finance")
    page.goto(live_server.url + reverse("reports:roi", args=[ran.campaign.pk]))
    cost = page.locator("[data-figure=cost]")
    shown = cost.inner_text()
    cost.click()
    expect(page.locator("[data-figure=sum]").first).to_contain_text(shown)


def test_finance_closes_a_month_after_a_question(
    open_as: Callable[[str], Page], live_server: Any, ran: Ran, shots: Callable[..., Path]
) -> None:
    page = open_as("finance")
    page.goto(live_server.url + reverse("reports:finance"))
    row = page.get_by_role("row").filter(has_text=f"{START:%Y-%m}")
    row.get_by_role("button", name="Close").click()
    page.get_by_role("dialog").get_by_role("button", name="Yes, go on").click()
    expect(page.get_by_text(f"{START:%Y-%m} is closed.")).to_be_visible()
    assert timezone.now() > LATER
    shots(page, "reports-finance-closed")

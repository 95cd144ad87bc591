"""Spend, attribution and lift on literal rows; and that selection is never shown as lift."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from audiences.models import Customer
from campaigns.models import Campaign
from channels.models import DailyReport
from reports import attribution, coverage_days, lift, measuring
from reports.accruals import post_incurred
from reports.models import AttributionCredit, AttributionRun, LedgerEntry, SignedReport, SourceDocument
from reports.roi import roi
from reports.selection import selection
from tests.plan_rows import channel, customers
from tests.report_rows import START, order, released, touch

pytestmark = pytest.mark.django_db
HOUR = dt.timedelta(hours=1)
LATER = START + dt.timedelta(days=10)


def cost_of(campaign: Campaign) -> Decimal:
    entries = LedgerEntry.objects.filter(campaign_id=campaign.pk, account__in=["media_cost", "message_fees"])
    return sum((e.amount if e.side == "debit" else -e.amount for e in entries), Decimal(0))


def test_touch_costs_are_posted_once_a_day_and_channel_and_only_differences_after() -> None:
    people = customers(3, ["email"])
    mail = channel("email")
    campaign = released(people, [mail])
    for person in people:
        touch(campaign, person, mail, cost="0.033333")
    assert post_incurred(LATER) == (1, [])
    assert post_incurred(LATER) == (0, [])
    entry = LedgerEntry.objects.get(campaign_id=campaign.pk, account="message_fees")
    assert (entry.amount, entry.residual, entry.channel_id) == (
        Decimal("0.1000"),
        Decimal("-0.000001"),
        mail.pk,
    )
    touch(campaign, people[0], mail, 2, cost="1")
    assert post_incurred(LATER) == (1, [])
    assert cost_of(campaign) == Decimal("1.1")
    assert SourceDocument.objects.filter(kind="delivery_record").count() == 2


def test_a_restated_platform_report_posts_its_difference_and_a_moved_one_is_taken_back() -> None:
    ads = channel(
        "social", observability="person_targeted", guarantee="aggregate", price_model="cpm", domain="public"
    )
    one, other = (
        released(customers(1, ["email"]), [channel()]),
        released(customers(1, ["email"]), [channel()]),
    )

    def told(version: int, spend: str, campaign: Campaign) -> None:
        DailyReport.objects.create(
            channel=ads,
            day=START.date(),
            placement="set-1",
            version=version,
            spend=Decimal(spend),
            source="api",
            fetched_at=LATER,
            campaign_id=campaign.pk,
        )

    for version, spend, campaign, of_one, of_other in (
        (1, "100", one, "100", "0"),
        (2, "110.5", one, "110.5", "0"),
        (3, "100", one, "100", "0"),
        (4, "100", other, "0", "100"),
    ):
        told(version, spend, campaign)
        post_incurred(LATER)
        assert (cost_of(one), cost_of(other)) == (Decimal(of_one), Decimal(of_other))
    assert post_incurred(LATER) == (0, [])


def test_spend_without_a_campaign_is_posted_and_said_to_be_unallocated() -> None:
    ads = channel("social", guarantee="aggregate", price_model="cpm")
    DailyReport.objects.create(channel=ads, day=START.date(), spend=5, source="api", fetched_at=LATER)
    post_incurred(LATER)
    entry = LedgerEntry.objects.get(account="media_cost")
    assert (entry.campaign_id, entry.allocation) == (None, "unallocated: no campaign is named")


def test_last_gives_all_to_the_last_touch_and_linear_shares() -> None:
    (person,) = customers(1, ["email", "sms"])
    mail, sms = channel("email"), channel("sms")
    campaign = released([person], [mail, sms])
    touch(campaign, person, mail, 1, at=START)
    touch(campaign, person, sms, 1, at=START + HOUR)
    order(person, "90", START + 2 * HOUR)
    credited = {
        model: {
            c.channel_id: c.revenue
            for c in attribution.by_channel(attribution.attribute(campaign, model, LATER))
        }
        for model in ("last", "linear", "first")
    }
    assert credited == {
        "last": {sms.pk: Decimal(90)},
        "linear": {mail.pk: Decimal(45), sms.pk: Decimal(45)},
        "first": {mail.pk: Decimal(90)},
    }


def test_credits_over_all_campaigns_never_exceed_the_order() -> None:
    people = customers(6, ["email", "sms"])
    mail, sms = channel("email"), channel("sms")
    campaigns = [released(people, [mail, sms]), released(people[:4], [mail]), released(people[2:], [sms])]
    for turn, campaign in enumerate(campaigns):
        for position, person in enumerate(people):
            used = {0: [mail, sms], 1: [mail] * (position < 4), 2: [sms] * (position >= 2)}[turn]
            for each in used:
                touch(campaign, person, each, at=START + (turn + position) * HOUR)
    orders = [order(person, "100", START + 30 * HOUR) for person in people]
    for model in attribution.MODELS:
        runs = [attribution.attribute(campaign, model, LATER) for campaign in campaigns]
        for each in orders:
            credits = AttributionCredit.objects.filter(run__in=runs, order_id=each.pk)
            assert sum(credit.amount for credit in credits) == pytest.approx(
                Decimal(100), abs=Decimal("0.00001")
            )


def test_campaigns_with_different_windows_see_the_same_journey() -> None:
    (person,) = customers(1, ["email", "sms"])
    mail, sms = channel("email"), channel("sms")
    long = released([person], [mail], attribution_days=30)
    short = released([person], [sms], attribution_days=2)
    touch(long, person, mail, at=START)
    touch(short, person, sms, at=START + 90 * HOUR)
    bought = order(person, "100", START + 100 * HOUR)
    for model, of_long, of_short in (("first", 100, 0), ("linear", 50, 50), ("last", 0, 100)):
        runs = [attribution.attribute(each, model, LATER) for each in (long, short)]
        assert [run.attributed_revenue for run in runs] == [of_long, of_short], model
        shares = AttributionCredit.objects.filter(run__in=runs, order_id=bought.pk).values_list(
            "share", flat=True
        )
        assert sum(shares) == 1


def test_a_touch_after_the_order_or_outside_the_window_earns_nothing() -> None:
    (person,) = customers(1, ["email"])
    mail = channel("email")
    campaign = released([person], [mail], attribution_days=2, days=9)
    touch(campaign, person, mail, 1, at=START)
    touch(campaign, person, mail, 2, at=START + 100 * HOUR)
    order(person, "90", START + 49 * HOUR)
    run = attribution.attribute(campaign, "last", LATER)
    assert (run.orders, run.attributed_orders) == (1, 0)


def test_returns_are_not_revenue_on_the_net_basis() -> None:
    (person,) = customers(1, ["email"])
    mail = channel("email")
    campaign = released([person], [mail])
    touch(campaign, person, mail, at=START)
    order(person, "113", START + HOUR, returned=Decimal(13), tax=Decimal("13"))
    results = {}
    for basis in ("paid", "net", "net_ex_tax"):
        campaign.revenue_basis = basis
        results[basis] = attribution.attribute(campaign, "last", LATER).attributed_revenue
    assert results["paid"] == 113
    assert results["net"] == 100
    assert results["net_ex_tax"] == pytest.approx(Decimal("88.495575"), abs=Decimal("0.000001"))


def test_a_merged_customers_touches_and_orders_are_one_journey() -> None:
    a, b = customers(2, ["email"])
    mail = channel("email")
    campaign = released([a, b], [mail])
    touch(campaign, a, mail, at=START)
    order(b, "50", START + HOUR)
    assert attribution.attribute(campaign, "last", LATER).attributed_orders == 0
    type(a).objects.filter(pk=a.pk).update(merged_into=b)
    assert attribution.attribute(campaign, "last", LATER).attributed_orders == 1


def measured(treated: int, held: int, buyers: tuple[int, int], **fields: Any) -> tuple[Campaign, lift.Lift]:
    people = customers(treated + held, ["email"])
    campaign = released(people, [channel("email")], held_out=people[treated:], **fields)
    for person in [*people[: buyers[0]], *people[treated : treated + buyers[1]]]:
        order(person, "100", START + HOUR)
    return campaign, lift.measure(campaign, LATER)


def test_lift_counts_every_member_reached_or_not() -> None:
    _campaign, found = measured(160, 40, (80, 10), holdout_share=Decimal("0.2"))
    assert found.usable
    assert found.rate is not None
    assert (found.rate.treated, found.rate.held_out) == (0.5, 0.25)
    assert found.incremental_revenue is not None
    assert found.incremental_revenue[0] == pytest.approx(160 * 25)
    assert found.incremental_revenue[1] < found.incremental_revenue[0] < found.incremental_revenue[2]


def test_without_a_holdout_there_is_no_lift_and_the_page_says_so(as_finance: Client) -> None:
    campaign, found = measured(50, 0, (20, 0))
    assert not found.usable
    text = as_finance.get(f"/reports/roi/{campaign.pk}/").content.decode()
    assert "No holdout was kept" in text
    assert "not known" in text


def test_an_interval_that_includes_zero_is_said_to_decide_nothing(as_finance: Client) -> None:
    campaign, _found = measured(160, 40, (40, 10), holdout_share=Decimal("0.2"))
    touch(campaign, order_person(campaign, 0), campaign.channel_plans.get().channel, cost="40")
    post_incurred(LATER)
    report = roi(campaign, LATER)
    assert report.iroas.undecided
    assert report.iroas.value == pytest.approx(0)
    text = as_finance.get(f"/reports/roi/{campaign.pk}/").content.decode()
    assert "Not yet known whether it gained or lost" in text


def test_before_the_release_there_is_nobody_to_compare() -> None:
    draft_campaign = released([], [channel("email")])
    assert "not released" in lift.measure(draft_campaign, LATER).reason


def test_a_broken_split_shows_no_lift() -> None:
    _campaign, found = measured(200, 40, (80, 10), holdout_share=Decimal("0.5"))
    assert not found.usable
    assert "more than chance allows" in found.reason


def test_roi_is_margin_less_cost_over_cost() -> None:
    campaign, _found = measured(160, 40, (80, 10), holdout_share=Decimal("0.2"), margin_rate=Decimal("0.3"))
    mail = campaign.channel_plans.get().channel
    for member in range(10):
        person = order_person(campaign, member)
        touch(campaign, person, mail, cost="40")
    post_incurred(LATER)
    report = roi(campaign, LATER)
    assert report.full_cost == 400
    assert report.roi.value == pytest.approx((4000 * 0.3 - 400) / 400)
    assert report.iroas.value == pytest.approx(10)


def order_person(campaign: Campaign, position: int) -> Any:
    from audiences.models import Customer
    from campaigns.models import Member

    ids = Member.objects.filter(campaign_id=campaign.pk, held_out=False).order_by("customer_id")
    return Customer.objects.get(pk=ids.values_list("customer_id", flat=True)[position])


def test_the_audience_spending_more_is_selection_not_lift() -> None:
    chosen, others = customers(3, ["email"]), customers(4, ["email"])
    mail = channel("email")
    campaign = released(chosen, [mail])
    for person in chosen:
        touch(campaign, person, mail)
        order(person, "300", START + HOUR)
    for person in others:
        order(person, "100", START + HOUR)
    found = selection(campaign, LATER)
    assert (found.targeted, found.others, found.paid_each, found.others_paid_each) == (3, 4, 300, 100)
    report = roi(campaign, LATER)
    assert not report.lift.usable
    assert report.roi.value is None


def test_finance_signs_what_stands_and_the_copy_never_changes(
    as_finance: Client, as_marketer: Client
) -> None:
    campaign, _found = measured(40, 0, (4, 0))
    assert as_marketer.post(f"/reports/roi/{campaign.pk}/sign/").status_code == 403
    assert as_finance.post(f"/reports/roi/{campaign.pk}/sign/", {"comment": "Q1"}).status_code == 302
    report = SignedReport.objects.get()
    assert report.content["campaign"]["id"] == campaign.pk
    assert as_finance.get(f"/reports/signed/{report.pk}/").status_code == 200
    report.title = "other"
    with pytest.raises(Exception, match="never changed"):
        report.save()


def test_the_csv_of_credits_and_of_lift_sum_to_the_page(as_finance: Client) -> None:
    campaign, _found = measured(40, 10, (9, 2), holdout_share=Decimal("0.2"))
    mail = campaign.channel_plans.get().channel
    for position in range(5):
        touch(campaign, order_person(campaign, position), mail, at=START)
    (absorbed,) = customers(1)
    order(absorbed, "70", START + HOUR)
    Customer.objects.filter(pk=absorbed.pk).update(merged_into=order_person(campaign, 0))
    found = lift.measure(campaign, LATER)
    run = attribution.attribute(campaign, "linear", timezone.now())
    body = b"".join(as_finance.get(f"/reports/attribution/{run.pk}/?format=csv").streaming_content).decode(
        "utf-8-sig"
    )
    amounts = [Decimal(line.split(",")[-2]) for line in body.strip().split("\r\n")[1:]]
    assert sum(amounts) == run.attributed_revenue > 0
    body = b"".join(
        as_finance.get(f"/reports/roi/{campaign.pk}/lift/treated/?format=csv").streaming_content
    ).decode("utf-8-sig")
    rows = [line.split(",") for line in body.strip().split("\r\n")[1:]]
    assert (len(rows), sum(float(row[4]) for row in rows)) == (40, found.treated.revenue)
    assert found.treated.revenue == 970


def test_a_large_campaign_shows_what_was_last_measured_and_says_when(
    monkeypatch: Any, as_finance: Client
) -> None:
    campaign, live = measured(160, 40, (80, 10), holdout_share=Decimal("0.2"))
    person = order_person(campaign, 0)
    touch(campaign, person, campaign.channel_plans.get().channel, cost="40")
    post_incurred(LATER)
    measuring.measure(campaign, LATER)
    before = roi(campaign, LATER)
    monkeypatch.setattr(coverage_days, "LIVE_TOUCHES", 0)
    kept = roi(campaign, LATER)
    assert (kept.lift, kept.selection, kept.roi, kept.cac) == (
        before.lift,
        before.selection,
        before.roi,
        before.cac,
    )
    assert kept.lift.rate == live.rate
    order(order_person(campaign, 159), "100", START + 2 * HOUR)
    assert roi(campaign, LATER + HOUR).lift == kept.lift
    assert f"{LATER:%Y-%m-%d}" in as_finance.get(f"/reports/roi/{campaign.pk}/").content.decode()
    measuring.measure(campaign, LATER + HOUR)
    assert roi(campaign, LATER + HOUR).lift.treated.buyers == live.treated.buyers + 1


def test_credits_by_channel_are_kept_with_their_run() -> None:
    (person,) = customers(1, ["email", "sms"])
    mail, sms = channel("email"), channel("sms")
    campaign = released([person], [mail, sms])
    touch(campaign, person, mail, 1, at=START)
    touch(campaign, person, sms, 1, at=START + HOUR)
    order(person, "90", START + 2 * HOUR)
    attribution.attribute(campaign, "linear", LATER)
    run = AttributionRun.objects.get(campaign_id=campaign.pk)
    kept = {credit.channel_id: (credit.orders, credit.revenue) for credit in attribution.by_channel(run)}
    credits = AttributionCredit.objects.filter(run=run)
    assert kept == {each.channel_id: (1, each.amount) for each in credits}
    assert len(kept) == 2

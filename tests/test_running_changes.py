"""A change of a running campaign: what members have stays, what it adds is planned, what it takes out is let go."""

import datetime as dt
from collections import Counter
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from audiences.models import Customer
from audiences.vocabulary import Stage
from campaigns import changes, exits, rounds
from campaigns.models import Campaign, FrequencyTarget, Member
from campaigns.planner import make_plan
from campaigns.planner.explain import explain
from campaigns.queries import lifecycle as lifecycle_queries
from campaigns.release import admit, extend
from campaigns.views import forecast
from campaigns.vocabulary import Cause
from reports import coverage_days
from reports.coverage import coverage
from tests import plan_rows as rows
from tests.test_release import NOW, released, targets, touches

pytestmark = pytest.mark.django_db


def changed(campaign: Campaign, now: dt.datetime) -> None:
    """The definition in the tables holds from now on; touches beyond it are let go."""
    rounds.write_rounds(campaign, 2, now)
    lifecycle_queries.release_withdrawn(campaign.pk, now)


def test_a_raised_target_adds_the_further_touches_and_keeps_the_rest() -> None:
    people = rows.customers(4)
    campaign = rows.campaign(people, [rows.channel()], 1, days=8, holdout_share="0.3", gap=48)
    released(campaign)
    before = list(touches(campaign).order_by("id").values_list("id", "ordinal", "due_at"))
    touches(campaign).filter(id=before[0][0]).update(state="sent")
    FrequencyTarget.objects.update(touches=3)
    now = NOW + rows.DAY
    changed(campaign, now)
    found = extend(campaign, now)
    members = Member.objects.filter(campaign_id=campaign.pk, held_out=False).count()
    assert (found.targets, found.touches) == (members, 2 * members)
    assert list(touches(campaign, ordinal=1).order_by("id").values_list("id", "ordinal", "due_at")) == before
    assert set(touches(campaign).values_list("ordinal", flat=True)) == {1, 2, 3}
    assert set(targets(campaign).values_list("target", "planned", "cause")) == {(3, 3, "")}
    assert min(touches(campaign, ordinal=2).values_list("due_at", flat=True)) >= NOW + 2 * rows.DAY
    assert extend(campaign, now).touches == 0


def test_members_keep_the_stage_and_arm_they_entered_with() -> None:
    people = rows.customers(30, stage=Stage.MEMBER)
    campaign = rows.campaign(people, [rows.channel()], 1, arms={"one": ("0.5", 1)})
    released(campaign)
    Customer.objects.filter(pk__in=[p.pk for p in people]).update(stage=Stage.ADVOCATE)
    FrequencyTarget.objects.update(touches=2)
    changed(campaign, NOW)
    extend(campaign, NOW)
    assert set(touches(campaign).values_list("stage", flat=True)) == {Stage.MEMBER}
    capped = set(
        Member.objects.filter(campaign_id=campaign.pk, arm="one").values_list("customer_id", flat=True)
    )
    assert capped
    assert touches(campaign, customer_id__in=capped).count() == len(capped)
    assert touches(campaign).count() == 2 * 30 - len(capped)


def test_a_new_channel_gets_its_touches_within_the_money_that_is_left() -> None:
    people = rows.customers(5, ("email", "sms"))
    campaign = rows.campaign(people, [rows.channel(unit_price=Decimal(1))], 1, budget="8")
    released(campaign)
    sms = rows.channel("sms", unit_price=Decimal(1))
    plan = campaign.channel_plans.create(channel=sms, position=1, message=rows.message("sms"))
    FrequencyTarget.objects.create(
        channel_plan=plan, phase=campaign.phases.get(), stage=Stage.CUSTOMER, touches=1
    )
    changed(campaign, NOW)
    assert extend(campaign, NOW).touches == 3
    assert dict(Counter(targets(campaign, channel_id=sms.pk).values_list("cause", flat=True))) == {
        "": 3,
        Cause.BUDGET: 2,
    }


def test_a_lowered_target_leaves_what_was_sent_and_no_gap() -> None:
    campaign = rows.campaign(rows.customers(3), [rows.channel()], 3)
    released(campaign)
    touches(campaign, ordinal__lte=2).update(state="sent")
    FrequencyTarget.objects.update(touches=1)
    changed(campaign, NOW + rows.DAY)
    assert extend(campaign, NOW + rows.DAY).touches == 0
    assert set(targets(campaign).values_list("target", "planned", "cause")) == {(2, 2, "")}
    for member in Member.objects.filter(campaign_id=campaign.pk, held_out=False):
        told = explain(campaign.pk, member.customer_id)
        assert [(one.ordinal, one.planned) for one in told] == [(1, True), (2, True)]


def figures(campaign: Campaign, now: dt.datetime) -> tuple[int, int, int, int]:
    """Target, planned, what was taken out, and what is still open; and all of it adds up, counted or from the rows."""
    total = coverage(campaign, now).total
    assert total.adds_up, (total.target, total.parts)
    assert coverage_days.check(campaign, now) == 0
    return total.target, total.planned, total.changed, total.pending


def test_coverage_adds_up_before_and_after_a_lowered_target_and_aims_at_it_no_more() -> None:
    campaign = rows.campaign(rows.customers(3), [rows.channel()], 3)
    released(campaign)
    assert figures(campaign, NOW) == (9, 9, 0, 9)
    touches(campaign, ordinal__lte=2).update(state="sent")
    FrequencyTarget.objects.update(touches=1)
    changed(campaign, NOW + rows.DAY)
    assert figures(campaign, NOW + rows.DAY) == (6, 6, 3, 0)
    extend(campaign, NOW + rows.DAY)
    assert figures(campaign, NOW + rows.DAY) == (6, 6, 3, 0)
    due = touches(campaign).exclude(state="released").values_list("due_at", flat=True)
    told = [day for day, _count in coverage(campaign, NOW).days]
    assert told == sorted({at.astimezone(ZoneInfo(campaign.zone)).date() for at in due})


def test_coverage_adds_up_where_a_lowered_target_meets_people_who_left() -> None:
    people = rows.customers(3)
    campaign = rows.campaign(people, [rows.channel()], 3)
    released(campaign)
    touches(campaign, ordinal=1).update(state="sent")
    exits.exit_members([(campaign.pk, people[0].pk, "conversion")], NOW)
    FrequencyTarget.objects.update(touches=2)
    rounds.write_rounds(campaign, 2, NOW)
    exits.exit_members([(campaign.pk, people[1].pk, "conversion")], NOW)
    lifecycle_queries.release_withdrawn(campaign.pk, NOW)
    extend(campaign, NOW)
    assert figures(campaign, NOW) == (8, 8, 1, 1)


def test_coverage_adds_up_where_a_channel_or_a_gap_was_taken_out() -> None:
    sms = rows.channel("sms", unit_price=Decimal(1))
    campaign = rows.campaign(rows.customers(4, ["sms"]), [sms], 3, budget="8")
    released(campaign)
    assert figures(campaign, NOW) == (12, 8, 0, 8)
    touches(campaign, ordinal=1).update(state="sent", cost=1)
    FrequencyTarget.objects.update(touches=1)
    changed(campaign, NOW)
    assert figures(campaign, NOW)[1:] == (4, 4, 0)
    extend(campaign, NOW)
    assert figures(campaign, NOW) == (4, 4, 4, 0)
    campaign.channel_plans.all().delete()
    changed(campaign, NOW)
    assert figures(campaign, NOW) == (4, 4, 4, 0)


def test_a_target_lowered_and_raised_again_plans_the_same_touches_once() -> None:
    campaign = rows.campaign(rows.customers(3), [rows.channel()], 3)
    released(campaign)
    touches(campaign, ordinal=1).update(state="sent")
    for n, (aimed, added, sums) in enumerate(
        [(1, 0, (3, 3, 6, 0)), (3, 6, (9, 9, 0, 6)), (2, 0, (6, 6, 3, 3)), (4, 6, (12, 12, 0, 9))], start=2
    ):
        FrequencyTarget.objects.update(touches=aimed)
        rounds.write_rounds(campaign, n, NOW)
        lifecycle_queries.release_withdrawn(campaign.pk, NOW)
        assert extend(campaign, NOW).touches == added
        assert figures(campaign, NOW) == sums
        assert extend(campaign, NOW).touches == 0, "what is there is not given again"
    assert touches(campaign).count() == 12


def test_what_silence_let_go_of_is_told_once_when_a_change_finds_the_person_back() -> None:
    people = rows.customers(2)
    campaign = rows.campaign(people, [rows.channel()], 3)
    released(campaign)
    touches(campaign, ordinal=1).update(state="sent")
    exits.wait_members([(campaign.pk, people[0].pk)], NOW)
    Member.objects.filter(campaign_id=campaign.pk).update(state="active")
    assert extend(campaign, NOW).touches == 0
    assert figures(campaign, NOW) == (6, 6, 0, 2)
    FrequencyTarget.objects.update(touches=4)
    changed(campaign, NOW)
    assert extend(campaign, NOW).touches == 2
    assert figures(campaign, NOW) == (8, 8, 0, 4)


def test_a_touch_under_way_when_it_was_taken_out_is_let_go_when_it_comes_back_unsent() -> None:
    campaign = rows.campaign(rows.customers(2), [rows.channel()], 2, gap=0)
    released(campaign)
    touches(campaign, ordinal=1).update(state="sent", state_at=NOW)
    touches(campaign, ordinal=2).update(state="claimed")
    FrequencyTarget.objects.update(touches=1)
    changed(campaign, NOW)
    extend(campaign, NOW)
    assert figures(campaign, NOW) == (4, 4, 0, 2), "they may be sent still"
    touches(campaign, ordinal=2).update(state="planned")
    assert changes.let_go(campaign.pk, NOW) == 2
    assert figures(campaign, NOW) == (2, 2, 2, 0)


def test_nobody_who_left_gets_more() -> None:
    people = rows.customers(3)
    campaign = rows.campaign(people, [rows.channel()], 1)
    released(campaign)
    Member.objects.filter(campaign_id=campaign.pk, customer_id=people[0].pk).update(state="exited")
    FrequencyTarget.objects.update(touches=2)
    changed(campaign, NOW)
    extend(campaign, NOW)
    assert set(touches(campaign, ordinal=2).values_list("customer_id", flat=True)) == {
        people[1].pk,
        people[2].pk,
    }


def test_a_change_is_forecast_with_what_members_have() -> None:
    campaign = rows.campaign(rows.customers(4), [rows.channel(unit_price=Decimal(1))], 1)
    released(campaign)
    FrequencyTarget.objects.update(touches=3)
    plan = make_plan(campaign, user=None, now=NOW)
    assert (plan.target, plan.touches, plan.greatest_cost) == (12, 12, 12)
    assert plan.cells.get().touches == 12
    assert touches(campaign).count() == 4


def test_a_lowered_target_is_forecast_without_what_is_let_go() -> None:
    sms = rows.channel("sms", unit_price=Decimal(1))
    campaign = rows.campaign(rows.customers(4, ["sms"]), [sms], 3)
    released(campaign)
    touches(campaign, ordinal=1).update(state="sent", cost=1)
    FrequencyTarget.objects.update(touches=2)
    plan = make_plan(campaign, user=None, now=NOW + rows.DAY)
    assert (plan.target, plan.touches, plan.greatest_cost) == (8, 8, 8)
    (row,) = change_of(campaign, plan)["rows"]
    assert [row["before"]["touches"], row["after"]["touches"], row["more"]] == [12, 8, -4]
    assert touches(campaign, state="planned").count() == 8, "a forecast lets nothing go"


def test_a_channel_taken_out_is_forecast_with_what_was_sent_on_it() -> None:
    email, sms = rows.channel(), rows.channel("sms", unit_price=Decimal(1))
    campaign = rows.campaign(rows.customers(4, ["email", "sms"]), [email, sms], 2)
    released(campaign)
    touches(campaign, ordinal=1).update(state="sent", cost=1)
    campaign.channel_plans.get(channel=sms).delete()
    plan = make_plan(campaign, user=None, now=NOW + rows.DAY)
    told = {row["name"]: row for row in change_of(campaign, plan)["rows"]}
    assert [told[sms.name][side]["touches"] for side in ("before", "after")] == [8, 4]
    assert [told[sms.name][side]["cost"] for side in ("before", "after")] == [8, 4]
    assert [told[email.name][side]["touches"] for side in ("before", "after")] == [8, 8]


def test_a_first_plan_has_nothing_to_compare_with() -> None:
    campaign = rows.campaign(rows.customers(1), [rows.channel()], 1)
    assert change_of(campaign, make_plan(campaign, user=None, now=NOW)) is None


def change_of(campaign: Campaign, plan: Any) -> Any:
    return forecast.told(campaign, plan)["change"]


def test_late_joiners_find_the_share_that_was_kept_for_them() -> None:
    people = rows.customers(10)
    segment = rows.fixed_list(people)
    campaign = rows.campaign(
        segment, [rows.channel(unit_price=Decimal(1))], 1, budget="8", joiner_share=Decimal("0.25")
    )
    released(campaign)
    assert touches(campaign).count() == 6
    late = rows.customers(5)
    segment.members.bulk_create([segment.members.model(segment=segment, customer=one) for one in late])
    assert admit(campaign, NOW + rows.DAY).touches == 2
    assert touches(campaign, customer_id__in=[one.pk for one in late]).count() == 2
    assert extend(campaign, NOW + rows.DAY).touches == 0, "members do not take what is kept for joiners"

"""Plans on real rows: what is chosen, when it is due, what it costs, and how it is explained."""

import datetime as dt
from collections import Counter, defaultdict
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from audiences.models import ContactState, Order
from campaigns import rounds
from campaigns.models import Campaign, MemberTarget, Plan, PressureRule, Touch
from campaigns.planner import PlanError, explain, make_plan
from campaigns.planner.response_model import going_on, smooth
from campaigns.release import release
from campaigns.vocabulary import CampaignState, Cause
from channels.models import ChannelCapacity, PlatformRule
from tests import plan_rows as rows

pytestmark = pytest.mark.django_db
NOW = rows.NOON
HOUR = dt.timedelta(hours=1)


def planned(campaign: Campaign, now: dt.datetime = NOW) -> Plan:
    return make_plan(campaign, user=None, now=now)


def released(campaign: Campaign, now: dt.datetime = NOW):
    plan = planned(campaign, now)
    rounds.write_rounds(campaign, 1)
    release(campaign, plan, now=now)
    return Touch.objects.filter(campaign_id=campaign.pk)


def by_person(touches) -> dict[int, list[dt.datetime]]:
    found = defaultdict(list)
    for customer, due_at in touches.order_by("due_at").values_list("customer_id", "due_at"):
        found[customer].append(due_at)
    return found


def causes(campaign: Campaign) -> Counter:
    found = Counter()
    for target, got, cause in MemberTarget.objects.filter(campaign_id=campaign.pk).values_list(
        "target", "planned", "cause"
    ):
        found[cause] += target - got
    return +found


def rule(touches: int, hours: int, **fields) -> PressureRule:
    return PressureRule.objects.create(
        name=f"{touches} in {hours}", touches=touches, hours=hours, in_force_at=NOW, **fields
    )


# What is chosen ------------------------------------------------------------------------------------


def test_the_same_inputs_give_the_same_plan() -> None:
    campaign = rows.campaign(
        rows.customers(60, ("email", "sms")),
        [rows.channel(), rows.channel("sms")],
        2,
        budget="4",
        holdout_share="0.1",
    )
    first, second = planned(campaign), planned(campaign)
    for name in ("input_hash", "touches", "reach", "full_reach", "value", "dual_bound", "prices", "gaps"):
        assert getattr(first, name) == getattr(second, name), name


def test_another_price_is_another_input() -> None:
    channel = rows.channel()
    campaign = rows.campaign(rows.customers(3), [channel], 2)
    first = planned(campaign).input_hash
    channel.unit_price = Decimal("0.06")
    channel.save()
    assert planned(campaign).input_hash != first


def test_another_contact_policy_rule_of_a_platform_or_hour_is_another_input() -> None:
    channel = rows.channel("sms")
    campaign = rows.campaign(rows.customers(3, ("sms",)), [channel], 2)
    hashes = [planned(campaign).input_hash]
    policy = rule(5, 48)
    hashes.append(planned(campaign).input_hash)
    PressureRule.objects.filter(pk=policy.pk).update(touches=4)
    hashes.append(planned(campaign).input_hash)
    fields = {"medium": "sms", "valid_from": dt.date(2026, 1, 1), "source": "The platform's page"}
    PlatformRule.objects.create(key="messages_a_number_in_24_hours", value=2, **fields)
    hashes.append(planned(campaign).input_hash)
    hours = {"from": "10:00", "to": "18:00"}
    assert PlatformRule.objects.filter(medium="sms", key="hours", country="CN").update(value=hours)
    hashes.append(planned(campaign).input_hash)
    assert [hashes.index(one) for one in hashes] == list(range(5))
    assert planned(campaign).input_hash == hashes[-1]


def test_coverage_brings_as_many_as_possible_to_the_full_target() -> None:
    campaign = rows.campaign(rows.customers(10), [rows.channel(unit_price=Decimal(1))], 3, budget="14")
    plan = planned(campaign)
    # 14 buys four whole targets of 3; the two touches left go to others.
    assert (plan.full_reach, plan.touches, plan.reach) == (4, 14, 6)
    assert plan.dual_bound == pytest.approx(14 / 3, rel=1e-3)


def test_most_value_gives_first_touches_before_second_ones() -> None:
    campaign = rows.campaign(
        rows.customers(10), [rows.channel(unit_price=Decimal("0.01"))], 3, budget="0.14", objective="value"
    )
    plan = planned(campaign)
    assert (plan.reach, plan.touches, plan.full_reach) == (10, 14, 0)


def test_a_touch_that_costs_more_than_it_brings_is_not_planned() -> None:
    campaign = rows.campaign(rows.customers(4), [rows.channel(unit_price=Decimal(2))], 1, objective="value")
    plan = planned(campaign)
    assert plan.touches == 0
    assert plan.gaps == {Cause.PRICE: 4}
    campaign.objective = "coverage"
    campaign.save()
    assert planned(campaign).touches == 4


def test_people_whose_orders_are_worth_more_go_first() -> None:
    people = rows.customers(20)
    for person in people:
        amount = 500 if person in people[:5] else 100
        for n in range(6):
            Order.objects.create(
                number=f"{person.pk}-{n}",
                customer=person,
                placed_at=NOW - 10 * rows.DAY,
                received_at=NOW,
                gross=amount,
                paid=amount,
            )
    campaign = rows.campaign(people, [rows.channel()], 1, budget="0.25", objective="value")
    assert set(released(campaign).values_list("customer_id", flat=True)) == {
        person.pk for person in people[:5]
    }


def test_a_campaign_whose_money_is_of_another_currency_is_refused() -> None:
    campaign = rows.campaign(rows.customers(1), [rows.channel(currency="USD")], 1)
    with pytest.raises(PlanError, match="USD"):
        planned(campaign)
    assert campaign.plans.get().state == Plan.State.FAILED


def test_a_plan_says_what_is_missing() -> None:
    campaign = rows.campaign(rows.customers(1), [rows.channel()], 1)
    campaign.phases.all().delete()
    with pytest.raises(PlanError, match="phase"):
        planned(campaign)
    Campaign.objects.filter(pk=campaign.pk).update(segment=None)
    campaign.refresh_from_db()
    with pytest.raises(PlanError, match="segment"):
        planned(campaign)


def test_an_empty_audience_is_an_empty_plan() -> None:
    plan = planned(rows.campaign([], [rows.channel()], 1))
    assert (plan.audience, plan.touches, plan.state) == (0, 0, Plan.State.READY)


def test_later_touches_are_expected_less_often_and_reserved_in_full() -> None:
    campaign = rows.campaign(rows.customers(10), [rows.channel(unit_price=Decimal(1))], 3, silence_hours=24)
    plan = planned(campaign)
    assert plan.greatest_cost == 30
    assert 10 < plan.expected_cost < 13
    assert set(released(campaign).values_list("reserved", flat=True)) == {Decimal(1)}


def test_the_chance_of_going_on_counts_silent_touches_in_a_row() -> None:
    import numpy as np

    assert going_on(np.full(3, 0.2), None).tolist() == [1, 1, 1]
    assert going_on(np.full(3, 0.2), 1) == pytest.approx([1, 0.2, 0.04])
    # After two silent ones: the third is sent unless both before it were silent.
    assert going_on(np.full(4, 0.2), 2) == pytest.approx([1, 1, 1 - 0.8**2, (1 - 0.8**2) - 0.2 * 0.8**2])


def test_rates_lean_on_the_prior_until_enough_was_seen_and_never_rise() -> None:
    import numpy as np

    prior = np.array([[[0.02, 0.014]]])
    assert smooth(np.zeros((1, 1, 2)), np.zeros((1, 1, 2)), prior) == pytest.approx(prior)
    seen, happened = np.array([[[40_000.0, 40_000.0]]]), np.array([[[400.0, 1200.0]]])
    found = smooth(seen, happened, prior)
    assert found[0, 0, 0] == found[0, 0, 1] == pytest.approx(0.02, abs=1e-3)


# When it is due ------------------------------------------------------------------------------------


def test_touches_are_spread_evenly_over_the_round() -> None:
    campaign = rows.campaign(rows.customers(2), [rows.channel()], 3, days=9)
    for due in by_person(released(campaign)).values():
        assert due == [NOW, NOW + 3 * rows.DAY, NOW + 6 * rows.DAY]


def test_touches_are_far_enough_apart_when_the_round_is_short() -> None:
    campaign = rows.campaign(
        rows.customers(2),
        [rows.channel()],
        3,
        days=3,
        gap=24,
        starts_at=NOW,
        plans={"day_parts": [{"from": "10:00", "to": "14:00"}]},
    )
    for due in by_person(released(campaign)).values():
        assert all(later - earlier >= 24 * HOUR for earlier, later in zip(due, due[1:], strict=False))
        assert len(due) == 3


def test_a_round_too_short_for_its_gaps_leaves_a_gap_of_hours() -> None:
    campaign = rows.campaign(rows.customers(2), [rows.channel()], 3, days=1, gap=24)
    assert released(campaign).count() == 2
    assert causes(campaign) == {Cause.HOURS: 4}


def test_everybody_is_contacted_in_the_hours_of_their_own_zone() -> None:
    people = [*rows.customers(2, zone="Asia/Shanghai"), *rows.customers(2, zone="America/New_York")]
    campaign = rows.campaign(
        people,
        [rows.channel()],
        2,
        days=5,
        plans={"day_parts": [{"days": [1, 2, 3, 4, 5], "from": "10:00", "to": "12:00"}]},
    )
    zones = {person.pk: ZoneInfo(person.zone) for person in people}
    found = released(campaign)
    assert found.count() == 8
    for customer, due_at in found.values_list("customer_id", "due_at"):
        local = due_at.astimezone(zones[customer])
        assert dt.time(10) <= local.time() < dt.time(12)
        assert local.isoweekday() <= 5


def test_a_touch_ends_before_the_next_one_is_due() -> None:
    campaign = rows.campaign(rows.customers(3), [rows.channel()], 3, days=9)
    found = list(released(campaign).order_by("customer_id", "ordinal"))
    for earlier, later in zip(found, found[1:], strict=False):
        if earlier.customer_id == later.customer_id:
            assert earlier.due_at < earlier.deadline_at <= later.due_at - 24 * HOUR
    assert {touch.deadline_at for touch in found if touch.ordinal == 3} == {campaign.ends_at}


def test_a_campaign_of_a_minute_is_planned_too() -> None:
    campaign = rows.campaign(rows.customers(3), [rows.channel()], 1, days=1 / 1440)
    assert set(released(campaign).values_list("due_at", flat=True)) == {NOW}


def test_a_round_that_is_over_is_a_gap_with_its_cause() -> None:
    campaign = rows.campaign(rows.customers(2), [rows.channel()], 1, days=4, round_days=2)
    found = released(campaign, NOW + 3 * rows.DAY)
    assert set(found.values_list("round", "due_at")) == {(2, NOW + 3 * rows.DAY)}
    assert causes(campaign) == {Cause.DEADLINE: 2}


def test_the_gap_holds_from_one_round_to_the_next() -> None:
    campaign = rows.campaign(rows.customers(2), [rows.channel()], 2, days=4, round_days=2, gap=24)
    for due in by_person(released(campaign)).values():
        assert len(due) == 4
        assert all(later - earlier >= 24 * HOUR for earlier, later in zip(due, due[1:], strict=False))


# Places --------------------------------------------------------------------------------------------


def per_day(touches) -> Counter:
    return Counter(
        due.astimezone(ZoneInfo("Asia/Shanghai")).date() for due in touches.values_list("due_at", flat=True)
    )


def test_no_day_of_a_channel_is_overbooked() -> None:
    campaign = rows.campaign(rows.customers(50), [rows.channel(daily_capacity=20)], 2, days=6, gap=24)
    found = released(campaign)
    assert found.count() == 100
    assert max(per_day(found).values()) <= 20


def test_what_does_not_fit_into_the_days_is_a_gap_of_capacity() -> None:
    campaign = rows.campaign(rows.customers(50), [rows.channel(daily_capacity=10)], 1, days=3)
    plan = planned(campaign)
    found = released(campaign)
    assert found.count() == 40  # noon to noon: parts of four days
    assert causes(campaign) == {Cause.CAPACITY: 10}
    entry = next(entry for entry in plan.prices if entry["kind"] == "capacity")
    assert entry["price"] == pytest.approx(1, abs=0.01)
    assert "1,000 more would bring 1,000 people more" in entry["words"]
    assert plan.certified_gap < 1e-6


def test_a_day_of_its_own_capacity_and_the_plans_own_limit_both_count() -> None:
    channel = rows.channel(daily_capacity=30)
    ChannelCapacity.objects.create(channel=channel, day=dt.date(2026, 3, 3), messages=5)
    campaign = rows.campaign(rows.customers(60), [channel], 1, days=3, plans={"daily_limit": 12})
    days = per_day(released(campaign))
    assert days[dt.date(2026, 3, 3)] == 5
    assert max(days.values()) == 12


def test_another_campaigns_touches_take_their_places() -> None:
    channel = rows.channel(daily_capacity=10)
    first = rows.campaign(rows.customers(8), [channel], 1, days=1)
    released(first)
    Campaign.objects.filter(pk=first.pk).update(state=CampaignState.RUNNING)
    second = rows.campaign(rows.customers(10), [channel], 1, days=0.4)
    assert released(second).count() == 2


def test_later_touches_find_their_places_beside_first_ones() -> None:
    # 7 days of 10 places: 23 people × 3 touches = 69 of 70 places.
    campaign = rows.campaign(rows.customers(23), [rows.channel(daily_capacity=10)], 3, days=6.4, gap=24)
    plan = planned(campaign)
    found = released(campaign)
    assert max(per_day(found).values()) <= 10
    assert plan.full_reach >= 22
    for due in by_person(found).values():
        assert all(later - earlier >= 24 * HOUR for earlier, later in zip(due, due[1:], strict=False))


# Contact policy ------------------------------------------------------------------------------------


def test_the_contact_policy_holds_over_all_channels() -> None:
    rule(2, 7 * 24)
    rule(1, 24)
    campaign = rows.campaign(
        rows.customers(6, ("email", "sms")), [rows.channel(), rows.channel("sms")], 2, days=7, gap=12
    )
    found = by_person(released(campaign))
    for due in found.values():
        assert len(due) == 2
        assert due[1] - due[0] >= 24 * HOUR
    assert causes(campaign) == {Cause.PRESSURE: 12}


def test_recent_contacts_take_places_until_they_leave_the_window() -> None:
    rule(1, 72)
    people = rows.customers(2)
    ContactState.objects.filter(customer=people[0]).update(
        recent_attempts=[1], recent_channels=[999], recent_at=[NOW - 24 * HOUR]
    )
    campaign = rows.campaign(people, [rows.channel()], 1, days=7)
    found = by_person(released(campaign))
    assert found[people[1].pk] == [NOW]
    assert found[people[0].pk] == [NOW + 48 * HOUR] or found[people[0].pk][0] >= NOW + 48 * HOUR


def test_a_rule_of_another_medium_does_not_count() -> None:
    rule(0, 24, medium="sms")
    campaign = rows.campaign(rows.customers(2), [rows.channel()], 1)
    assert released(campaign).count() == 2


def test_what_other_campaigns_plan_takes_places_before_and_behind() -> None:
    rule(1, 24 * 30)
    people = rows.customers(3)
    first = rows.campaign(people[:2], [rows.channel()], 1, starts_at=NOW + 3 * rows.DAY)
    released(first)
    Campaign.objects.filter(pk=first.pk).update(state=CampaignState.SCHEDULED)
    second = rows.campaign(people, [rows.channel()], 1, days=2)
    assert set(by_person(released(second))) == {people[2].pk}
    assert causes(second) == {Cause.PRESSURE: 2}


def test_a_platforms_monthly_quota_is_a_platform_rule() -> None:
    people = rows.customers(2, ("official_account",))
    campaign = rows.campaign(people, [rows.channel("official_account")], 6, days=20, gap=24)
    found = released(campaign)
    assert Counter(found.values_list("customer_id", flat=True)) == {person.pk: 4 for person in people}
    assert causes(campaign) == {Cause.PLATFORM_RULE: 4}


# Explanations --------------------------------------------------------------------------------------


def test_every_touch_and_every_lack_of_one_is_explained_after_the_release() -> None:
    people = rows.customers(10, ("email", "sms"))
    people += rows.customers(1, ("email",))
    campaign = rows.campaign(
        people,
        [rows.channel(unit_price=Decimal("0.01")), rows.channel("sms", unit_price=Decimal("0.1"))],
        {"email": 2, "sms": 1},
        budget="0.6",
        objective="value",
        holdout_share="0.2",
    )
    touches = released(campaign)
    for person in people:
        told = explain(campaign.pk, person.pk)
        if told[0].round is None:
            assert "holdout" in told[0].text
            continue
        assert len(told) == 3
        sent = {(one.channel_id, one.ordinal): one.due_at for one in told if one.planned}
        assert sent == {
            (channel, ordinal): due
            for channel, ordinal, due in touches.filter(customer_id=person.pk).values_list(
                "channel_id", "ordinal", "due_at"
            )
        }
        for one in told:
            assert one.text
            assert bool(one.cause) == (not one.planned)


def test_a_touch_that_is_not_worth_its_price_is_told_so_in_numbers() -> None:
    people = rows.customers(40, ("email", "sms"))
    campaign = rows.campaign(
        people, [rows.channel("sms", unit_price=Decimal("0.01"))], 2, budget="0.4", objective="value"
    )
    planned(campaign)
    told = explain(campaign.pk, people[0].pk)
    second = told[1]
    assert not second.planned
    assert second.cause == Cause.BUDGET
    assert second.value < second.price
    assert second.text.startswith("Not sent: value")
    assert "Budget of the campaign" in second.text


def test_somebody_outside_the_audience_has_no_explanation() -> None:
    campaign = rows.campaign(rows.customers(2), [rows.channel()], 1)
    with pytest.raises(PlanError, match="forecast"):
        explain(campaign.pk, 1)
    planned(campaign)
    assert explain(campaign.pk, rows.customers(1)[0].pk) == []


def test_prices_add_up_to_what_a_limit_is_worth() -> None:
    """The price of money is what a little more of it brings."""
    people = rows.customers(100, ("email",))
    campaign = rows.campaign(
        people, [rows.channel(unit_price=Decimal("0.01"))], 3, budget="1.50", objective="value"
    )
    plan = planned(campaign)
    price = next(entry["price"] for entry in plan.prices if entry["limit"] == "budget")
    Campaign.objects.filter(pk=campaign.pk).update(budget=Decimal("1.60"))
    campaign.refresh_from_db()
    assert planned(campaign).dual_bound - plan.dual_bound == pytest.approx(0.10 * price, rel=1e-3)

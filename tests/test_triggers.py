"""Triggered campaigns open for the right person at the right moment, and no oftener than approved."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pytest

from audiences.models import BehaviourEvent, Customer
from campaigns import dispatch, doctor, exits, rounds, triggers
from campaigns.models import ApprovedOrdinal, Campaign, Member, Occasion, Opening, Plan, Touch
from campaigns.planner import make_plan
from campaigns.release import admit, release
from tests import plan_rows as rows
from tests.factories import DAY, HOUR
from tests.wire import Wire, install

pytestmark = pytest.mark.django_db(transaction=True)
NOW = rows.NOON  # Monday 2 March 2026, noon in Shanghai


def occasion(**fields: Any) -> Occasion:
    return Occasion.objects.create(
        **({"name": "Birthday", "kind": "birthday", "rule": {"calendar": "own"}} | fields)
    )


def running(
    people: Sequence[Customer],
    cadence: dict[str, Any],
    *,
    channel: Any = None,
    touches: int = 1,
    **fields: Any,
) -> Campaign:
    """A triggered campaign of 400 days, approved and released."""
    found = rows.campaign(
        people, [channel or rows.channel()], touches, days=400, kind="triggered",
        cadence={"wait_hours": 0, "window_days": 3, "most": 1, "apart_days": 1} | cadence, **fields,
    )  # fmt: skip
    plan = make_plan(found, user=None, now=NOW)
    rounds.write_rounds(found, 1)
    release(found, plan, now=NOW)
    Campaign.objects.filter(pk=found.pk).update(state="running", released_at=NOW)
    found.refresh_from_db()
    return found


def born(person: Customer, date: str, calendar: str = "solar") -> None:
    person.birth_date, person.birth_calendar = dt.date.fromisoformat(date), calendar
    person.save()


def did(person: Customer, kind: str, at: dt.datetime, key: str = "") -> None:
    BehaviourEvent.objects.create(
        source="shop",
        source_key=key or f"{person.pk} {kind} {at}",
        customer=person,
        kind=kind,
        occurred_at=at,
        received_at=at,
    )


def due(campaign: Campaign) -> list[tuple[int, int, dt.datetime]]:
    found = Touch.objects.filter(campaign_id=campaign.pk).order_by("due_at", "customer_id")
    return list(found.values_list("customer_id", "round", "due_at"))


def test_a_birthday_campaign_opens_on_the_day_of_the_persons_own_zone() -> None:
    shanghai, york, lunar, other = (rows.customers(1, zone=zone)[0] for zone in (
        "Asia/Shanghai", "America/New_York", "Asia/Shanghai", "Asia/Shanghai",
    ))  # fmt: skip
    born(shanghai, "1990-03-04")
    born(york, "1991-03-04")
    born(lunar, "1990-01-16", "lunar")  # 4 March 2026 is the 16th of the first lunar month
    born(other, "1990-03-09")
    campaign = running([shanghai, york, lunar, other], {"by": "occasion"}, occasion=occasion())
    assert triggers.look(campaign, NOW).opened == 0
    assert Member.objects.count() == 0
    midnight = dt.datetime(2026, 3, 3, 16, 0, tzinfo=dt.UTC)  # the 4th begins in Shanghai
    assert triggers.look(campaign, midnight - HOUR / 2).opened == 0
    assert triggers.look(campaign, midnight + HOUR / 2).opened == 2
    assert {row[0] for row in due(campaign)} == {shanghai.pk, lunar.pk}
    assert triggers.look(campaign, midnight + 12 * HOUR).opened == 0
    assert triggers.look(campaign, midnight + 13.5 * HOUR).opened == 1  # 00:30 in New York
    for customer, round_number, at in due(campaign):
        zone = triggers.zone_info(Customer.objects.get(pk=customer).zone)
        assert at.astimezone(zone).date() == dt.date(2026, 3, 4)
        assert round_number == 1
    # Looking again, and again much later, changes nothing.
    before = due(campaign)
    triggers.look(campaign, midnight + 14 * HOUR)
    triggers.look(campaign, midnight + 3 * DAY)
    assert due(campaign) == before
    assert [one for one in doctor.examine(midnight + 14 * HOUR) if one.question.broken] == []


def test_lead_days_and_the_wait_move_the_moment() -> None:
    person = rows.customers(1)[0]
    born(person, "1990-03-10")
    campaign = running([person], {"by": "occasion", "wait_hours": 10}, occasion=occasion(lead_days=3))
    opens = dt.datetime(2026, 3, 7, 2, 0, tzinfo=dt.UTC)  # three days before, at 10:00 in Shanghai
    triggers.look(campaign, opens - HOUR)
    assert due(campaign) == []
    triggers.look(campaign, opens + HOUR / 6)
    assert due(campaign) == [(person.pk, 1, opens + HOUR / 6)]


def test_a_look_that_comes_too_late_passes_over_and_sends_nothing() -> None:
    person = rows.customers(1)[0]
    born(person, "1990-03-03")
    campaign = running([person], {"by": "occasion", "window_days": 2}, occasion=occasion())
    triggers.look(campaign, NOW)  # noticed
    found = triggers.look(campaign, NOW + 5 * DAY)
    assert (found.opened, found.passed_over) == (0, 1)
    assert Opening.objects.get().reason == "late"
    assert due(campaign) == []


def test_next_year_is_the_second_time_only_where_two_were_approved() -> None:
    person = rows.customers(1)[0]
    born(person, "1990-03-04")
    once = running([person], {"by": "occasion"}, occasion=occasion())
    twice = running([person], {"by": "occasion", "most": 2, "apart_days": 100}, occasion=once.occasion)
    for year in (2026, 2027):
        for campaign in (once, twice):
            triggers.look(campaign, dt.datetime(year, 3, 4, 4, tzinfo=dt.UTC))
    assert [row[1] for row in due(once)] == [1]
    assert [row[1] for row in due(twice)] == [1, 2]
    assert set(ApprovedOrdinal.objects.filter(campaign_id=twice.pk).values_list("round", flat=True)) == {1, 2}
    assert Member.objects.filter(campaign_id=twice.pk).count() == 1


def test_an_event_opens_after_the_wait_and_not_again_too_soon() -> None:
    person, outsider = rows.customers(2)
    campaign = running(
        [person], {"by": "event", "event": "add_to_cart", "wait_hours": 2, "most": 5, "apart_days": 7}
    )
    did(person, "add_to_cart", NOW - HOUR)  # before the campaign began
    did(person, "add_to_cart", NOW + HOUR)
    did(person, "visit", NOW + HOUR)
    did(outsider, "add_to_cart", NOW + HOUR)
    did(person, "add_to_cart", NOW + DAY)
    triggers.look(campaign, NOW + HOUR)
    assert due(campaign) == []
    triggers.look(campaign, NOW + 3 * HOUR)
    assert due(campaign) == [(person.pk, 1, NOW + 3 * HOUR)]
    assert Opening.objects.get(customer_id=outsider.pk).reason == "audience"
    triggers.look(campaign, NOW + DAY + 3 * HOUR)
    assert len(due(campaign)) == 1
    assert Opening.objects.filter(reason="often").count() == 1
    did(person, "add_to_cart", NOW + 9 * DAY)
    triggers.look(campaign, NOW + 9 * DAY + 3 * HOUR)
    assert [row[1] for row in due(campaign)] == [1, 2]


def test_who_is_in_a_stage_or_the_audience_already_does_not_come_to_it() -> None:
    old, new = rows.customers(2, stage="member")
    segment = rows.fixed_list([old])
    entering = running(segment, {"by": "segment"})
    coming = running([old, new], {"by": "stage", "stage": "customer"})
    for campaign in (entering, coming):
        triggers.look(campaign, NOW + HOUR)
        assert due(campaign) == []
    rows.SegmentMember.objects.create(segment=segment, customer=new)
    Customer.objects.filter(pk=old.pk).update(stage="customer")
    for campaign in (entering, coming):
        triggers.look(campaign, NOW + 2 * HOUR)
        triggers.look(campaign, NOW + 3 * HOUR)
    assert [row[0] for row in due(entering)] == [new.pk]
    assert [row[0] for row in due(coming)] == [old.pk]


def test_silence_waits_until_the_next_time_and_an_exit_is_for_good() -> None:
    silent, bought = rows.customers(2)
    campaign = running([silent, bought], {"by": "event", "event": "visit", "most": 3})
    for person in (silent, bought):
        did(person, "visit", NOW + HOUR, f"a{person.pk}")
        did(person, "visit", NOW + 3 * DAY, f"b{person.pk}")
    triggers.look(campaign, NOW + HOUR)
    exits.wait_members([(campaign.pk, silent.pk)], NOW + DAY)
    exits.exit_members([(campaign.pk, bought.pk, "conversion")], NOW + DAY)
    triggers.look(campaign, NOW + 3 * DAY)
    assert [(row[0], row[1]) for row in due(campaign)] == [(silent.pk, 1), (bought.pk, 1), (silent.pk, 2)]
    assert Member.objects.get(customer_id=silent.pk).state == "active"
    assert Opening.objects.get(customer_id=bought.pk, reason="left").round is None


def test_the_budget_holds_over_all_times() -> None:
    people = rows.customers(4)
    campaign = running(people, {"by": "event", "event": "visit"}, budget="0.10")  # two touches of 0.05
    for n, person in enumerate(people):
        did(person, "visit", NOW + n * HOUR)
        triggers.look(campaign, NOW + n * HOUR)
    assert len(due(campaign)) == 2
    assert Member.objects.count() == 4


def test_holdouts_are_drawn_as_people_come_and_get_nothing() -> None:
    people = rows.customers(40)
    campaign = running(people, {"by": "event", "event": "visit", "most": 2}, holdout_share="0.5")
    for person in people:
        did(person, "visit", NOW + HOUR, f"a{person.pk}")
        did(person, "visit", NOW + 3 * DAY, f"b{person.pk}")
    triggers.look(campaign, NOW + HOUR)
    triggers.look(campaign, NOW + 3 * DAY)
    held = Member.objects.filter(held_out=True).count()
    assert 5 < held < 35
    assert Touch.objects.count() == 2 * (40 - held)
    assert Opening.objects.filter(round=2).count() == 40


def test_a_triggered_campaign_takes_nobody_in_by_itself() -> None:
    campaign = running(rows.customers(3), {"by": "event", "event": "visit"})
    assert admit(campaign, NOW + HOUR).members == 0
    assert Plan.objects.get().state == "released"


def test_the_forecast_counts_those_who_have_the_occasion_within_the_flight() -> None:
    people = rows.customers(3)
    born(people[0], "1990-03-04")
    born(people[1], "1990-08-15", "lunar")
    found = rows.campaign(
        people, [rows.channel()], days=30, kind="triggered", cadence={"by": "occasion"}, occasion=occasion()
    )
    assert make_plan(found, user=None, now=NOW).reach == 1
    Campaign.objects.filter(pk=found.pk).update(ends_at=NOW + 300 * DAY)
    found.phases.update(ends_at=NOW + 300 * DAY)
    found.refresh_from_db()
    assert make_plan(found, user=None, now=NOW).reach == 2


def test_what_opens_is_sent_once() -> None:
    wire = Wire()
    channel = rows.channel(adapter=install(wire).name)
    person = rows.customers(1)[0]
    campaign = running([person], {"by": "event", "event": "visit", "most": 2}, channel=channel)
    did(person, "visit", NOW + HOUR)
    for minute in range(0, 120, 10):
        at = NOW + HOUR + minute * HOUR / 60
        triggers.look(campaign, at)
        dispatch.dispatch_channel(channel.pk, now=at)
    assert len(wire.log) == 1

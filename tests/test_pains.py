"""What users of other products suffered, each from a real issue thread, each a claim about this one."""

import time
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from campaigns import dispatch, doctor, lifecycle
from campaigns.dispatch import loop
from campaigns.dispatch.claiming import lease_time
from campaigns.models import Attempt, Campaign, Touch
from channels.adapters.base import Outcome, Sent
from tests import factories as make
from tests.factories import DAY, HOUR, MINUTE, NOW
from tests.test_pressure import in_threads
from tests.test_sweep_and_lateness import kill, killed_turn
from tests.wire import Wire

pytestmark = pytest.mark.django_db(transaction=True)


def test_mautic_6729_a_rule_on_one_channel_does_not_switch_off_the_rule_over_all():
    mail, text = make.channel(wire=(first := Wire())), make.channel("sms", wire=(second := Wire()))
    make.rule(2, 24)
    make.rule(5, 24, channel=text)
    people = make.customers(3, ("email", "sms"))
    for _campaign in range(3):
        make.released(make.campaign([mail, text]), people)
    for channel in (mail, text, mail, text):
        dispatch.dispatch_channel(channel.pk, now=NOW)
    assert len(first.log) + len(second.log) == 6


def test_mautic_6729_what_failed_does_not_count_against_the_person():
    failing = make.channel(wire=Wire(lambda message: Sent(message.attempt_id, Outcome.REFUSED)))
    working = make.channel(wire=(wire := Wire()))
    make.rule(1, 24)
    people = make.customers(2)
    make.released(make.campaign([failing]), people)
    make.released(make.campaign([working]), people)
    dispatch.dispatch_channel(failing.pk, now=NOW)
    dispatch.dispatch_channel(working.pk, now=NOW)
    assert len(wire.log) == 2


def test_mautic_2215_and_15949_overlapping_workers_send_nothing_twice():
    wire = Wire(batch_size=10)
    channel = make.channel(wire=wire)
    found = make.campaign([channel])
    make.released(found, make.customers(300))
    in_threads(4, lambda number: dispatch.dispatch_channel(channel.pk, now=NOW, worker=f"w{number}"))
    assert len(wire.log) == len(set(wire.addresses)) == 300
    assert make.states(found) == {"sent": 300}


def test_listmonk_2070_pause_and_resume_send_nobody_a_second_message(make_user):
    wire = Wire()
    channel = make.channel(wire=wire)
    found = make.campaign([channel])
    make.released(found, make.customers(30))
    user = make_user("marketer", "marketer")
    for turn in range(10):
        dispatch.dispatch_channel(channel.pk, now=NOW, limit=4)
        found.refresh_from_db()
        if turn < 9:
            lifecycle.pause(found, user, NOW)
            dispatch.dispatch_channel(channel.pk, now=NOW)
            lifecycle.resume(found, user, NOW)
    assert len(wire.log) == len(set(wire.addresses)) == 30


def test_listmonk_2278_a_restart_leaves_nobody_out_and_nothing_finishes_early():
    wire = Wire(before=kill, batch_size=4)
    channel = make.channel(wire=wire)
    found = make.campaign([channel])
    make.released(found, make.customers(20), deadline_at=NOW + DAY)
    killed_turn(channel)
    wire.before = None
    lifecycle.finish_due(NOW + MINUTE)
    assert Campaign.objects.get().state == "running"
    later = NOW + lease_time() + MINUTE
    dispatch.sweep(later)
    dispatch.dispatch_channel(channel.pk, now=later)
    # The four that were being handed over when it died may have arrived: known as unknown, not forgotten.
    assert make.states(found) == {"sent": 16, "unknown": 4}
    assert {row["campaign_id"] for row in Touch.objects.values("campaign_id")} == {found.pk}


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.REFUSED, Outcome.THROTTLED, Outcome.HELD])
def test_listmonk_2610_and_keila_464_no_campaign_is_stuck_whatever_the_provider_does(outcome):
    channel = make.channel(wire=Wire(lambda message: Sent(message.attempt_id, outcome, retry_after=5)))
    found = make.campaign([channel], days=2)
    make.released(found, make.customers(5))
    at = NOW
    while at < NOW + 6 * DAY:
        make.ran_until(at)
        dispatch.tick(lambda number, at=at: dispatch.dispatch_channel(number, now=at), at)
        dispatch.sweep(at)
        lifecycle.finish_due(at)
        at += 3 * HOUR
    found.refresh_from_db()
    assert found.state == "finished"
    assert not Touch.objects.filter(state__in=["planned", "claimed", "held"]).exists()
    assert doctor.examine(at) == []


def test_mautic_7665_nobody_gets_a_message_outside_the_hours_of_their_own_zone():
    zones = ("Asia/Shanghai", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata")
    wire = Wire()
    channel = make.channel(wire=wire)
    found = make.campaign([channel], day_parts=[{"from": "09:30", "to": "18:00"}], days=20)
    where = {person: zone for zone in zones for person in make.customers(2, zone=zone)}
    # A week in which Berlin and New York change their clocks.
    start = NOW + 5 * DAY
    make.released(found, list(where), due_at=start)
    found_at = {}
    for half_hour in range(4 * 48):
        at = start + half_hour * 30 * MINUTE
        make.ran_until(at)
        dispatch.dispatch_channel(channel.pk, now=at)
    for touch in Touch.objects.all():
        found_at[touch.customer_id] = touch.state_at.astimezone(ZoneInfo(where[touch.customer_id]))
    assert make.states(found) == {"sent": 10}
    assert all((9, 30) <= (at.hour, at.minute) < (18, 0) for at in found_at.values())


def test_mautic_2870_the_work_of_a_turn_does_not_grow_with_statements_a_person():
    def statements(n):
        channel = make.channel(wire=Wire(batch_size=1000))
        found = make.campaign([channel])
        make.released(found, make.customers(n))
        loop._paces.clear()
        with CaptureQueriesContext(connection) as queries:
            dispatch.dispatch_channel(channel.pk, now=NOW)
            dispatch.dispatch_channel(channel.pk, now=NOW)
        assert make.states(found) == {"sent": n}
        return len(queries)

    statements(10)  # what a process learns once
    few, many = statements(20), statements(2000)
    assert many < few + 60
    assert many < 200


def test_listmonk_1801_a_restored_copy_fires_nothing_hours_late():
    wire = Wire()
    channel = make.channel(wire=wire)
    found = make.campaign([channel])
    make.released(found, make.customers(3), due_at=NOW + HOUR, deadline_at=NOW + 10 * DAY)
    dispatch.tick(lambda number: dispatch.dispatch_channel(number, now=NOW), NOW)
    # A copy of this moment is brought up three days later, while the original has sent all of it.
    for minute in range(10):
        at = NOW + 3 * DAY + minute * MINUTE
        dispatch.tick(lambda number, at=at: dispatch.dispatch_channel(number, now=at), at)
        dispatch.dispatch_channel(channel.pk, now=at)
        dispatch.sweep(at)
    found.refresh_from_db()
    assert (wire.log, found.state, make.states(found)) == ([], "paused", {"planned": 3})


def test_mailtrain_1188_five_workers_are_not_five_times_as_fast():
    """The throttle is the channel's: over any time no more starts than its rate permits, by the real clock."""
    wire = Wire(batch_size=50)
    channel = make.channel(wire=wire, rate_per_second=40.0)
    now = timezone.now()
    found = make.campaign([channel], now=now)
    make.released(found, make.customers(400), due_at=now - MINUTE)
    began = time.monotonic()
    in_threads(5, lambda number: dispatch.dispatch_channel(channel.pk, worker=f"w{number}", seconds=3))
    seconds = max(wire.at) - began
    assert 10 <= len(wire.log) <= 40 * (seconds + 0.5) + 5


def test_odoo_267972_a_retry_is_not_swallowed_as_a_duplicate():
    answers = {}

    def answer(message):
        turn = answers[message.address] = answers.get(message.address, 0) + 1
        return Sent(message.attempt_id, Outcome.THROTTLED, retry_after=60) if turn == 1 else Outcome.ACCEPTED

    wire = Wire(answer)
    channel = make.channel(wire=wire)
    found = make.campaign([channel])
    make.released(found, make.customers(3))
    dispatch.dispatch_channel(channel.pk, now=NOW)
    dispatch.dispatch_channel(channel.pk, now=NOW + 2 * MINUTE)
    assert make.states(found) == {"sent": 3}
    # Each try is an attempt of its own with a number of its own.
    ids = [message.attempt_id for message in wire.log]
    assert len(ids) == len(set(ids)) == 6
    assert sorted(Attempt.objects.values_list("n", flat=True)) == [1, 1, 1, 2, 2, 2]


def test_odoo_106232_a_duplicated_campaign_sends_nothing_by_itself():
    wire = Wire()
    channel = make.channel(wire=wire)
    people = make.customers(2)
    found = make.campaign([channel])
    make.released(found, people)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    for state in ("draft", "submitted", "approved", "scheduled", "finished", "reviewed"):
        copy = make.campaign([channel], state=state)
        make.released(copy, people)
    dispatch.tick(lambda number: dispatch.dispatch_channel(number, now=NOW), NOW)
    assert len(wire.log) == 2

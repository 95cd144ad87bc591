"""What dead workers leave, and what is overdue after a pause, an outage, a restore or a jump of the clock."""

import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from audiences.models import ContactState
from campaigns import dispatch, doctor, lateness
from campaigns.dispatch import loop
from campaigns.dispatch.claiming import lease_time
from campaigns.models import Attempt, Budget, Campaign, Clock, DispatchClaim, Touch
from campaigns.queries import call as call_queries
from tests import factories as make
from tests.factories import DAY, HOUR, MINUTE, NOW
from tests.wire import Wire

pytestmark = pytest.mark.django_db(transaction=True)


class Killed(BaseException):
    """Stands for kill -9: nothing that comes after it is done."""


def killed_turn(channel, now=NOW):
    """A worker that dies within its turn: no clean-up of its own happens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Turn, "_leave", lambda self: None)
        with pytest.raises(Killed):
            dispatch.dispatch_channel(channel.pk, now=now)


def kill(*_args, **_fields):
    raise Killed


def broken_promises(now):
    return [
        (finding.question.name, finding.count) for finding in doctor.examine(now) if finding.question.broken
    ]


def test_a_worker_killed_during_a_call_leaves_its_batch_unknown_and_nothing_is_sent_again():
    wire = Wire(before=kill, batch_size=3)
    channel = make.channel(wire=wire)
    make.rule(1, 24)
    found = make.campaign([channel], budget="10")
    make.released(found, make.customers(5))
    killed_turn(channel)
    assert make.states(found) == {"claimed": 5}
    dispatch.sweep(NOW + MINUTE)
    assert make.states(found) == {"claimed": 5}
    later = NOW + lease_time() + MINUTE
    swept = dispatch.sweep(later)
    # Three were being called about; of the other two it is known that they were not handed over.
    assert (swept.unknown, swept.returned) == (3, 2)
    assert make.states(found) == {"unknown": 3, "planned": 2}
    assert broken_promises(later) == []
    dispatch.sweep(later + 10 * MINUTE)
    assert Budget.objects.get().leased == 0
    wire.before = None
    dispatch.dispatch_channel(channel.pk, now=later + 10 * MINUTE)
    assert (make.states(found), len(wire.log)) == ({"unknown": 3, "sent": 2}, 2)
    assert Budget.objects.get().spent == Decimal("0.25")
    assert DispatchClaim.objects.count() == 0


def test_a_worker_killed_between_claim_and_call_loses_nothing(monkeypatch):
    wire = Wire()
    channel = make.channel(wire=wire)
    make.rule(1, 24)
    found = make.campaign([channel])
    people = make.customers(3)
    make.released(found, people)
    with monkeypatch.context() as patch:
        patch.setattr(call_queries, "look", kill)
        killed_turn(channel)
    later = NOW + lease_time() + MINUTE
    assert dispatch.sweep(later).returned == 3
    assert [state.recent_attempts for state in ContactState.objects.all()] == [[], [], []]
    dispatch.dispatch_channel(channel.pk, now=later)
    assert (make.states(found), len(wire.log)) == ({"sent": 3}, 3)


def test_a_worker_that_wakes_after_its_lease_hands_nothing_over(monkeypatch):
    """Suspended between claim and call, while a sweep gave its touches back and another worker sent them."""
    wire = Wire()
    channel = make.channel(wire=wire)
    found = make.campaign([channel])
    make.released(found, make.customers(2))
    look = call_queries.look
    later = NOW + lease_time() + MINUTE

    def suspended(*args):
        monkeypatch.setattr(call_queries, "look", look)
        dispatch.sweep(later)
        dispatch.dispatch_channel(channel.pk, now=later, worker="other")
        assert make.states(found) == {"sent": 2}
        return look(*args)

    monkeypatch.setattr(call_queries, "look", suspended)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert (len(wire.log), make.states(found)) == (2, {"sent": 2})
    assert broken_promises(later) == []


def test_a_result_that_comes_after_the_sweep_is_still_taken():
    wire = Wire()
    channel = make.channel(wire=wire)
    found = make.campaign([channel], budget="10")
    make.released(found, make.customers(1))

    def slow(_batch):
        dispatch.sweep(NOW + lease_time() + MINUTE)
        assert make.states(found) == {"unknown": 1}

    wire.before = slow
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert make.states(found) == {"sent": 1}
    assert Budget.objects.get().spent == Decimal("0.05")
    assert broken_promises(NOW) == []


def test_two_sweepers_sweep_once():
    channel = make.channel(wire=Wire(before=kill))
    found = make.campaign([channel])
    make.released(found, make.customers(4))
    killed_turn(channel)
    later = NOW + lease_time() + MINUTE
    assert dispatch.sweep(later).unknown == 4
    assert dispatch.sweep(later) == type(dispatch.sweep(later))(0, 0, 0, 0, 0)
    assert list(Attempt.objects.values_list("state", "code").distinct()) == [("unknown", "worker_lost")]


# Pauses ------------------------------------------------------------------------------------------


def test_after_a_short_pause_what_is_due_goes_on():
    wire = Wire()
    channel = make.channel(wire=wire)
    found = make.campaign([channel])
    make.released(found, make.customers(2), due_at=NOW + 10 * MINUTE)
    dispatch.tick(lambda _channel: None, NOW)
    Campaign.objects.update(state="paused")
    dispatch.dispatch_channel(channel.pk, now=NOW + 20 * MINUTE)
    assert wire.log == []
    Campaign.objects.update(state="running")
    dispatch.dispatch_channel(channel.pk, now=NOW + 40 * MINUTE)
    assert make.states(found) == {"sent": 2}


def paused_for(found, channel, since, until):
    """Dispatch runs on while the campaign is paused; then it is resumed."""
    dispatch.tick(lambda _channel: None, since)
    Campaign.objects.filter(pk=found.pk).update(state="paused")
    at = since
    while at < until:
        at += 30 * MINUTE
        dispatch.tick(lambda number, at=at: dispatch.dispatch_channel(number, now=at), at)
    Campaign.objects.filter(pk=found.pk).update(state="running")


def test_what_a_long_pause_made_overdue_goes_the_next_day_at_its_hour_or_not_at_all():
    wire = Wire()
    channel = make.channel(wire=wire)
    may_wait, may_not = make.customers(2)
    found = make.campaign([channel])
    make.released(found, [may_wait], due_at=NOW + 10 * MINUTE, deadline_at=NOW + 2 * DAY)
    make.released(found, [may_not], due_at=NOW + 10 * MINUTE, deadline_at=NOW + 8 * HOUR)
    paused_for(found, channel, NOW, NOW + 3 * HOUR)
    dispatch.dispatch_channel(channel.pk, now=NOW + 4 * HOUR)
    assert wire.log == []
    assert make.states(found, customer_id=may_not) == {"gap:deadline": 1}
    touch = Touch.objects.get(customer_id=may_wait)
    assert (touch.state, touch.due_at) == ("planned", NOW + DAY + 10 * MINUTE)
    make.ran_until(touch.due_at)
    dispatch.dispatch_channel(channel.pk, now=touch.due_at)
    assert make.states(found, customer_id=may_wait) == {"sent": 1}


def test_a_paused_channel_or_channel_plan_is_no_other_than_a_paused_campaign():
    channel = make.channel()
    found = make.campaign([channel])
    make.released(found, make.customers(1), deadline_at=NOW + 2 * DAY)
    dispatch.tick(lambda _channel: None, NOW)
    found.channel_plans.update(paused_at=NOW)
    for half_hour in range(1, 8):
        dispatch.tick(
            lambda number: dispatch.dispatch_channel(number, now=NOW), NOW + half_hour * 30 * MINUTE
        )
    found.channel_plans.update(paused_at=None)
    dispatch.dispatch_channel(channel.pk, now=NOW + 4 * HOUR)
    assert (Touch.objects.get().state, Touch.objects.get().due_at) == ("planned", NOW + DAY)


def test_the_next_day_is_the_persons_own_through_daylight_saving():
    """Due at 10:00 in Berlin on the eve of the change to summer time: 10:00 the next day is 23 hours later."""
    berlin = ZoneInfo("Europe/Berlin")
    due = dt.datetime(2026, 3, 28, 10, 0, tzinfo=berlin).astimezone(dt.UTC)
    channel = make.channel()
    found = make.campaign([channel], now=due - 3 * HOUR)
    make.released(found, make.customers(1, zone="Europe/Berlin"), due_at=due, deadline_at=due + 3 * DAY)
    paused_for(found, channel, due - HOUR, due + 4 * HOUR)
    dispatch.dispatch_channel(channel.pk, now=due + 5 * HOUR)
    moved = Touch.objects.get().due_at
    assert moved.astimezone(berlin) == dt.datetime(2026, 3, 29, 10, 0, tzinfo=berlin)
    assert moved - due == 23 * HOUR


def test_an_open_touch_past_its_deadline_ends_with_the_cause_that_last_held_it():
    channel, stopped = make.channel(), make.channel()
    people = make.customers(3)
    found = make.campaign([channel, stopped])
    make.released(found, people[:1], [channel], deadline_at=NOW + HOUR)
    make.released(found, people[1:2], [channel], deadline_at=NOW + HOUR)
    make.released(found, people[2:], [stopped], deadline_at=NOW + HOUR)
    Touch.objects.filter(customer_id=people[1]).update(deferred="budget")
    Campaign.objects.update(state="paused")
    type(stopped).objects.filter(pk=stopped.pk).update(state="stopped")
    assert dispatch.sweep(NOW + 59 * MINUTE).overdue == 0
    assert dispatch.sweep(NOW + HOUR).overdue == 3
    assert [make.states(found, customer_id=person) for person in people] == [
        {"gap:deadline": 1},
        {"gap:budget": 1},
        {"gap:channel_stopped": 1},
    ]


# Outages, restores, clocks -----------------------------------------------------------------------


def test_after_an_outage_nothing_overdue_goes_before_somebody_has_looked():
    wire = Wire()
    channel = make.channel(wire=wire)
    overdue, in_time = make.campaign([channel]), make.campaign([channel])
    people = make.customers(1)
    make.released(overdue, people, due_at=NOW + 10 * MINUTE, deadline_at=NOW + 5 * DAY)
    make.released(in_time, people, due_at=NOW + 6 * HOUR, deadline_at=NOW + 5 * DAY)
    dispatch.tick(lambda _channel: None, NOW)
    back = NOW + 6 * HOUR  # nothing ran in between
    dispatch.tick(lambda number: dispatch.dispatch_channel(number, now=back), back)
    overdue.refresh_from_db()
    assert overdue.state == "paused"
    assert "restored from a copy" in overdue.state_reason
    assert (make.states(overdue), make.states(in_time)) == ({"planned": 1}, {"sent": 1})
    Campaign.objects.update(state="running")  # somebody has looked
    dispatch.dispatch_channel(channel.pk, now=back + MINUTE)
    assert make.states(overdue) == {"planned": 1}
    assert Touch.objects.get(campaign_id=overdue.pk).due_at == NOW + DAY + 10 * MINUTE


def test_a_backlog_is_no_pause():
    """A slow channel works through what is due since long: dispatch ran all the while."""
    channel = make.channel(wire=(wire := Wire()))
    found = make.campaign([channel])
    make.released(found, make.customers(30))
    at = NOW
    while len(wire.log) < 30:
        dispatch.dispatch_channel(channel.pk, now=at, limit=3)
        at += 30 * MINUTE
    assert make.states(found) == {"sent": 30}


def test_a_clock_that_jumps_ahead_and_back_loses_nothing_and_sends_nothing_twice():
    wire = Wire()
    channel = make.channel(wire=wire)
    make.rule(1, 24)
    people = make.customers(2)
    found = make.campaign([channel])
    make.released(found, people[:1])
    make.released(found, people[1:], due_at=NOW + HOUR)
    dispatch.dispatch_channel(channel.pk, now=NOW + 10 * MINUTE)
    wrong = NOW + 30 * DAY  # beyond every deadline
    dispatch.tick(lambda number: dispatch.dispatch_channel(number, now=wrong), wrong)
    dispatch.sweep(wrong + MINUTE)
    assert Campaign.objects.get().state == "paused"  # it looks like an outage
    assert make.states(found) == {"sent": 1, "planned": 1}
    Campaign.objects.update(state="running")
    dispatch.tick(lambda number: dispatch.dispatch_channel(number, now=NOW + HOUR), NOW + HOUR)
    assert (make.states(found), len(wire.log)) == ({"sent": 2}, 2)
    assert Clock.objects.get(name="dispatch").at == NOW + HOUR
    other = make.campaign([channel])
    make.released(other, people)
    dispatch.dispatch_channel(channel.pk, now=NOW + HOUR)
    assert make.states(other) == {"planned": 2}


def test_after_a_long_outage_deadlines_hold_again_once_things_run_steadily():
    channel = make.channel()
    found = make.campaign([channel])
    make.released(found, make.customers(1), deadline_at=NOW + HOUR)
    dispatch.tick(lambda _channel: None, NOW)
    back = NOW + 2 * DAY
    assert dispatch.sweep(back).overdue == 0
    make.ran_until(back + lateness.STEADY)
    Clock.objects.filter(name=lateness.AGAIN).update(at=back)
    assert dispatch.sweep(back + lateness.STEADY + MINUTE).overdue == 1
    assert make.states(found) == {"gap:deadline": 1}


def test_lateness_is_stated():
    assert lateness.LATENESS == HOUR

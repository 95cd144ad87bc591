"""Messages a day are exact under threads, for a channel and for a campaign on it; the rest waits for the next day."""

import datetime as dt

import pytest

from campaigns import dispatch, settlement
from campaigns.dispatch.claiming import lease_time
from campaigns.models import Attempt, DayCount, Touch
from campaigns.settlement import Told
from channels.adapters.base import Outcome, Sent
from channels.models import ChannelCapacity
from tests import factories as make
from tests.factories import DAY, HOUR, MINUTE, NOW
from tests.test_pressure import in_threads
from tests.test_sweep_and_lateness import kill, killed_turn
from tests.wire import Wire

pytestmark = pytest.mark.django_db(transaction=True)
MIDNIGHT = dt.datetime(2026, 3, 2, 16, 0, tzinfo=dt.UTC)  # the next day begins in Shanghai


def test_four_workers_send_no_more_a_day_than_the_channel_takes():
    wire = Wire(batch_size=4)
    channel = make.channel(wire=wire, daily_capacity=35)
    campaigns = [make.campaign([channel]) for _ in range(2)]
    for found in campaigns:
        make.released(found, make.customers(40))
    for day, total in enumerate((35, 70, 80)):
        at = NOW + day * DAY
        make.ran_until(at)
        in_threads(
            4, lambda n, at=at: dispatch.dispatch_channel(channel.pk, now=at, worker=f"w{n}", limit=12)
        )
        dispatch.dispatch_channel(channel.pk, now=at)
        assert len(wire.log) == total
    assert dict(DayCount.objects.filter(campaign_id=0).values_list("day", "taken")) == {
        dt.date(2026, 3, 2): 35, dt.date(2026, 3, 3): 35, dt.date(2026, 3, 4): 10,
    }  # fmt: skip


def test_what_is_beyond_the_day_waits_for_the_next_with_its_cause():
    channel = make.channel(daily_capacity=100)
    ChannelCapacity.objects.create(channel=channel, day=dt.date(2026, 3, 2), messages=1)
    found = make.campaign([channel])
    make.released(found, make.customers(3))
    dispatch.dispatch_channel(channel.pk, now=NOW)
    waiting = Touch.objects.filter(state="planned")
    assert set(waiting.values_list("deferred", "due_at")) == {("capacity", MIDNIGHT)}
    make.ran_until(MIDNIGHT)
    dispatch.dispatch_channel(channel.pk, now=MIDNIGHT + MINUTE)
    assert make.states(found) == {"sent": 3}


def test_a_campaigns_own_limit_leaves_the_channel_to_others():
    channel = make.channel()
    small, large = make.campaign([channel]), make.campaign([channel])
    small.channel_plans.update(daily_limit=2)
    make.released(small, make.customers(5))
    make.released(large, make.customers(5))
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert (make.states(small), make.states(large)) == ({"sent": 2, "planned": 3}, {"sent": 5})


def test_what_came_back_unsent_takes_no_place_of_the_day():
    answers = {}

    def answer(message):
        turn = answers[message.address] = answers.get(message.address, 0) + 1
        return Sent(message.attempt_id, Outcome.THROTTLED, retry_after=60) if turn == 1 else Outcome.ACCEPTED

    channel = make.channel(wire=Wire(answer), daily_capacity=3)
    found = make.campaign([channel])
    make.released(found, make.customers(3))
    dispatch.dispatch_channel(channel.pk, now=NOW)
    dispatch.dispatch_channel(channel.pk, now=NOW + HOUR / 2)
    assert make.states(found) == {"sent": 3}
    assert DayCount.objects.get().taken == 3


def test_a_dead_worker_leaves_no_place_of_the_day_taken_and_none_is_given_back_twice():
    wire = Wire(before=kill, batch_size=2)
    channel = make.channel(wire=wire, daily_capacity=6)
    found = make.campaign([channel])
    make.released(found, make.customers(4))
    killed_turn(channel)
    assert DayCount.objects.get().taken == 4
    later = NOW + lease_time() + MINUTE
    for _turn in range(2):
        dispatch.sweep(later)
    assert make.states(found) == {"unknown": 2, "planned": 2}
    assert DayCount.objects.get().taken == 2, "what may have been handed over keeps its place"
    facts = [
        Told(row.campaign_id, row.id, "withdrawn", later, again_at=later)
        for row in Attempt.objects.filter(state="throttled")
    ]
    assert len(facts) == 2
    settlement.apply(facts, later)
    assert DayCount.objects.get().taken == 2
    wire.before = None
    dispatch.dispatch_channel(channel.pk, now=later + MINUTE)
    assert make.states(found) == {"unknown": 2, "sent": 2}


def test_a_limit_of_nothing_is_a_gap_of_capacity_at_the_deadline():
    channel = make.channel(daily_capacity=0)
    found = make.campaign([channel])
    make.released(found, make.customers(2), deadline_at=NOW + 2 * HOUR)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    make.ran_until(NOW + 2 * HOUR)
    dispatch.sweep(NOW + 2 * HOUR)
    assert make.states(found) == {"gap:capacity": 2}

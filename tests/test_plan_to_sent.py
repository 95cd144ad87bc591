"""The road from a plan to what was sent: the planner's own release, several rounds, hours, budgets, and its end."""

from collections import Counter
from decimal import Decimal

import pytest

from campaigns import dispatch, doctor, exits, lifecycle, rounds
from campaigns.models import Attempt, Budget, Campaign, MemberTarget, Touch
from campaigns.planner import make_plan
from campaigns.release import release
from channels.adapters.base import Outcome, Sent
from tests import factories as make
from tests import plan_rows as rows
from tests.factories import DAY, HOUR
from tests.wire import Wire, install

pytestmark = pytest.mark.django_db(transaction=True)
NOW = rows.NOON


def started(campaign):
    plan = make_plan(campaign, user=None, now=NOW)
    rounds.write_rounds(campaign, 1)
    release(campaign, plan, now=NOW)
    Campaign.objects.filter(pk=campaign.pk).update(state="running")


def run_out(channels, days):
    for hour in range(0, 24 * days, 3):
        at = NOW + hour * HOUR
        make.ran_until(at)
        for channel in channels:
            dispatch.dispatch_channel(channel.pk, now=at)
        dispatch.sweep(at)
        lifecycle.finish_due(at)


def test_what_was_planned_is_sent_once_and_every_shortfall_has_its_cause():
    def answer(message):
        return Sent(message.attempt_id, Outcome.REFUSED) if message.attempt_id % 10 == 0 else Outcome.ACCEPTED

    wires = {medium: Wire(answer) for medium in ("email", "sms")}
    channels = [rows.channel(medium, adapter=install(wire).name) for medium, wire in wires.items()]
    make.rule(3, 72)
    people = rows.customers(25, ("email", "sms")) + rows.customers(5, ("email",), zone="America/New_York")
    campaign = rows.campaign(
        people, channels, {"email": 3, "sms": 2}, days=10, gap=36, round_days=5, budget=Decimal(9),
        plans={"day_parts": [{"from": "09:00", "to": "20:00"}]},
    )  # fmt: skip
    started(campaign)
    planned = Touch.objects.count()
    assert planned > 100
    run_out(channels, 12)
    campaign.refresh_from_db()
    states = make.states(campaign)
    assert campaign.state == "finished"
    assert {name.partition(":")[0] for name in states} <= {"sent", "gap"}
    assert sum(states.values()) == planned
    # What the far sides saw is what we say we sent, and never more than the target.
    accepted = sum(1 for wire in wires.values() for message in wire.log if message.attempt_id % 10)
    assert accepted == states["sent"] == Attempt.objects.filter(state="accepted").count()
    cells = Counter(Touch.objects.filter(state="sent").values_list("customer_id", "channel_id", "round"))
    targets = {
        tuple(key): target
        for *key, target in MemberTarget.objects.values_list("customer_id", "channel_id", "round", "target")
    }
    assert all(n <= targets[cell] for cell, n in cells.items())
    assert Budget.objects.get().spent <= 9
    # At least 36 hours apart on a channel.
    for person in people:
        for channel in channels:
            at = sorted(
                Touch.objects.filter(customer_id=person.pk, channel_id=channel.pk, state="sent").values_list(
                    "state_at", flat=True
                )
            )
            assert all(later - earlier >= 36 * HOUR for earlier, later in zip(at, at[1:], strict=False))
    assert doctor.examine(NOW + 12 * DAY) == []


def test_a_touch_that_comes_back_after_the_stop_is_let_go(make_user):
    wire = Wire(lambda message: Sent(message.attempt_id, Outcome.THROTTLED, retry_after=60))
    channel = make.channel(wire=wire)
    found = make.campaign([channel])
    make.released(found, make.customers(3))
    user = make_user("marketer", "marketer")

    def stop(_batch):
        wire.before = None
        lifecycle.stop(found, user, "wrong price", make.NOW)
        exits.release_touches(found.pk, None, "campaign_stopped", make.NOW)

    wire.before = stop
    dispatch.dispatch_channel(channel.pk, now=make.NOW)
    assert make.states(found) == {"planned": 3}
    dispatch.sweep(make.NOW + HOUR / 2)
    assert make.states(found) == {"released:campaign_stopped": 3}

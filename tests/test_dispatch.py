"""Claim, call, record on a real database: who gets what, who does not and why."""

from decimal import Decimal

import psycopg
import pytest
from django.db import connection

from audiences.models import ContactState, Identity
from campaigns import content, dispatch, settlement
from campaigns.models import Attempt, Budget, BudgetLease, DispatchClaim, Touch
from campaigns.settlement import Told
from channels.adapters.base import AdapterError, Outcome, Sent
from tests import factories as make
from tests.factories import DAY, HOUR, MINUTE, NOW
from tests.wire import Wire

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_due_touch_is_sent_once_and_stands_as_sent():
    wire = Wire()
    channel = make.channel(wire=wire)
    people = make.customers(3)
    found = make.campaign([channel])
    make.released(found, people)
    done = dispatch.dispatch_channel(channel.pk, now=NOW)
    again = dispatch.dispatch_channel(channel.pk, now=NOW)
    assert (done.claimed, done.accepted, again.claimed) == (3, 3, 0)
    assert sorted(wire.addresses) == sorted(f"c{person}@example.com" for person in people)
    assert make.states(found) == {"sent": 3}
    attempts = list(
        Attempt.objects.order_by("customer_id").values_list("state", "n", "cost", "sent_at", "reference")
    )
    ids = list(Attempt.objects.order_by("customer_id").values_list("id", flat=True))
    assert attempts == [("accepted", 1, Decimal("0.05"), NOW, f"ref-{number}") for number in ids]
    assert set(Touch.objects.values_list("cost", "attempts", "state_at")) == {(Decimal("0.05"), 1, NOW)}
    assert DispatchClaim.objects.count() == 0


def test_what_is_not_due_or_not_running_is_left_alone():
    channel = make.channel()
    people = make.customers(1)
    later = make.campaign([channel])
    make.released(later, people, due_at=NOW + MINUTE)
    paused = make.campaign([channel], state="paused")
    make.released(paused, people)
    resting = make.campaign([channel])
    make.released(resting, people)
    resting.channel_plans.update(paused_at=NOW)
    assert dispatch.dispatch_channel(channel.pk, now=NOW).claimed == 0
    assert make.states() == {"planned": 3}


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        ({"allowed": []}, "no_consent"),
        ({"blocked": ["contact:{brand}:email"]}, "opted_out"),
        ({"blocked": ["contact:*:email"]}, "opted_out"),
        ({"blocked": ["contact:{brand}:*"]}, "opted_out"),
        ({"blocked": ["contact:*:*"]}, "opted_out"),
        ({"erased": True}, "erased"),
    ],
)
def test_a_person_who_may_not_be_contacted_is_a_gap_with_its_cause(spoil, cause):
    wire = Wire()
    channel = make.channel(wire=wire)
    people = make.customers(1)
    found = make.campaign([channel])
    make.released(found, people)
    spoil = {
        name: [key.format(brand=channel.brand_id) for key in value] if isinstance(value, list) else value
        for name, value in spoil.items()
    }
    ContactState.objects.filter(pk__in=people).update(**spoil)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert (make.states(found), wire.log) == ({f"gap:{cause}": 1}, [])


def test_a_block_of_another_medium_or_brand_does_not_count():
    channel = make.channel()
    people = make.customers(1)
    found = make.campaign([channel])
    make.released(found, people)
    ContactState.objects.filter(pk__in=people).update(
        blocked=["contact:999:email", "contact:*:sms", "upload:*:*"]
    )
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert make.states(found) == {"sent": 1}


def test_without_a_valid_address_it_is_a_gap():
    channel = make.channel()
    people = make.customers(1)
    found = make.campaign([channel])
    make.released(found, people)
    Identity.objects.update(invalid_at=NOW)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert make.states(found) == {"gap:no_identity": 1}


def test_a_capped_customer_is_deferred_until_its_place_frees_and_then_sent():
    wire = Wire()
    channel = make.channel(wire=wire)
    make.rule(1, 24)
    people = make.customers(1)
    first, second = make.campaign([channel]), make.campaign([channel])
    make.released(first, people)
    make.released(second, people, deadline_at=NOW + 3 * DAY)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert make.states() == {"sent": 1, "planned": 1}
    waiting = Touch.objects.get(state="planned")
    assert waiting.deferred == "pressure"
    assert NOW + DAY <= waiting.due_at <= NOW + DAY + MINUTE
    for hour in range(1, 25):
        dispatch.dispatch_channel(channel.pk, now=NOW + hour * HOUR)
        assert len(wire.log) == 1
    dispatch.dispatch_channel(channel.pk, now=NOW + DAY + MINUTE)
    assert make.states() == {"sent": 2}


def test_a_capped_touch_whose_deadline_comes_first_is_a_gap_of_pressure():
    channel = make.channel()
    make.rule(1, 48)
    people = make.customers(1)
    first, second = make.campaign([channel], priority=60), make.campaign([channel])
    make.released(first, people)
    make.released(second, people, deadline_at=NOW + DAY)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    for hour in range(1, 25):
        dispatch.dispatch_channel(channel.pk, now=NOW + hour * HOUR)
    assert (make.states(first), make.states(second)) == ({"sent": 1}, {"gap:pressure": 1})


def test_several_rules_hold_at_once_and_each_counts_its_own_channels():
    wire, other = Wire(), Wire()
    mail, text = make.channel(wire=wire), make.channel("sms", wire=other)
    make.rule(3, 168)
    make.rule(1, 24, medium="email")
    people = make.customers(1, ("email", "sms"))
    for channel in (mail, mail, text, text, text):
        make.released(make.campaign([channel]), people)
    dispatch.dispatch_channel(mail.pk, now=NOW)
    dispatch.dispatch_channel(text.pk, now=NOW)
    # One email (its own rule), and two texts until all together are three.
    assert (len(wire.log), len(other.log)) == (1, 2)
    assert make.states() == {"sent": 3, "planned": 2}


def test_a_cap_of_zero_lets_nobody_through():
    wire = Wire()
    channel = make.channel(wire=wire)
    make.rule(0, 24)
    found = make.campaign([channel])
    make.released(found, make.customers(2), deadline_at=NOW + DAY)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    for hour in range(1, 25):
        dispatch.dispatch_channel(channel.pk, now=NOW + hour * HOUR)
    assert (wire.log, make.states(found)) == ([], {"gap:pressure": 2})


def test_the_higher_priority_takes_the_last_place_on_the_same_channel():
    wire = Wire()
    channel = make.channel(wire=wire)
    make.rule(1, 24)
    people = make.customers(20)
    low, high = make.campaign([channel], priority=10), make.campaign([channel], priority=90)
    make.released(low, people, due_at=NOW - MINUTE)
    make.released(high, people)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert (make.states(low), make.states(high)) == ({"planned": 20}, {"sent": 20})


def test_the_higher_priority_takes_the_last_place_on_another_channel():
    mail, text = make.channel(), make.channel("sms")
    make.rule(1, 24)
    people = make.customers(5, ("email", "sms"))
    low, high = make.campaign([mail], priority=10), make.campaign([text], priority=90)
    make.released(low, people)
    make.released(high, people)
    dispatch.dispatch_channel(mail.pk, now=NOW)
    assert make.states(low) == {"planned": 5}
    dispatch.dispatch_channel(text.pk, now=NOW)
    dispatch.dispatch_channel(mail.pk, now=NOW + MINUTE)
    assert (make.states(low), make.states(high)) == ({"planned": 5}, {"sent": 5})


def test_a_touch_waits_for_the_one_before_it_and_for_its_gap():
    wire = Wire()
    channel = make.channel(wire=wire)
    people = make.customers(1)
    found = make.campaign([channel], touches=3, gap_hours=24)
    make.released(found, people, touches=3, every=MINUTE)
    at = NOW + 5 * MINUTE
    for _hour in range(100):
        dispatch.dispatch_channel(channel.pk, now=at)
        at += HOUR
    sent = list(Touch.objects.order_by("ordinal").values_list("ordinal", "state", "state_at"))
    assert [(ordinal, state) for ordinal, state, _at in sent] == [(1, "sent"), (2, "sent"), (3, "sent")]
    gaps = [later[2] - earlier[2] for earlier, later in zip(sent, sent[1:], strict=False)]
    assert all(gap >= DAY for gap in gaps)
    assert all(gap <= DAY + 2 * HOUR for gap in gaps)


def test_a_touch_of_the_next_round_waits_for_a_task_that_nobody_confirmed_yet_and_for_its_gap():
    wire = Wire(lambda message: Outcome.HELD)
    channel = make.channel(wire=wire)
    people = make.customers(1)
    found = make.campaign([channel], rounds=2, gap_hours=24)
    make.released(found, people, rounds=2, every=MINUTE)
    dispatch.dispatch_channel(channel.pk, now=NOW + 5 * MINUTE)
    make.ran_until(NOW + 2 * DAY)
    dispatch.dispatch_channel(channel.pk, now=NOW + 2 * DAY)
    assert make.states(found) == {"held": 1, "planned": 1}
    (attempt,) = Attempt.objects.all()
    confirmed = NOW + 3 * DAY
    settlement.apply([Told(found.pk, attempt.id, "sent", confirmed)], confirmed)
    make.ran_until(confirmed + 12 * HOUR)
    dispatch.dispatch_channel(channel.pk, now=confirmed + 12 * HOUR)
    assert make.states(found) == {"sent": 1, "planned": 1}
    make.ran_until(confirmed + 25 * HOUR)
    dispatch.dispatch_channel(channel.pk, now=confirmed + 25 * HOUR)
    assert make.states(found) == {"sent": 1, "held": 1}


def test_a_budget_is_never_overspent_and_the_rest_is_a_gap():
    channel = make.channel()
    found = make.campaign([channel], budget="0.52", channel_budget="1.00")
    make.released(found, make.customers(20), deadline_at=NOW + DAY)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert make.states(found) == {"sent": 10, "planned": 10}
    assert set(Budget.objects.values_list("channel_id", "spent", "leased")) == {
        (None, Decimal("0.50"), Decimal(0)),
        (channel.pk, Decimal("0.50"), Decimal(0)),
    }
    assert BudgetLease.objects.count() == 0
    for hour in range(1, 25):
        dispatch.dispatch_channel(channel.pk, now=NOW + hour * HOUR)
    assert make.states(found) == {"sent": 10, "gap:budget": 10}


def test_a_refused_address_gives_its_place_back_and_the_next_address_is_tried():
    def answer(message):
        if message.address.startswith("old"):
            return Sent(message.attempt_id, Outcome.REFUSED, code="5.1.1", invalid_address=True)
        return Outcome.ACCEPTED

    wire = Wire(answer)
    channel = make.channel(wire=wire)
    make.rule(1, 24)
    (person,) = make.customers(1)
    Identity.objects.create(customer_id=person, kind="email", value="old@example.com", source="")
    found = make.campaign([channel])
    make.released(found, [person])
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert wire.addresses == ["old@example.com", f"c{person}@example.com"]
    assert make.states(found) == {"sent": 1}
    assert list(Attempt.objects.order_by("n").values_list("n", "state")) == [(1, "refused"), (2, "accepted")]
    assert Identity.objects.get(value="old@example.com").invalid_reason == "5.1.1"
    state = ContactState.objects.get(pk=person)
    assert state.recent_attempts == [Attempt.objects.get(n=2).id]


def test_a_refusal_for_good_is_a_gap_and_frees_the_place():
    wire = Wire(lambda message: Sent(message.attempt_id, Outcome.REFUSED, code="550"))
    channel = make.channel(wire=wire)
    found = make.campaign([channel], budget="10")
    people = make.customers(2)
    make.released(found, people)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert make.states(found) == {"gap:refused": 2}
    assert [state.recent_attempts for state in ContactState.objects.filter(pk__in=people)] == [[], []]
    assert list(Budget.objects.values_list("spent", "leased")) == [(Decimal(0), Decimal(0))]


def test_a_throttled_touch_is_planned_again_and_nothing_is_kept_of_it():
    answers = [Sent(0, Outcome.THROTTLED, code="busy", retry_after=60), Outcome.ACCEPTED]

    def answer(message):
        told = answers.pop(0)
        return (
            Sent(message.attempt_id, told.outcome, code=told.code, retry_after=60)
            if isinstance(told, Sent)
            else told
        )

    channel = make.channel(wire=Wire(answer))
    found = make.campaign([channel])
    people = make.customers(1)
    make.released(found, people)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    touch = Touch.objects.get()
    assert (touch.state, touch.deferred, touch.due_at) == ("planned", "capacity", NOW + MINUTE)
    assert ContactState.objects.get(pk=people[0]).recent_attempts == []
    dispatch.dispatch_channel(channel.pk, now=NOW + 2 * MINUTE)
    assert make.states(found) == {"sent": 1}


def test_an_unknown_outcome_is_never_tried_again_and_keeps_place_and_money():
    wire = Wire(lambda message: Outcome.UNKNOWN)
    channel = make.channel(wire=wire)
    make.rule(1, 24)
    found = make.campaign([channel], budget="10")
    people = make.customers(1)
    make.released(found, people)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    dispatch.dispatch_channel(channel.pk, now=NOW + 3 * DAY)
    make.ran_until(NOW + 30 * DAY)
    dispatch.sweep(NOW + 30 * DAY)
    assert (len(wire.log), make.states(found)) == (1, {"unknown": 1})
    assert len(ContactState.objects.get(pk=people[0]).recent_attempts) == 1
    assert Budget.objects.get().spent == Decimal("0.05")


def test_an_adapter_that_breaks_leaves_its_batch_unknown():
    def broken(_batch):
        raise RuntimeError("the library broke")

    wire = Wire(before=broken)
    channel = make.channel(wire=wire)
    found = make.campaign([channel])
    make.released(found, make.customers(2))
    done = dispatch.dispatch_channel(channel.pk, now=NOW)
    assert (done.unknown, make.states(found)) == (2, {"unknown": 2})


def test_a_call_that_failed_before_anything_arrived_is_tried_again():
    failures = [AdapterError("no route", code="connect", retryable=True, retry_after=30)]

    def before(_batch):
        if failures:
            raise failures.pop()

    wire = Wire(before=before)
    channel = make.channel(wire=wire)
    found = make.campaign([channel])
    make.released(found, make.customers(2))
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert make.states(found) == {"planned": 2}
    dispatch.dispatch_channel(channel.pk, now=NOW + 2 * MINUTE)
    assert make.states(found) == {"sent": 2}


def test_a_database_that_goes_away_while_words_are_looked_for_makes_no_gap(monkeypatch):
    """The connection is ended by the server just before a link of a message is kept."""
    wire = Wire()
    channel = make.channel(wire=wire)
    found = make.campaign([channel])
    version = make.message("email", "Hello {{name|friend}}, see https://shop.example/new")
    make.released(found, make.customers(3), version=version)
    fill, ended = content.PreparedMessage.fill, []

    def ending(self, *arguments, **fields):
        if not ended:
            ended.append(connection.connection.info.backend_pid)
            with psycopg.connect(make.database_url(), autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 2000)", ended)
        return fill(self, *arguments, **fields)

    monkeypatch.setattr(content.PreparedMessage, "fill", ending)
    done = dispatch.dispatch_channel(channel.pk, now=NOW)
    assert ended
    assert (done.accepted, make.states(found)) == (3, {"sent": 3})
    assert len(wire.log) == 3


def test_an_error_that_a_person_must_mend_stops_the_channel_and_waits_for_it():
    def before(_batch):
        raise AdapterError("bad password", code="535", stops_channel=True)

    channel = make.channel(wire=Wire(before=before))
    found = make.campaign([channel])
    make.released(found, make.customers(2), deadline_at=NOW + HOUR)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    channel.refresh_from_db()
    assert (channel.state, channel.state_reason) == ("stopped", "535: bad password")
    assert make.states(found) == {"planned": 2}
    make.ran_until(NOW + 2 * HOUR)
    dispatch.sweep(NOW + 2 * HOUR)
    assert make.states(found) == {"gap:channel_stopped": 2}


def test_a_touch_without_content_is_a_gap_and_holds_nobody_else():
    wire = Wire()
    channel = make.channel(wire=wire)
    first, second = make.customers(2)
    found = make.campaign([channel])
    make.released(found, [first, second])
    Touch.objects.filter(customer_id=first).update(message_version_id=None)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert make.states(found) == {"gap:content": 1, "sent": 1}


def test_hours_are_those_of_the_recipients_zone():
    wire = Wire()
    channel = make.channel(wire=wire)
    here = make.customers(2)
    far = make.customers(2, zone="America/New_York")  # 23:00 of the day before
    found = make.campaign([channel], day_parts=[{"from": "09:00", "to": "20:00"}])
    make.released(found, here + far)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert sorted(wire.addresses) == sorted(f"c{person}@example.com" for person in here)
    waiting = Touch.objects.filter(state="planned")
    assert set(waiting.values_list("deferred", "due_at")) == {("hours", NOW + 10 * HOUR)}  # 09:00 in New York
    dispatch.dispatch_channel(channel.pk, now=NOW + 10 * HOUR)
    assert make.states(found) == {"sent": 4}


def test_a_touch_is_held_by_nothing_but_its_keys():
    """No row of these tables is named by its place on the disk (ctid), and sessions commit to it."""
    channel = make.channel()
    found = make.campaign([channel])
    make.released(found, make.customers(1))
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit TO off")
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert make.states(found) == {"sent": 1}

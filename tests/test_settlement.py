"""Receipts: late, repeated, out of order, before the answer, lost; each attempt ends once, with place and money."""

import itertools
from decimal import Decimal

import pytest

from audiences.models import ContactState, Identity
from campaigns import dispatch, doctor, responses, settlement
from campaigns.models import Attempt, Budget, ProviderReference, Touch
from campaigns.settlement import Told
from channels import inbox
from channels.adapters.base import Inbound, Outcome, Receipt, Sent
from channels.models import InboxEvent
from channels.vocabulary import Guarantee
from tests import factories as make
from tests.factories import DAY, HOUR, MINUTE, NOW
from tests.wire import Wire

pytestmark = pytest.mark.django_db(transaction=True)
_keys = itertools.count(1)


def receipt(channel, kind, reference, at=NOW, key="", **fields):
    event = Inbound(
        dedupe_key=key or f"r{next(_keys)}", occurred_at=at, receipt=kind, reference=reference, **fields
    )
    inbox.store(channel, [event], max(at, NOW))
    return event


def one_sent(answer=None, *, people=1, budget="10", **wire):
    """(channel, campaign) of one touch handed over, answered as told."""
    channel = make.channel(wire=Wire(answer, **wire))
    make.rule(1, 24)
    found = make.campaign([channel], budget=budget)
    make.released(found, make.customers(people))
    dispatch.dispatch_channel(channel.pk, now=NOW)
    return channel, found


def places():
    return sum(len(state.recent_attempts) for state in ContactState.objects.all())


def money():
    budget = Budget.objects.get()
    return budget.spent, budget.leased


def all_is_well():
    assert [
        (finding.question.name, finding.count) for finding in doctor.examine(NOW) if finding.question.broken
    ] == []


def test_a_receipt_by_the_providers_reference_settles_the_attempt_it_names():
    channel, found = one_sent()
    attempt = Attempt.objects.get()
    receipt(channel, Receipt.DELIVERED, f"ref-{attempt.id}", NOW + HOUR)
    assert responses.drain(now=NOW + HOUR) == 1
    assert make.states(found) == {"delivered": 1}
    # The contact was when it was sent, not when we were told.
    assert Touch.objects.get().state_at == NOW
    assert Attempt.objects.get().settled_at == NOW + HOUR
    all_is_well()


def test_a_receipt_told_twice_changes_nothing_the_second_time():
    channel, found = one_sent()
    reference = f"ref-{Attempt.objects.get().id}"
    for key in ("a", "a", "b"):
        receipt(channel, Receipt.DELIVERED, reference, key=key)
    assert InboxEvent.objects.count() == 2
    responses.drain(now=NOW)
    assert responses.drain(now=NOW + HOUR) == 0
    assert (make.states(found), money(), places()) == ({"delivered": 1}, (Decimal("0.05"), Decimal(0)), 1)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("order", list(itertools.permutations(["accepted", "delivered", "bounced"])))
def test_a_delivery_is_never_undone_whatever_the_order(order, together):
    channel, found = one_sent()
    reference = f"ref-{Attempt.objects.get().id}"
    for minute, kind in enumerate(order, start=1):
        receipt(channel, Receipt(kind), reference, NOW + minute * MINUTE)
        if not together:
            responses.drain(now=NOW + minute * MINUTE)
    responses.drain(now=NOW + HOUR)
    assert (make.states(found), places()) == ({"delivered": 1}, 1)
    all_is_well()


def test_a_bounce_gives_the_place_back_and_wakes_who_waits_for_it():
    channel, found = one_sent()
    waiting = make.campaign([channel])
    make.released(waiting, list(Touch.objects.values_list("customer_id", flat=True)))
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert Touch.objects.get(campaign_id=waiting.pk).deferred == "pressure"
    receipt(channel, Receipt.BOUNCED, f"ref-{Attempt.objects.get().id}", NOW + MINUTE)
    responses.drain(now=NOW + 2 * MINUTE)
    assert (make.states(found), places()) == ({"gap:bounced": 1}, 0)
    dispatch.dispatch_channel(channel.pk, now=NOW + 3 * MINUTE)
    assert make.states(waiting) == {"sent": 1}
    all_is_well()


def test_a_bounce_of_an_address_that_is_gone_tries_the_next_one():
    wire = Wire()
    channel = make.channel(wire=wire)
    (person,) = make.customers(1)
    Identity.objects.create(customer_id=person, kind="email", value="old@example.com")
    found = make.campaign([channel])
    make.released(found, [person])
    dispatch.dispatch_channel(channel.pk, now=NOW)
    receipt(channel, Receipt.BOUNCED, f"ref-{Attempt.objects.get().id}", NOW + MINUTE, permanent=True)
    responses.drain(now=NOW + MINUTE)
    dispatch.dispatch_channel(channel.pk, now=NOW + 2 * MINUTE)
    assert wire.addresses == ["old@example.com", f"c{person}@example.com"]
    assert make.states(found) == {"sent": 1}
    assert Identity.objects.get(value="old@example.com").invalid_at is not None


def test_an_unknown_attempt_is_settled_by_our_own_reference_given_back():
    channel, found = one_sent(lambda message: Sent(message.attempt_id, Outcome.UNKNOWN))
    attempt = Attempt.objects.get()
    assert (attempt.state, attempt.reference) == ("unknown", "")
    receipt(channel, Receipt.DELIVERED, f"attempt-{attempt.id}", NOW + MINUTE)
    responses.drain(now=NOW + MINUTE)
    assert (make.states(found), money(), places()) == ({"delivered": 1}, (Decimal("0.05"), Decimal(0)), 1)
    all_is_well()


def test_our_id_in_the_detail_settles_and_teaches_us_the_reference():
    channel, found = one_sent(lambda message: Sent(message.attempt_id, Outcome.UNKNOWN))
    attempt = Attempt.objects.get()
    receipt(channel, Receipt.ACCEPTED, "msg-77", NOW + MINUTE, detail={"attempt_id": attempt.id})
    responses.drain(now=NOW + MINUTE)
    receipt(channel, Receipt.DELIVERED, "msg-77", NOW + HOUR)
    responses.drain(now=NOW + HOUR)
    assert make.states(found) == {"delivered": 1}
    assert ProviderReference.objects.get().reference == "msg-77"


def test_an_unknown_attempt_known_not_to_have_arrived_gives_all_back():
    channel, found = one_sent(lambda message: Sent(message.attempt_id, Outcome.UNKNOWN))
    receipt(channel, Receipt.REJECTED, f"attempt-{Attempt.objects.get().id}", NOW + MINUTE)
    responses.drain(now=NOW + MINUTE)
    assert (make.states(found), money(), places()) == ({"gap:refused": 1}, (Decimal(0), Decimal(0)), 0)
    all_is_well()


def test_another_channel_cannot_settle_our_attempt_by_its_number():
    channel, found = one_sent(lambda message: Sent(message.attempt_id, Outcome.UNKNOWN))
    other = make.channel()
    receipt(other, Receipt.DELIVERED, f"attempt-{Attempt.objects.get().id}")
    receipt(other, Receipt.DELIVERED, "x", detail={"attempt_id": Attempt.objects.get().id})
    responses.drain(now=NOW + HOUR)
    assert make.states(found) == {"unknown": 1}
    assert set(InboxEvent.objects.values_list("state", flat=True)) == {"ignored"}


def test_a_receipt_that_comes_before_the_answer_settles_and_the_answer_changes_nothing():
    channel = make.channel(wire=(wire := Wire()))
    make.rule(1, 24)
    found = make.campaign([channel], budget="10")
    make.released(found, make.customers(1))

    def before(batch):
        receipt(channel, Receipt.DELIVERED, f"attempt-{batch[0].attempt_id}")
        responses.drain(now=NOW)
        assert make.states(found) == {"delivered": 1}

    wire.before = before
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert (make.states(found), money(), places()) == ({"delivered": 1}, (Decimal("0.05"), Decimal(0)), 1)
    assert ProviderReference.objects.count() == 1  # what the answer said of it is kept
    all_is_well()


def test_a_receipt_whose_reference_is_on_its_way_waits_and_is_then_taken():
    channel, found = one_sent()
    attempt = Attempt.objects.get()
    ProviderReference.objects.all().delete()
    receipt(channel, Receipt.DELIVERED, f"ref-{attempt.id}")
    responses.drain(now=NOW + MINUTE)
    assert (make.states(found), InboxEvent.objects.get().state) == ({"sent": 1}, "new")
    ProviderReference.objects.create(
        channel_id=channel.pk, reference=f"ref-{attempt.id}", campaign_id=found.pk, attempt_id=attempt.id
    )
    responses.drain(now=NOW + 2 * MINUTE)
    assert (make.states(found), InboxEvent.objects.get().state) == ({"delivered": 1}, "drained")


def test_a_receipt_of_a_stranger_is_ignored_in_the_end_and_holds_nobody():
    channel, found = one_sent()
    receipt(channel, Receipt.DELIVERED, "not-ours")
    receipt(channel, Receipt.DELIVERED, f"ref-{Attempt.objects.get().id}")
    responses.drain(now=NOW + MINUTE)
    assert make.states(found) == {"delivered": 1}
    responses.drain(now=NOW + settlement.UNMATCHED_FOR + MINUTE)
    assert InboxEvent.objects.get(reference="not-ours").state == "ignored"


def held(confirm=None, **fields):
    wire = Wire(lambda message: Sent(message.attempt_id, Outcome.HELD, f"task:{message.attempt_id}"),
                guarantee=Guarantee.CONFIRMED_LATER)  # fmt: skip
    channel = make.channel(wire=wire, **fields)
    make.rule(1, 24)
    found = make.campaign([channel], budget="10")
    people = make.customers(1)
    make.released(found, people, deadline_at=NOW + 2 * DAY)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    return channel, found, people


def test_a_held_task_keeps_its_place_until_its_send_time_is_known_and_counts_from_then():
    channel, found, people = held()
    other = make.campaign([channel])
    make.released(other, people, deadline_at=NOW + 10 * DAY)
    assert (make.states(found), money()) == ({"held": 1}, (Decimal(0), Decimal("0.05")))
    # Longer than the window, and still nobody has confirmed: the place is taken.
    for hour in range(1, 40):
        dispatch.dispatch_channel(channel.pk, now=NOW + hour * HOUR)
    assert make.states(other) == {"planned": 1}
    sent_at = NOW + 40 * HOUR
    receipt(channel, Receipt.SENT, f"task:{Attempt.objects.get().id}", sent_at)
    responses.drain(now=sent_at + HOUR)
    touch = Touch.objects.get(campaign_id=found.pk)
    assert (touch.state, touch.state_at, money()) == ("sent", sent_at, (Decimal("0.05"), Decimal(0)))
    for hour in range(1, 24):
        dispatch.dispatch_channel(channel.pk, now=sent_at + hour * HOUR)
    assert make.states(other) == {"planned": 1}
    for hour in range(24, 28):
        dispatch.dispatch_channel(channel.pk, now=sent_at + hour * HOUR)
    assert make.states(other) == {"held": 1}
    all_is_well()


def test_a_task_that_expires_is_a_gap_of_the_employee_and_gives_all_back():
    channel, found, _people = held()
    receipt(channel, Receipt.EXPIRED, f"task:{Attempt.objects.get().id}", NOW + DAY)
    responses.drain(now=NOW + DAY)
    assert (make.states(found), money(), places()) == ({"gap:unconfirmed": 1}, (Decimal(0), Decimal(0)), 0)
    all_is_well()


def test_a_task_nobody_reports_on_ends_after_its_deadline_and_a_late_report_still_counts():
    channel, found, _people = held()
    attempt = Attempt.objects.get()
    dispatch.sweep(NOW + 2 * DAY + HOUR)
    assert make.states(found) == {"held": 1}
    dispatch.sweep(NOW + 6 * DAY)
    assert make.states(found) == {"gap:unconfirmed": 1}
    receipt(channel, Receipt.SENT, f"task:{attempt.id}", NOW + DAY)
    responses.drain(now=NOW + 7 * DAY)
    touch = Touch.objects.get()
    assert (touch.state, touch.state_at, money()) == ("sent", NOW + DAY, (Decimal("0.05"), Decimal(0)))
    assert ContactState.objects.get().recent_at == [NOW + DAY]
    all_is_well()


def test_a_failure_is_followed_by_a_delivery_only_while_nothing_else_began():
    channel, found = one_sent()
    attempt = Attempt.objects.get()
    facts = [Told(found.pk, attempt.id, "bounced", NOW)]
    settlement.apply(facts, NOW)
    assert make.states(found) == {"gap:bounced": 1}
    settlement.apply([Told(found.pk, attempt.id, "delivered", NOW + MINUTE)], NOW + MINUTE)
    assert (make.states(found), places()) == ({"delivered": 1}, 1)
    all_is_well()


def test_a_cost_that_a_provider_tells_counts_instead_of_the_price():
    channel, found = one_sent(lambda message: Sent(message.attempt_id, Outcome.ACCEPTED, "r", parts=2))
    assert (Attempt.objects.get().cost, money()[0]) == (Decimal("0.10"), Decimal("0.10"))
    receipt(channel, Receipt.DELIVERED, "r", NOW + MINUTE, detail={"cost": "0.07"})
    responses.drain(now=NOW + MINUTE)
    assert (Touch.objects.get().cost, money()) == (Decimal("0.07"), (Decimal("0.07"), Decimal(0)))


def test_a_broken_event_is_set_aside_and_the_others_go_on(monkeypatch):
    channel, found = one_sent(people=3)
    for attempt in Attempt.objects.order_by("id"):
        receipt(channel, Receipt.DELIVERED, f"ref-{attempt.id}")
    broken = InboxEvent.objects.order_by("id")[1]
    settle = settlement.settle

    def fails(events, now):
        if broken.pk in {event.pk for event in events}:
            raise ValueError("what is this?")
        return settle(events, now)

    monkeypatch.setattr(settlement, "settle", fails)
    responses.drain(now=NOW)
    assert make.states(found) == {"delivered": 2, "sent": 1}
    broken.refresh_from_db()
    assert (broken.state, broken.error) == ("poison", "ValueError: what is this?")

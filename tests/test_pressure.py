"""Contact policy: exact under threads and several campaigns, whatever is sent, refused or changed meanwhile."""

import random
import threading
from bisect import bisect_right
from collections import defaultdict
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction

from audiences.models import ContactState
from campaigns import dispatch, doctor, policy, pressure
from campaigns.models import Attempt, Budget, Clock, PressureRule, Touch
from campaigns.queries import lifecycle as lifecycle_queries
from campaigns.queries.pressure import frees_at_sql
from channels.adapters.base import Outcome, Sent
from tests import factories as make
from tests.factories import DAY, HOUR, MINUTE, NOW
from tests.wire import Wire

pytestmark = pytest.mark.django_db(transaction=True)


def in_threads(n, work):
    """Run ``work(number)`` in n threads with connections of their own; what they raised is raised here."""
    errors = []
    ready = threading.Barrier(n)

    def run(number):
        try:
            ready.wait(30)
            work(number)
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def broken_promises(now=NOW):
    return [
        (finding.question.name, finding.count) for finding in doctor.examine(now) if finding.question.broken
    ]


def reached():
    """Customer → times and channels of the contacts that may have reached them."""
    found = defaultdict(list)
    live = Attempt.objects.filter(state__in=["accepted", "delivered", "unknown", "held", "recorded"])
    for customer, channel, at in live.values_list("customer_id", "channel_id", "started_at"):
        found[customer].append((at, channel))
    return {customer: sorted(contacts) for customer, contacts in found.items()}


def over(rule, contacts):
    """How often a window of the rule held more than it may."""
    at = [moment for moment, channel in contacts if rule.counts(channel)]
    return sum(
        position - bisect_right(at, moment - timedelta(hours=rule.hours)) + 1 > rule.touches
        for position, moment in enumerate(at)
    )


@pytest.mark.parametrize("seed", range(2))
def test_no_window_of_any_rule_is_ever_exceeded_by_four_threads_and_two_campaigns(seed):
    """Random answers, random rules, random days: four threads on two channels, two campaigns on the same people."""
    chance = random.Random(seed)

    def answer(message):
        share = random.Random(f"{seed}/{message.attempt_id}").random()
        if share < 0.15:
            return Sent(message.attempt_id, Outcome.REFUSED, code="550")
        if share < 0.3:
            return Sent(message.attempt_id, Outcome.THROTTLED, retry_after=600)
        return Outcome.UNKNOWN if share < 0.35 else Outcome.ACCEPTED

    mail = make.channel(wire=Wire(answer, batch_size=7))
    text = make.channel("sms", wire=Wire(answer, batch_size=5))
    people = make.customers(60, ("email", "sms"))
    make.rule(chance.randint(1, 3), 24)
    make.rule(chance.randint(2, 4), 72)
    make.rule(1, 36, medium="sms")
    for _campaign in range(2):
        found = make.campaign([mail, text], touches=4, gap_hours=1)
        make.released(found, people, touches=4, every=12 * HOUR, deadline_at=NOW + 12 * DAY)
    rules = pressure.rules_in_force(NOW)
    for step in range(12):
        at = NOW + step * 15 * HOUR
        make.ran_until(at)
        in_threads(
            4, lambda n, at=at: dispatch.dispatch_channel((mail, text)[n % 2].pk, now=at, worker=f"w{n}")
        )
    make.ran_until(NOW + 13 * DAY)
    dispatch.sweep(NOW + 13 * DAY)
    contacts = reached()
    assert sum(len(found) for found in contacts.values()) > 200
    assert {
        customer: over(rule, found)
        for customer, found in contacts.items()
        for rule in rules
        if over(rule, found)
    } == {}
    assert make.states(None, state__in=["planned", "claimed"]) == {}
    assert broken_promises(NOW + 13 * DAY) == []


def test_four_threads_at_once_never_take_one_place_twice():
    wires = [Wire(batch_size=10) for _ in range(2)]
    channels = [make.channel(medium, wire=wire) for medium, wire in zip(("email", "sms"), wires, strict=True)]
    people = make.customers(200, ("email", "sms"))
    make.rule(1, 24)
    for priority in (40, 60):
        found = make.campaign(channels, priority=priority)
        make.released(found, people)
    in_threads(4, lambda n: dispatch.dispatch_channel(channels[n % 2].pk, now=NOW, worker=f"w{n}"))
    assert sum(len(wire.log) for wire in wires) == 200
    assert all(len(contacts) == 1 for contacts in reached().values())
    assert broken_promises() == []


def frees_at(rules, state, now=NOW):
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {frees_at_sql(rules)} FROM audiences_contactstate s WHERE customer_id = %(id)s",
            {"now": now, "id": state.pk},
        )
        return cursor.fetchone()[0]


def test_a_place_frees_when_as_many_contacts_have_left_as_must():
    (person,) = make.customers(1)
    state = ContactState.objects.get(pk=person)
    state.recent_at = [NOW - 30 * HOUR, NOW - 20 * HOUR, NOW - 10 * HOUR, NOW - HOUR]
    state.recent_attempts, state.recent_channels = [1, 2, 3, 4], [7, 8, 7, 7]
    state.save()
    rule = pressure.Rule

    def one(touches, hours, channels=None):
        return frees_at([rule(1, "", touches, hours, channels)], state)

    assert one(4, 24) is None  # three in the window
    assert one(3, 24) == NOW + 4 * HOUR  # the oldest of three leaves at -20 h + 24 h
    assert one(2, 24) == NOW + 14 * HOUR
    assert one(1, 24) == NOW + 23 * HOUR
    assert one(1, 24, (8,)) == NOW + 4 * HOUR
    assert one(1, 15, (8,)) is None
    assert one(1, 1, None) is None  # exactly an hour ago is no longer in the hour
    assert frees_at([rule(1, "", 3, 24, None), rule(2, "", 1, 24, (8,))], state) == NOW + 4 * HOUR
    assert frees_at([rule(1, "", 3, 24, None), rule(2, "", 1, 48, None)], state) == NOW + 47 * HOUR


def test_contacts_older_than_every_rule_are_trimmed_by_time():
    channel = make.channel()
    people = make.customers(1)
    make.rule(50, 200)
    found = make.campaign([channel], touches=20, gap_hours=0, days=60)
    make.released(found, people, touches=20, every=2 * DAY)
    for day in range(40):
        dispatch.dispatch_channel(channel.pk, now=NOW + day * DAY)
    state = ContactState.objects.get()
    assert make.states(found) == {"sent": 20}
    assert len(state.recent_at) == 5  # 200 hours: the last one and four before it
    assert state.complete_since >= NOW + 38 * DAY - timedelta(hours=200)
    assert broken_promises(NOW + 39 * DAY) == []


def test_a_rule_longer_than_any_before_takes_force_after_a_rebuild_from_attempts():
    wire = Wire()
    channel = make.channel(wire=wire)
    people = make.customers(1)
    found = make.campaign([channel], touches=12, gap_hours=0, days=60)
    make.released(found, people, touches=12, every=3 * DAY)
    for day in range(31):
        dispatch.dispatch_channel(channel.pk, now=NOW + day * DAY)
    assert len(wire.log) == 11
    assert len(ContactState.objects.get().recent_at) < 11
    rule = make.rule(11, 720, in_force_at=None)
    now = NOW + 31 * DAY
    assert pressure.rules_in_force(now) == []
    assert pressure.bring_into_force(now) == 1
    rule.refresh_from_db()
    assert rule.in_force_at == now
    # 30 days back from day 31: all but the first contact, which lies just outside.
    assert len(ContactState.objects.get().recent_at) == 10
    assert Clock.objects.get(name="pressure").value == 720
    dispatch.dispatch_channel(channel.pk, now=NOW + 33 * DAY)
    assert len(wire.log) == 12


def test_a_rule_that_is_saved_waits_for_claims_under_way_and_holds_for_all_after():
    """A claim holds the policy as it is; whoever changes it waits for the claim to end."""
    changed = threading.Event()

    def change():
        make.rule(1, 24)
        changed.set()
        connections.close_all()

    with transaction.atomic():
        pressure.hold_policy()
        thread = threading.Thread(target=change)
        thread.start()
        assert not changed.wait(0.5)
        assert PressureRule.objects.count() == 0
    assert changed.wait(10)
    thread.join()


def test_a_rule_whose_window_is_edited_is_never_without_force_while_its_contacts_are_known():
    rule = make.rule(2, 24)
    rule.hours, rule.medium = 48, "sms"
    policy.save(rule, NOW)
    assert [(known.touches, known.hours) for known in pressure.rules_in_force(NOW)] == [(2, 48)]
    rule.hours = 720
    policy.save(rule, NOW)
    assert pressure.rules_in_force(NOW) == [], "contacts of a month are not known yet"
    assert pressure.bring_into_force(NOW) == 1


def test_a_touch_whose_number_was_taken_back_meanwhile_is_let_go_and_not_sent():
    """Its attempt was under way while the change was applied, and came back as planned."""
    wire = Wire()
    channel = make.channel(wire=wire)
    found = make.campaign([channel], touches=2, gap_hours=0)
    make.released(found, make.customers(3), touches=2, every=HOUR)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE campaigns_approved_ordinal SET withdrawn_at = %s WHERE ordinal = 2", [NOW])
    for hour in range(3):
        dispatch.dispatch_channel(channel.pk, now=NOW + hour * HOUR)
    assert len(wire.log) == 3
    assert make.states(found) == {"sent": 3, "released:changed": 3}


def test_a_limit_given_to_a_running_campaign_counts_what_was_spent_without_it():
    channel = make.channel(wire=Wire())
    found = make.campaign([channel])
    make.released(found, make.customers(3))
    dispatch.dispatch_channel(channel.pk, now=NOW)
    cost = sum(Touch.objects.values_list("cost", flat=True))
    Budget.objects.filter(campaign=found).delete()
    for channel_id in (None, channel.pk):
        lifecycle_queries.set_budget(found.pk, channel_id, "CNY", "100")
        lifecycle_queries.set_budget(found.pk, channel_id, "CNY", "50")
    rows = Budget.objects.filter(campaign=found).values_list("amount", "spent", "leased")
    assert cost > 0
    assert list(rows) == [(50, cost, 0)] * 2


def test_rules_are_narrowed_by_medium_channel_and_brand():
    mail, text = make.channel(), make.channel("sms")
    make.rule(1, 24)
    make.rule(1, 24, medium="sms")
    make.rule(1, 24, channel=mail)
    make.rule(1, 24, brand=mail.brand)
    make.rule(1, 24, active=False)
    make.rule(1, 24, in_force_at=NOW + HOUR)
    rules = pressure.rules_in_force(NOW)
    assert [rule.channels for rule in rules] == [
        None,
        (text.pk,),
        (mail.pk,),
        tuple(sorted((mail.pk, text.pk))),
    ]
    assert len(pressure.applying(rules, mail.pk)) == 3


def test_sends_made_elsewhere_count_once_in_pressure():
    channel = make.channel()
    people = make.customers(2)
    elsewhere = make.campaign([channel], kind="imported", state="finished")
    make.released(elsewhere, people)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE campaigns_touch SET state = 'sent', state_at = %s", [NOW - HOUR])
    assert pressure.count_imported(elsewhere.pk, NOW) == 2
    assert pressure.count_imported(elsewhere.pk, NOW) == 0
    make.rule(1, 24)
    with connection.cursor() as cursor:  # a load brings attempts as well
        cursor.execute(
            "INSERT INTO campaigns_attempt (campaign_id, touch_id, n, customer_id, channel_id, state, started_at, sent_at)"
            " SELECT campaign_id, id, 1, customer_id, channel_id, 'accepted', state_at, state_at FROM campaigns_touch"
        )
    assert broken_promises() == []
    make.rule(9, 720, in_force_at=None)
    pressure.bring_into_force(NOW)
    assert [len(state.recent_at) for state in ContactState.objects.all()] == [1, 1]
    found = make.campaign([channel])
    make.released(found, people)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert make.states(found) == {"planned": 2}
    dispatch.dispatch_channel(channel.pk, now=NOW + 23 * HOUR + MINUTE)
    assert make.states(found) == {"sent": 2}

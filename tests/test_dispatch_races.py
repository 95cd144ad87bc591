"""Two connections at once: who decides last, decides; and nobody deadlocks."""

import random
import threading
import time

import pytest
from django.db import OperationalError, connection, connections, transaction
from psycopg import errors

from audiences import consent, contact_state
from audiences.models import ContactState
from campaigns import dispatch, exits, responses, retrying
from campaigns.dispatch import calling
from campaigns.models import Attempt, Campaign, Touch
from campaigns.retrying import steadily
from channels import inbox
from channels.adapters.base import Inbound, Outcome, Receipt, Sent
from tests import factories as make
from tests.factories import HOUR, NOW
from tests.test_pressure import broken_promises, in_threads
from tests.wire import Wire

pytestmark = pytest.mark.django_db(transaction=True)


def elsewhere(work):
    """Do it in another thread, on another connection, and wait for it."""
    found = []

    def run():
        try:
            found.append(work())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    return found[0]


def test_an_opt_out_that_commits_before_the_claim_locks_its_row_wins():
    """The claim meets a row that somebody holds: it takes others, and reads the truth a moment later."""
    wire = Wire()
    channel = make.channel(wire=wire)
    leaver, stayer = make.customers(2)
    found = make.campaign([channel])
    make.released(found, [leaver, stayer])
    with transaction.atomic():
        consent.opt_out(leaver, "email", channel.brand_id, "test", "test", NOW)
        elsewhere(lambda: dispatch.dispatch_channel(channel.pk, now=NOW, seconds=2))
        assert wire.addresses == [f"c{stayer}@example.com"]
        assert make.states(found) == {"sent": 1, "planned": 1}
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert make.states(found) == {"sent": 1, "gap:opted_out": 1}
    assert wire.addresses == [f"c{stayer}@example.com"]


def test_a_claim_decides_from_the_locked_row_not_from_its_snapshot(monkeypatch):
    """A writer that waits for nothing commits between the start of the claim's statement and its lock."""
    wire = Wire()
    channel = make.channel(wire=wire)
    people = make.customers(30)
    make.rule(1, 24)
    found = make.campaign([channel])
    make.released(found, people)
    stop = threading.Event()

    def leave():
        for person in people:
            if stop.is_set():
                break
            with transaction.atomic():
                contact_state.lock([person])
                ContactState.objects.filter(pk=person).update(erased=True)
            left.add(person)
        connections.close_all()

    left: set[int] = set()
    gone: set[int] = set()  # whoever had left when the last look before a call began
    too_late: list[int] = []
    look = calling.look

    def looking(*arguments):
        gone.clear()
        gone.update(list(left))
        return look(*arguments)

    monkeypatch.setattr(calling, "look", looking)
    wire.before = lambda batch: too_late.extend(gone & {people_of[message.address] for message in batch})
    people_of = {f"c{person}@example.com": person for person in people}
    thread = threading.Thread(target=leave)
    thread.start()
    for _turn in range(10):
        dispatch.dispatch_channel(channel.pk, now=NOW, limit=3)
    stop.set()
    thread.join()
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert too_late == []
    assert set(make.states(found)) <= {"sent", "gap:erased"}


def test_an_opt_out_between_claim_and_call_wins(monkeypatch):
    wire = Wire()
    channel = make.channel(wire=wire)
    make.rule(1, 24)
    leaver, stayer = make.customers(2)
    found = make.campaign([channel], budget="10")
    make.released(found, [leaver, stayer])
    from campaigns.queries import call

    look = call.look

    def later(*args):
        elsewhere(lambda: consent.opt_out(leaver, "email", channel.brand_id, "test", "test", NOW))
        return look(*args)

    monkeypatch.setattr(call, "look", later)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert wire.addresses == [f"c{stayer}@example.com"]
    assert make.states(found) == {"sent": 1, "gap:opted_out": 1}
    assert ContactState.objects.get(pk=leaver).recent_attempts == []
    assert broken_promises() == []


def test_a_pause_between_claim_and_call_stops_the_call(monkeypatch):
    wire = Wire()
    channel = make.channel(wire=wire)
    found = make.campaign([channel])
    make.released(found, make.customers(3))
    from campaigns.queries import call

    look = call.look

    def later(*args):
        elsewhere(lambda: Campaign.objects.update(state="paused"))
        return look(*args)

    monkeypatch.setattr(call, "look", later)
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert (wire.log, make.states(found)) == ([], {"planned": 3})


def test_a_pause_takes_effect_within_seconds_of_a_running_turn():
    wire = Wire(lambda message: time.sleep(0.01) or Outcome.ACCEPTED, batch_size=5)
    channel = make.channel(wire=wire)
    found = make.campaign([channel])
    make.released(found, make.customers(600))

    def pause():
        while len(wire.log) < 40:
            time.sleep(0.01)
        Campaign.objects.update(state="paused")
        paused.append(time.monotonic())
        connections.close_all()

    paused: list[float] = []
    thread = threading.Thread(target=pause)
    thread.start()
    dispatch.dispatch_channel(channel.pk, now=NOW)
    thread.join()
    assert max(wire.at) - paused[0] < 2.0
    assert len(wire.log) < 600
    assert set(make.states(found)) == {"sent", "planned"}
    assert broken_promises() == []


def test_an_exit_that_meets_a_claim_leaves_nothing_planned():
    """Claims hold touches and look for states; exits hold states and wait for touches."""
    wire = Wire(batch_size=5)
    channel = make.channel(wire=wire)
    people = make.customers(80)
    found = make.campaign([channel], touches=3, gap_hours=0)
    make.released(found, people, touches=3, every=0 * HOUR)

    def work(number):
        if number < 2:
            for _turn in range(6):
                dispatch.dispatch_channel(channel.pk, now=NOW, worker=f"w{number}", limit=20)
        else:
            for person in random.Random(number).sample(people, 80):
                exits.exit_members([(found.pk, person, "conversion")], NOW)

    in_threads(4, work)
    assert "planned" not in make.states(found)
    assert set(make.states(found)) <= {"sent", "released:exit"}
    assert broken_promises() == []


def test_parcelvoy_541_sends_receipts_opt_outs_and_exits_on_the_same_people_never_deadlock():
    """Their bulk insert of sends deadlocked. Here everything that locks runs at once, and nothing is lost to it."""

    def answer(message):
        share = random.Random(message.attempt_id).random()
        return Sent(
            message.attempt_id,
            Outcome.UNKNOWN if share < 0.5 else Outcome.ACCEPTED,
            f"ref-{message.attempt_id}",
        )

    wires = [Wire(answer, batch_size=11), Wire(answer, batch_size=7)]
    mail, text = make.channel(wire=wires[0]), make.channel("sms", wire=wires[1])
    people = make.customers(60, ("email", "sms"))
    make.rule(3, 24)
    campaigns = [
        make.campaign([mail, text], touches=2, gap_hours=0, budget="100", exit_on=["reply"]) for _ in range(2)
    ]
    for found in campaigns:
        make.released(found, people, touches=2, every=0 * HOUR)
    deadlocks = []
    real = retrying.is_conflict

    def counting(error):
        if real(error):
            deadlocks.append(error)
        return real(error)

    retrying.is_conflict = counting
    chance = random.Random(1)
    leaving = chance.sample(people, 30)

    def work(number):
        if number < 4:
            for _turn in range(4):
                dispatch.dispatch_channel((mail, text)[number % 2].pk, now=NOW, worker=f"w{number}", limit=25)
        elif number == 4:
            for _turn in range(12):
                for attempt in Attempt.objects.order_by("?")[:15]:
                    kind = Receipt(random.choice(["delivered", "bounced", "accepted"]))
                    inbox.store(attempt.channel_id, [Inbound(f"{attempt.id}{kind}", NOW, receipt=kind,
                                reference=f"attempt-{attempt.id}")], NOW)  # fmt: skip
                responses.drain(now=NOW)
        elif number == 5:
            for person in leaving:
                steadily(lambda person=person: consent.opt_out(person, "email", mail.brand_id, "t", "t", NOW))
        else:
            for person in random.Random(number).sample(people, 40):
                exits.exit_members([(found.pk, person, "reply") for found in campaigns], NOW)

    try:
        in_threads(7, work)
    finally:
        retrying.is_conflict = real
    responses.drain(now=NOW)
    assert broken_promises() == []
    assert [str(error) for error in deadlocks] == []


def test_a_conflict_is_tried_again_and_an_error_is_not():
    tries = []

    def conflicting():
        tries.append(1)
        if len(tries) < 3:
            raise OperationalError("deadlock detected") from errors.DeadlockDetected()
        return "done"

    assert steadily(conflicting) == "done"

    def wrong():
        tries.append(1)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM nowhere")

    before = len(tries)
    with pytest.raises(Exception, match="nowhere"):
        steadily(wrong, 5)
    assert len(tries) == before + 1


def test_a_lost_connection_is_no_lost_record():
    """The database drops every connection while a batch is being recorded."""
    wire = Wire()
    channel = make.channel(wire=wire)
    found = make.campaign([channel])
    make.released(found, make.customers(3))

    def cut(_batch):
        wire.before = None
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pid = cursor.fetchone()[0]

        def kill():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s)", [pid])

        elsewhere(kill)

    wire.before = cut
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert (make.states(found), len(wire.log)) == ({"sent": 3}, 3)
    assert Touch.objects.count() == 3

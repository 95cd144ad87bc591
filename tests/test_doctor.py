"""The doctor finds what is broken and what is stuck, and says what to do; the commands work without Celery."""

import json
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from audiences.models import ContactState
from campaigns import dispatch, doctor, tasks
from campaigns.dispatch import waking
from campaigns.models import Budget, ChannelPlan, Clock, Touch
from campaigns.schedule import BEAT
from channels import inbox
from channels.adapters.base import Inbound, Outcome, Receipt, Sent
from channels.models import Channel, InboxEvent
from tests import factories as make
from tests.factories import HOUR, MINUTE, NOW
from tests.wire import Wire

pytestmark = pytest.mark.django_db(transaction=True)


def found_by_doctor(at=NOW):
    return {finding.question.name: finding.count for finding in doctor.examine(at)}


def running(**wire):
    channel = make.channel(wire=Wire(**wire))
    found = make.campaign([channel], budget="10")
    make.released(found, make.customers(3))
    dispatch.dispatch_channel(channel.pk, now=NOW)
    return channel, found


def test_a_healthy_installation_has_nothing_to_say():
    running()
    assert found_by_doctor() == {}


def test_every_broken_promise_is_found():
    _channel, found = running()
    first, second, third = ContactState.objects.order_by("pk")
    ContactState.objects.filter(pk=first.pk).update(recent_attempts=[], recent_channels=[], recent_at=[])
    Touch.objects.filter(customer_id=second.pk).update(state="claimed")
    Budget.objects.update(leased=Decimal("0.30"))
    assert found_by_doctor() == {
        "claimed_without_attempt": 1,
        "attempt_and_touch_differ": 1,
        "place_missing": 1,
        "leases_adrift": 1,
    }
    assert all(finding.question.broken for finding in doctor.examine(NOW))
    Touch.objects.filter(customer_id=third.pk).update(state="sent")
    from campaigns.models import Attempt

    Attempt.objects.filter(customer_id=third.pk).update(state="refused")
    assert found_by_doctor()["place_too_many"] == 1
    assert found.pk


def test_what_is_stuck_is_told_with_a_hint():
    channel, found = running()
    make.released(found, make.customers(1), due_at=NOW)
    inbox.store(channel, [Inbound("k", NOW, receipt=Receipt.DELIVERED, reference="x")], NOW)
    assert set(found_by_doctor(NOW + HOUR)) == {"overdue", "inbox_waiting"}
    Channel.objects.update(state="stopped", state_reason="535 bad password")
    InboxEvent.objects.update(state="poison")
    told = {finding.question.name: finding for finding in doctor.examine(NOW + HOUR)}
    assert set(told) == {"overdue", "inbox_poison", "channels_stopped"}
    assert "535 bad password" in str(told["channels_stopped"].examples)
    assert all(str(finding.question.hint) for finding in told.values())


def test_the_command_speaks_and_ends_with_1_when_a_promise_is_broken():
    running()
    Clock.objects.all().delete()
    out = StringIO()
    call_command("doctor", stdout=out)
    assert out.getvalue() == "All is well.\n"
    Touch.objects.update(state="claimed")
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("doctor", stdout=out)
    assert "BROKEN: 3 touches are claimed and no attempt is under way" in out.getvalue()
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("doctor", "--json", stdout=out)
    assert json.loads(out.getvalue())["claimed_without_attempt"] == 3


def test_dispatch_and_drain_work_as_commands_without_celery():
    wire = Wire(lambda message: Sent(message.attempt_id, Outcome.ACCEPTED, f"ref-{message.attempt_id}"))
    channel = make.channel(wire=wire)
    now = timezone.now()
    found = make.campaign([channel], now=now)
    make.released(found, make.customers(2), due_at=now - MINUTE)
    out = StringIO()
    call_command("dispatch", "--once", "--json", stdout=out)
    assert json.loads(out.getvalue())["accepted"] == 2
    for message in wire.log:
        event = Inbound(
            f"d{message.attempt_id}", now, receipt=Receipt.DELIVERED, reference=f"ref-{message.attempt_id}"
        )
        inbox.store(channel, [event], now)
    out = StringIO()
    call_command("drain", stdout=out)
    assert make.states(found) == {"delivered": 2}
    assert "2 events drained" in out.getvalue()


def test_every_scheduled_task_exists_and_runs():
    now = timezone.now()
    channel = make.channel(wire=(wire := Wire()))
    found = make.campaign([channel], now=now)
    make.released(found, make.customers(2), due_at=now - MINUTE)
    for name, entry in BEAT.items():
        module, _dot, function = entry["task"].rpartition(".")
        assert module == "campaigns.tasks", name
        getattr(tasks, function)()
    tasks.dispatch_channel(channel.pk)
    assert len(wire.log) == 2


def test_a_channel_has_so_many_places_and_no_more(settings):
    settings.DISPATCH_WORKERS = 1
    from tests.test_dispatch_races import elsewhere

    with waking.slot(7) as mine:
        assert mine

        def other():
            with waking.slot(7) as theirs, waking.slot(8) as another:
                return theirs, another

        assert elsewhere(other) == (False, True)

    def again():
        with waking.slot(7) as free:
            return free

    assert elsewhere(again) is True


def test_what_waits_because_somebody_paused_it_is_not_overdue():
    channel, found = running()
    make.released(found, make.customers(1), due_at=NOW)
    plan = ChannelPlan.objects.get_or_create(campaign=found, channel=channel)[0]
    assert set(found_by_doctor(NOW + HOUR)) == {"overdue"}
    ChannelPlan.objects.filter(pk=plan.pk).update(paused_at=NOW)
    assert found_by_doctor(NOW + HOUR) == {}
    ChannelPlan.objects.filter(pk=plan.pk).update(paused_at=None)
    Channel.objects.update(state=Channel.State.PAUSED)
    assert found_by_doctor(NOW + HOUR) == {}

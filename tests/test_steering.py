"""Public domains: platforms are steered; what they show is unobserved, never over and never a gap."""

from decimal import Decimal

import pytest

from audiences.models import Consent, ContactState, Identity
from campaigns import dispatch, exits, manual, people_tasks, polling, responses, steering
from campaigns.models import Attempt, Campaign, Clock, PeopleTask, Touch
from channels import audience_sync
from channels.adapters import adapter_class
from channels.adapters.base import AudienceResult, Flight, Inbound, Outcome, Receipt, Sent
from channels.models import Employee, InboxEvent, PlatformAudience, PlatformAudienceMember
from channels.vocabulary import Guarantee, Observability
from tests import factories as make
from tests.factories import DAY, HOUR, MINUTE, NOW
from tests.wire import Wire, install

pytestmark = pytest.mark.django_db(transaction=True)


class Platform:
    """A platform that keeps an audience, and takes only whom it knows."""

    def __init__(self):
        self.members: set[str] = set()
        self.flights: list[Flight] = []

    def channel(self, **fields):
        adapter = install(
            Wire(guarantee=Guarantee.AGGREGATE, observability=Observability.PERSON_TARGETED, kinds=("phone",))
        )

        def sync_audience(_self, external_id, name, add, remove):
            self.members |= {change.value for change in add}
            self.members -= {change.value for change in remove}
            return AudienceResult(external_id or "a1", [change.customer_id for change in (*add, *remove)])

        def set_flight(_self, flight):
            self.flights.append(flight)
            return flight

        adapter.sync_audience, adapter.set_flight = sync_audience, set_flight
        return make.channel("social", adapter=adapter.name, **fields)


def permit_upload(people, channel):
    for person in people:
        Consent.objects.create(
            customer_id=person, brand=channel.brand, medium="social", purpose="upload", status="granted", source="test",
            occurred_at=NOW, received_at=NOW,
        )  # fmt: skip


def people_of(n):
    people = make.customers(n, ("social",))
    phones = dict(Identity.objects.filter(customer_id__in=people).values_list("customer_id", "value"))
    return people, phones


def steer(at=NOW):
    steering.steer(at)
    for audience_id in audience_sync.waiting(at):
        audience_sync.sync(audience_id, at)
    steering.steer(at)


def test_people_with_a_due_touch_are_pushed_and_their_touches_are_unobserved():
    platform = Platform()
    channel = platform.channel()
    people, phones = people_of(3)
    permit_upload(people, channel)
    found = make.campaign([channel], touches=2)
    make.released(found, people, touches=2, every=3 * DAY)
    steer()
    assert platform.members == set(phones.values())
    assert make.states(found) == {"unobserved": 3, "planned": 3}
    assert Attempt.objects.count() == 0
    # Nothing is sent person by person, and pressure does not know of it.
    dispatch.dispatch_channel(channel.pk, now=NOW)
    assert make.states(found) == {"unobserved": 3, "planned": 3}


def test_nobody_without_permission_to_upload_is_pushed():
    platform = Platform()
    channel = platform.channel()
    people, phones = people_of(4)
    permit_upload(people[:1], channel)
    permit_upload(people[2:], channel)
    ContactState.objects.filter(pk=people[2]).update(blocked=["upload:*:*"])
    ContactState.objects.filter(pk=people[3]).update(erased=True)
    found = make.campaign([channel])
    make.released(found, people)
    steer()
    assert platform.members == {phones[people[0]]}
    assert make.states(found) == {"unobserved": 1, "gap:no_consent": 1, "gap:opted_out": 1, "gap:erased": 1}


def test_somebody_the_platform_cannot_be_told_of_is_a_gap():
    platform = Platform()
    channel = platform.channel()
    people, _phones = people_of(2)
    permit_upload(people, channel)
    Identity.objects.filter(customer_id=people[0]).update(invalid_at=NOW)
    found = make.campaign([channel])
    make.released(found, people)
    steer()
    assert make.states(found) == {"unobserved": 1, "gap:no_identity": 1}


def test_an_exit_and_the_end_take_people_out():
    platform = Platform()
    channel = platform.channel()
    people, phones = people_of(2)
    permit_upload(people, channel)
    found = make.campaign([channel])
    make.released(found, people)
    steer()
    exits.exit_members([(found.pk, people[0], "conversion")], NOW)
    steer(NOW + HOUR)
    assert platform.members == {phones[people[1]]}
    Campaign.objects.update(state="finished")
    steer(NOW + 2 * HOUR)
    assert platform.members == set()
    assert set(PlatformAudienceMember.objects.values_list("wanted", "held")) == {(False, False)}


def test_the_platforms_own_cap_and_budget_are_set_to_the_plan():
    platform = Platform()
    channel = platform.channel()
    people, _phones = people_of(1)
    permit_upload(people, channel)
    found = make.campaign([channel], touches=3, rounds=2, days=14)
    found.channel_plans.update(budget=Decimal(500))
    make.released(found, people)
    steer()
    wanted = PlatformAudience.objects.get().wanted_flight
    assert (wanted["budget"], wanted["cap_exposures"], wanted["cap_days"]) == ("500.0000", 3, 7)
    assert (wanted["starts_on"], wanted["ends_on"]) == ("2026-03-02", "2026-03-16")


def test_touches_on_a_placement_are_unobserved_when_due_and_its_task_is_made_once():
    channel = make.channel(
        "kol", wire=Wire(guarantee=Guarantee.AGGREGATE, observability=Observability.PLACEMENT), name="Blogger"
    )
    found = make.campaign([channel], name="Spring")
    make.released(found, make.customers(1, ()))
    steering.steer(NOW)
    assert people_tasks.make(NOW) == 1
    assert people_tasks.make(NOW) == 0
    assert make.states(found) == {"unobserved": 1}
    assert PeopleTask.objects.get().title == "Spring: Blogger"


# People ------------------------------------------------------------------------------------------


def calls(n=2):
    channel = make.channel("call", adapter="manual")
    for number in range(2):
        Employee.objects.create(channel=channel, external_id=f"e{number}", name=f"Employee {number}")
    found = make.campaign([channel], budget="10")
    make.released(found, make.customers(n, ("call",)), version=make.message("call"))
    dispatch.dispatch_channel(channel.pk, now=NOW)
    return channel, found


def test_a_held_call_is_a_task_of_an_employee_and_the_report_settles_it():
    _channel, found = calls(4)
    assert make.states(found) == {"held": 4}
    assert people_tasks.make(NOW) == 4
    assert people_tasks.make(NOW) == 0
    assert sorted(PeopleTask.objects.values_list("employee__external_id", flat=True)) == [
        "e0",
        "e0",
        "e1",
        "e1",
    ]
    first, second, third, _fourth = PeopleTask.objects.order_by("id")
    people_tasks.report(first, reached=True, outcome="interested", now=NOW + HOUR)
    people_tasks.report(second, reached=False, outcome="no answer", now=NOW + HOUR)
    assert make.states(found) == {"held": 4}
    assert (
        people_tasks.make(NOW + HOUR + MINUTE) == 0
    )  # it may still be taken back, and is nobody else's task
    assert people_tasks.settle_due(NOW + HOUR + people_tasks.UNDO) == 2
    assert make.states(found) == {"sent": 1, "gap:unconfirmed": 1, "held": 2}
    with pytest.raises(people_tasks.AlreadyDone):
        people_tasks.report(first, reached=True, outcome="again", now=NOW)
    Touch.objects.filter(customer_id=third.customer_id).update(state="gap", reason="unconfirmed")
    people_tasks.make(NOW)
    third.refresh_from_db()
    assert third.state == "expired"


def test_the_list_of_a_manual_channel_has_the_words_of_each_person_and_the_receipts_columns():
    channel = make.channel("sms", adapter="manual", settings={"signature": "Shop"})
    found = make.campaign([channel])
    people = make.customers(2, ("sms",))
    make.released(found, people, version=make.message("sms", "Hi {{name|you}}"))
    dispatch.dispatch_channel(channel.pk, now=NOW)
    rows = list(manual.held_list(channel))
    attempts = dict(Attempt.objects.values_list("customer_id", "id"))
    assert [row.reference for row in rows] == [f"manual-{attempts[person]}" for person in people]
    assert [row.text for row in rows] == ["Hi Customer 1", "Hi Customer 2"]
    assert all(len(row.row()) == len(manual.COLUMNS) for row in rows)
    assert list(manual.held_list(channel, campaign_id=found.pk + 1)) == []


# Polling -----------------------------------------------------------------------------------------


def test_a_provider_that_must_be_asked_is_asked_about_what_is_open_in_turns(monkeypatch):
    asked: list[list[str]] = []

    def answer(references):
        asked.append(references)
        return [
            Inbound(f"{reference}:sent", NOW + MINUTE, receipt=Receipt.SENT, reference=reference)
            for reference in references
            if reference.endswith("0")
        ]

    wire = Wire(
        lambda message: Sent(message.attempt_id, Outcome.HELD, f"t{message.attempt_id}0"),
        guarantee=Guarantee.CONFIRMED_LATER, poll=answer,
    )  # fmt: skip
    channel = make.channel(wire=wire)
    found = make.campaign([channel])
    make.released(found, make.customers(5))
    dispatch.dispatch_channel(channel.pk, now=NOW)
    monkeypatch.setattr(polling, "AT_ONCE", 2)
    assert [polling.poll(channel, NOW + HOUR) for _turn in range(4)] == [2, 2, 1, 0]
    assert [len(references) for references in asked if references] == [2, 2, 1, 2]
    assert InboxEvent.objects.count() == 5
    responses.drain(now=NOW + HOUR)
    assert make.states(found) == {"sent": 5}
    assert polling.poll(channel, NOW + 2 * HOUR) == 0
    assert Clock.objects.get(name=f"poll:{channel.pk}").value == 0


def test_events_are_acknowledged_only_after_they_are_stored(monkeypatch):
    stored_at_acknowledge = []
    wire = Wire(poll=lambda references: [Inbound("k1", NOW, receipt=Receipt.DELIVERED, reference="x")])
    channel = make.channel(wire=wire)
    adapter = type(polling.adapter_for(channel))
    monkeypatch.setattr(
        adapter, "acknowledge", lambda self: stored_at_acknowledge.append(InboxEvent.objects.count())
    )
    monkeypatch.setattr(polling, "ROUNDS", 2)
    polling.poll(channel, NOW)
    assert stored_at_acknowledge == [1, 1]


def test_who_has_no_address_the_platform_takes_any_more_is_a_gap_of_their_address_at_once():
    """The phone fell away after the plan; what is left is of a kind the platform cannot be told of."""
    platform = Platform()
    channel = platform.channel()

    def sync_audience(_self, external_id, name, add, remove):
        return AudienceResult("a1", [], {change.customer_id: "identity_kind" for change in add})

    adapter_class(channel.adapter).sync_audience = sync_audience
    people, _phones = people_of(2)
    permit_upload(people, channel)
    found = make.campaign([channel])
    make.released(found, people)
    steer()
    assert make.states(found) == {"gap:no_identity": 2}

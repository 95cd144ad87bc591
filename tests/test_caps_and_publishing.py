"""Caps a platform has not, flights of placements, and pushes that take force when published: told as they are."""

import time
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from audiences.models import Identity
from campaigns import steering
from campaigns.models import Response
from channels import audience_sync, flights
from channels.adapters.base import AdapterError, AudienceResult, Flight
from channels.models import PlatformAudience, PlatformAudienceMember
from channels.vocabulary import Guarantee, Observability
from tests import factories as make
from tests.factories import DAY, HOUR, MINUTE, NOW
from tests.test_pressure import in_threads
from tests.test_steering import permit_upload
from tests.wire import Wire, install

pytestmark = pytest.mark.django_db(transaction=True)


class Platform:
    """A platform without frequency caps that shows what was pushed only once it is published."""

    def __init__(self, *, caps: bool = False, observability: str = Observability.PERSON_TARGETED) -> None:
        self.members: set[str] = set()
        self.flights: list[Flight] = []
        self.publications = 0
        self.left = 0.0
        self.adapter: Any = install(
            Wire(guarantee=Guarantee.AGGREGATE, observability=observability, kinds=("phone",))
        )

        def sync_audience(_self, external_id, name, add, remove):
            self.members |= {change.value for change in add}
            self.members -= {change.value for change in remove}
            return AudienceResult(external_id or "a1", [change.customer_id for change in (*add, *remove)])

        def set_flight(_self, flight):
            self.flights.append(flight)
            told = (flight.cap_exposures, flight.cap_days) if caps else (None, None)
            return Flight("g1", flight.budget, flight.starts_on, flight.ends_on, *told)

        def publish_audience(_self, external_id):
            self.publications += 1
            return self.left

        self.adapter.set_flight = set_flight
        if observability == Observability.PERSON_TARGETED:
            self.adapter.sync_audience, self.adapter.publish_audience = sync_audience, publish_audience

    def campaign(self, people: list[int], **fields: Any) -> Any:
        channel = make.channel("social", adapter=self.adapter.name)
        permit_upload(people, channel)
        found = make.campaign([channel], touches=2, days=14, rounds=1, **fields)
        found.channel_plans.update(budget=Decimal(500))
        make.released(found, people, touches=2, every=3 * DAY)
        return found


def steer(at: Any = NOW) -> None:
    steering.steer(at)
    for audience_id in audience_sync.waiting(at):
        audience_sync.sync(audience_id, at)
    for audience_id in flights.waiting(at):
        flights.apply(audience_id, at)
    steering.steer(at)


def exposures(found: Any, customer: int, n: int, at: Any, **fields: Any) -> None:
    channel = found.channel_plans.get().channel
    for number in range(n):
        Response.objects.create(
            customer_id=customer, campaign_id=found.pk, channel=channel, kind="exposure", occurred_at=at,
            received_at=at, source="monitor", source_key=f"{customer}-{number}-{at}", **fields,
        )  # fmt: skip


def test_a_cap_the_platform_has_not_never_counts_as_agreed_and_is_not_asked_for_again() -> None:
    platform = Platform()
    platform.campaign(make.customers(2, ("social",)))
    steer()
    audience = PlatformAudience.objects.get()
    assert audience.wanted_flight["cap_exposures"] == 2
    assert (flights.agrees(audience), flights.settled(audience)) == (False, True)
    assert flights.unheld_cap(audience) == (2, 14)
    assert audience.last_error == "", "budget and dates are as wanted"
    for hour in range(1, 4):
        steer(NOW + hour * HOUR)
    assert len(platform.flights) == 1


def test_a_flight_is_made_once_though_four_workers_tell_it_at_once() -> None:
    platform = Platform()
    made: list[str] = []

    def set_flight(_self: Any, flight: Flight) -> Flight:
        """As a platform without keys of ours: looked for, and made where it is not found."""
        known = list(made)
        time.sleep(0.1)
        if not known:
            made.append("g1")
        return Flight(made[0], flight.budget, flight.starts_on, flight.ends_on)

    platform.adapter.set_flight = set_flight
    platform.campaign(make.customers(2, ("social",)))
    steering.steer(NOW)
    (audience_id,) = audience_sync.waiting(NOW)
    audience_sync.sync(audience_id, NOW)
    in_threads(4, lambda _n: flights.apply(audience_id, NOW))
    assert made == ["g1"]
    assert PlatformAudience.objects.get().flight_reference == "g1"


def test_a_cap_the_platform_has_is_agreed() -> None:
    platform = Platform(caps=True)
    platform.campaign(make.customers(1, ("social",)))
    steer()
    audience = PlatformAudience.objects.get()
    assert (flights.agrees(audience), flights.unheld_cap(audience)) == (True, None)


def test_who_saw_the_planned_exposures_leaves_the_audience_and_is_no_gap() -> None:
    platform = Platform()
    people = make.customers(3, ("social",))
    phones = dict(Identity.objects.filter(customer_id__in=people).values_list("customer_id", "value"))
    found = platform.campaign(people)
    steer()
    assert platform.members == set(phones.values())
    exposures(found, people[0], 2, NOW + MINUTE)
    exposures(found, people[1], 1, NOW + MINUTE)
    exposures(found, people[2], 5, NOW + MINUTE, machine=True)
    steer(NOW + HOUR)
    assert platform.members == {phones[people[1]], phones[people[2]]}
    # The second touch is due: who is at the cap is not put back, and nothing is missing to them.
    steer(NOW + 3 * DAY + HOUR)
    assert platform.members == {phones[people[1]], phones[people[2]]}
    assert make.states(found) == {"unobserved": 6}
    assert PlatformAudienceMember.objects.get(customer_id=people[0]).error == "cap reached"


def test_a_platform_that_holds_the_cap_keeps_its_people() -> None:
    platform = Platform(caps=True)
    people = make.customers(1, ("social",))
    found = platform.campaign(people)
    steer()
    exposures(found, people[0], 9, NOW + MINUTE)
    steer(NOW + HOUR)
    assert len(platform.members) == 1


def test_two_campaigns_of_one_name_have_audiences_of_their_own() -> None:
    platform = Platform()
    first = platform.campaign(make.customers(1, ("social",)), name="Spring")
    channel = first.channel_plans.get().channel
    second = make.campaign([channel], name="Spring")
    make.released(second, make.customers(1, ("social",)))
    steering.steer(NOW)
    assert len(set(PlatformAudience.objects.values_list("name", flat=True))) == 2


# Publishing ---------------------------------------------------------------------------------------


def test_what_is_pushed_is_published_once_a_run_and_later_where_the_platform_makes_us_wait() -> None:
    platform = Platform()
    platform.campaign(make.customers(3, ("social",)))
    platform.left = 7200.0
    steer()
    audience = PlatformAudience.objects.get()
    assert (platform.publications, audience.publish_after) == (1, NOW + 2 * HOUR)
    assert audience_sync.waiting(NOW + HOUR) == []
    platform.left = 0.0
    later = NOW + 2 * HOUR
    assert audience_sync.waiting(later) == [audience.pk]
    audience_sync.sync(audience.pk, later)
    audience.refresh_from_db()
    assert (platform.publications, audience.publish_after) == (2, None)
    assert audience_sync.waiting(later + DAY) == []
    audience_sync.sync(audience.pk, later + DAY)
    assert platform.publications == 2, "nothing was pushed, nothing is published"


def test_a_publication_that_fails_is_tried_again() -> None:
    platform = Platform()
    platform.campaign(make.customers(1, ("social",)))
    publish = platform.adapter.publish_audience

    def fails(_self: Any, _external_id: str) -> float:
        raise AdapterError("slower", retryable=True, retry_after=60)

    platform.adapter.publish_audience = fails
    steer()
    audience = PlatformAudience.objects.get()
    assert audience.publish_after is not None, "what was pushed still waits to be published"
    platform.adapter.publish_audience = publish
    assert audience_sync.waiting(NOW + MINUTE) == [audience.pk]
    audience_sync.sync(audience.pk, NOW + MINUTE)
    audience.refresh_from_db()
    assert (platform.publications, audience.publish_after) == (1, None)


# Placements ---------------------------------------------------------------------------------------


def placement(platform: Platform) -> PlatformAudience:
    channel = make.channel("social", adapter=platform.adapter.name, name="Weibo")
    found = make.campaign([channel], touches=3, rounds=1, days=14)
    found.channel_plans.update(budget=Decimal(500))
    make.released(found, make.customers(1, ()))
    steer()
    return PlatformAudience.objects.get()


def test_the_flight_of_a_placement_is_set_once_somebody_says_which_it_is() -> None:
    platform = Platform(caps=True, observability=Observability.PLACEMENT)
    audience = placement(platform)
    assert platform.flights == []
    assert "Write the id" in audience.last_error
    flights.refer(audience, " 7001 ")
    steer(NOW + MINUTE)
    audience.refresh_from_db()
    assert [(told.reference, told.cap_exposures) for told in platform.flights] == [("7001", 3)]
    assert (flights.agrees(audience), audience.last_error) == (True, "")


def test_the_page_says_what_the_platform_cannot_hold_and_takes_the_id(
    as_marketer: Client, as_finance: Client
) -> None:
    platform = Platform(observability=Observability.PLACEMENT)
    audience = placement(platform)
    url = reverse("channels:audience_flight", args=[audience.pk])
    assert as_finance.post(url, {"reference": "7001"}).status_code == 403
    as_marketer.post(url, {"reference": "7001"})
    steer(NOW + MINUTE)
    page = as_marketer.get(reverse("channels:audience", args=[audience.pk])).content.decode()
    assert "no frequency cap" in page
    assert "but for the cap" in page
    assert 'value="g1"' in page

"""Ads stand still while their campaign does; whatever is killed in between, only what we paused goes on again."""
# ruff: noqa: F401, F811  (the fixture is imported, and asked for by its name)

import datetime as dt
import threading
from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from audiences.access import Role
from campaigns import channel_pauses, lifecycle, progress, steering
from campaigns.models import Campaign
from channels import audience_sync, flight_pauses, flights, health, states
from channels.adapters.base import NOT_FOUND, AdapterError, AudienceResult, Flight
from channels.flight_pauses import Standing
from channels.models import Channel, PlatformAudience
from channels.sandbox.server import Sandbox
from channels.vocabulary import Guarantee, Observability
from tests import factories as make
from tests.factories import DAY, HOUR, MINUTE, NOW
from tests.sandbox_fixture import meta_account, sandbox
from tests.test_steering import permit_upload
from tests.wire import Wire, install

LEAVE = import_module("campaigns.migrations.0017_flights_that_were_over_are_left_as_they_are").LEAVE
SECOND = dt.timedelta(seconds=1)
pytestmark = pytest.mark.django_db(transaction=True)


class Platform:
    """One platform with a switch a flight; ``lose`` answers are lost after the switch was thrown."""

    def __init__(self, observability: str = Observability.PERSON_TARGETED, *, switch: bool = True) -> None:
        self.paused: dict[str, bool] = {}
        self.flights: list[Flight] = []
        self.told: list[bool | None] = []
        self.lose = self.refuse = 0
        self.adapter: Any = install(
            Wire(guarantee=Guarantee.AGGREGATE, observability=observability, kinds=("phone",))
        )

        def sync_audience(_self: Any, external_id: str, name: str, add: Any, remove: Any) -> AudienceResult:
            return AudienceResult(external_id or "a1", [change.customer_id for change in (*add, *remove)])

        def set_flight(_self: Any, flight: Flight) -> Flight:
            self.flights.append(flight)
            key = "g1" if flight.reference.startswith("audience:") else flight.reference
            self.paused.setdefault(key, False)
            return Flight(
                key, flight.budget, flight.starts_on, flight.ends_on, flight.cap_exposures, flight.cap_days
            )

        def pause_flight(_self: Any, reference: str, paused: bool | None) -> bool:
            self.told.append(paused)
            key = "g1" if reference.startswith("audience:") else reference
            if key not in self.paused:
                raise AdapterError("nothing there", code=NOT_FOUND)
            if paused is not None:
                if self.refuse:
                    self.refuse -= 1
                    raise AdapterError("come back later", retryable=True)
                self.paused[key] = paused
                if self.lose:
                    self.lose -= 1
                    raise AdapterError("the answer was lost", retryable=True)
            return self.paused[key]

        self.adapter.set_flight = set_flight
        if switch:
            self.adapter.pause_flight = pause_flight
        if observability == Observability.PERSON_TARGETED:
            self.adapter.sync_audience = sync_audience

    def campaign(self, channel: Channel | None = None, **fields: Any) -> Campaign:
        channel = channel or make.channel("social", adapter=self.adapter.name)
        people = make.customers(2, ("social",))
        permit_upload(people, channel)
        found: Campaign = make.campaign([channel], touches=2, days=14, rounds=1, **fields)
        found.channel_plans.update(budget=Decimal(500))
        make.released(found, people, touches=2, every=3 * DAY)
        return found


def work(at: Any = NOW) -> None:
    """What beat does on channels and platforms."""
    steering.steer(at)
    for audience_id in audience_sync.waiting(at):
        audience_sync.sync(audience_id, at)
    for audience_id in flights.waiting(at):
        flights.apply(audience_id, at)
    look(at)


def look(at: Any) -> None:
    for audience_id in flight_pauses.waiting(at):
        flight_pauses.apply(audience_id, at)


def the_audience() -> PlatformAudience:
    return PlatformAudience.objects.select_related("channel").get()


def standing() -> Standing | None:
    told = flight_pauses.told(the_audience())
    return told.standing if told else None


@pytest.fixture
def boss(django_user_model: Any) -> Any:
    return django_user_model.objects.create(username="boss", is_superuser=True)


def test_a_paused_campaigns_ads_stand_still_and_go_on_with_it(boss: Any) -> None:
    platform = Platform()
    found = platform.campaign()
    work()
    assert platform.paused == {"g1": False}
    assert standing() is None
    lifecycle.pause(found, boss, NOW + HOUR)
    assert standing() == Standing.PAUSING, "wanted at once, in the same transaction"
    look(NOW + HOUR)
    assert (platform.paused, standing()) == ({"g1": True}, Standing.PAUSED)
    calls = len(platform.told)
    work(NOW + 2 * HOUR)
    assert len(platform.told) == calls, "what agrees is not told again"
    lifecycle.resume(found, boss, NOW + 3 * HOUR)
    assert standing() == Standing.RESUMING
    work(NOW + 3 * HOUR)
    assert (platform.paused, standing()) == ({"g1": False}, None)


def test_what_somebody_paused_there_by_hand_stays_paused(boss: Any) -> None:
    platform = Platform()
    found = platform.campaign()
    work()
    platform.paused["g1"] = True
    lifecycle.pause(found, boss, NOW + HOUR)
    work(NOW + HOUR)
    assert standing() == Standing.PAUSED
    lifecycle.resume(found, boss, NOW + 2 * HOUR)
    work(NOW + 2 * HOUR)
    assert platform.paused == {"g1": True}
    assert True not in platform.told
    assert standing() is None


def test_a_lost_answer_and_a_killed_worker_do_not_leave_ads_off_for_good(boss: Any) -> None:
    platform = Platform()
    found = platform.campaign()
    work()
    platform.lose = 1
    lifecycle.pause(found, boss, NOW + HOUR)
    look(NOW + HOUR)
    assert standing() == Standing.FAILING
    look(NOW + HOUR + MINUTE - SECOND)
    assert standing() == Standing.FAILING, "not before a minute"
    look(NOW + HOUR + 2 * MINUTE)
    assert standing() == Standing.PAUSED
    lifecycle.resume(found, boss, NOW + 2 * HOUR)
    platform.lose = 1
    look(NOW + 2 * HOUR)
    assert standing() == Standing.RESUMING
    look(NOW + 3 * HOUR)
    assert (platform.paused, standing()) == ({"g1": False}, None), "it was ours, although found paused"


def test_a_campaign_that_is_stopped_or_over_shows_no_ads(boss: Any) -> None:
    platform = Platform()
    found = platform.campaign()
    work()
    lifecycle.stop(found, boss, "enough", NOW + HOUR)
    look(NOW + HOUR)
    assert platform.paused == {"g1": True}
    other = Platform()
    found = other.campaign()
    work()
    Campaign.objects.filter(pk=found.pk).update(state="finished")  # its end has come
    work(NOW + 15 * DAY)
    assert other.paused == {"g1": True}, "a platform without dates would show them for ever"


def test_one_channel_paused_in_a_campaign_and_a_channel_paused_by_its_admin_show_none(boss: Any) -> None:
    one, two = Platform(), Platform()
    channels = [make.channel("social", adapter=each.adapter.name) for each in (one, two)]
    people = make.customers(2, ("social",))
    permit_upload(people, channels[0])
    found = make.campaign(channels, touches=1, days=14, rounds=1)
    found.channel_plans.update(budget=Decimal(500))
    make.released(found, people)
    work()
    channel_pauses.pause(found, channels[0].pk, NOW + HOUR)
    work(NOW + HOUR)
    assert (one.paused, two.paused) == ({"g1": True}, {"g1": False})
    states.pause(channels[1], "a look")
    work(NOW + 2 * HOUR)
    assert two.paused == {"g1": True}
    states.resume(channels[1])
    channel_pauses.resume(found, channels[0].pk)
    work(NOW + 3 * HOUR)
    assert (one.paused, two.paused) == ({"g1": False}, {"g1": False})


def test_an_archived_channel_shows_none_and_one_stopped_by_an_error_does_once_it_is_mended(boss: Any) -> None:
    platform = Platform()
    found = platform.campaign()
    work()
    channel = the_audience().channel
    states.stop(channel, "token over")
    lifecycle.pause(found, boss, NOW + HOUR)
    look(NOW + HOUR)
    assert (platform.paused, standing()) == ({"g1": False}, Standing.FAILING)
    assert flight_pauses.late(NOW + 2 * HOUR), "told, since nobody can be called"
    states.resume(channel)
    look(NOW + 3 * HOUR)
    assert platform.paused == {"g1": True}
    lifecycle.resume(found, boss, NOW + 4 * HOUR)
    work(NOW + 4 * HOUR)
    states.archive(channel)
    work(NOW + 5 * HOUR)
    assert platform.paused == {"g1": True}


def test_a_flight_that_two_campaigns_go_by_shows_while_one_of_them_runs(boss: Any) -> None:
    platform = Platform(Observability.PLACEMENT)
    channel = make.channel("social", adapter=platform.adapter.name)
    first, second = platform.campaign(channel), platform.campaign(channel)
    steering.steer(NOW)
    for audience in PlatformAudience.objects.all():
        flights.refer(audience, "7001")
    work()
    lifecycle.pause(first, boss, NOW + HOUR)
    work(NOW + HOUR)
    assert platform.paused == {"7001": False}
    lifecycle.pause(second, boss, NOW + 2 * HOUR)
    work(NOW + 2 * HOUR)
    assert platform.paused == {"7001": True}
    lifecycle.stop(first, boss, "over", NOW + 3 * HOUR)
    lifecycle.resume(second, boss, NOW + 3 * HOUR)
    work(NOW + 3 * HOUR)
    work(NOW + 4 * HOUR)
    assert platform.paused == {"7001": False}, "paused for the first, let go on for the second"


def test_nothing_is_made_on_the_platform_for_a_campaign_that_stands_still(boss: Any) -> None:
    platform = Platform()
    found = platform.campaign()
    steering.steer(NOW)
    audience_sync.sync(the_audience().pk, NOW)
    steering.steer(NOW)
    lifecycle.pause(found, boss, NOW + MINUTE)
    work(NOW + HOUR)
    assert (platform.flights, platform.paused) == ([], {})
    assert standing() == Standing.NOTHING
    lifecycle.resume(found, boss, NOW + 2 * HOUR)
    work(NOW + 2 * HOUR)
    assert platform.paused == {"g1": False}


def test_a_flight_made_in_a_call_whose_answer_was_lost_is_found_and_paused(boss: Any) -> None:
    platform = Platform()
    found = platform.campaign()
    work()
    PlatformAudience.objects.update(
        flight_reference="", known_flight={}
    )  # as a worker killed there leaves it
    lifecycle.pause(found, boss, NOW + HOUR)
    look(NOW + HOUR)
    assert platform.paused == {"g1": True}
    platform.paused.clear()
    PlatformAudience.objects.update(pause_known=None, pause_tried_at=None)
    look(NOW + 2 * HOUR)
    assert standing() == Standing.NOTHING, "nothing there is nothing shown"


def test_another_reference_is_looked_at_anew_and_nothing_else_of_the_audience_changes(boss: Any) -> None:
    platform = Platform()
    found = platform.campaign()
    work()
    stale = the_audience()
    platform.paused["g2"] = True  # by hand
    lifecycle.pause(found, boss, NOW + HOUR)
    look(NOW + HOUR)
    PlatformAudience.objects.update(external_id="a2", platform_size=5)
    flights.refer(stale, "g2")
    after = the_audience()
    assert (after.pause_wanted, after.external_id, after.platform_size) == (True, "a2", 5)
    look(NOW + 2 * HOUR)
    lifecycle.resume(found, boss, NOW + 3 * HOUR)
    work(NOW + 3 * HOUR)
    assert platform.paused == {"g1": True, "g2": True}, "the new one was never ours to start"


def test_the_same_reference_saved_again_stays_ours_to_start(boss: Any) -> None:
    platform = Platform()
    found = platform.campaign()
    work()
    lifecycle.pause(found, boss, NOW + HOUR)
    look(NOW + HOUR)
    flights.refer(the_audience(), "g1")
    work(NOW + 2 * HOUR)
    lifecycle.resume(found, boss, NOW + 3 * HOUR)
    work(NOW + 3 * HOUR)
    assert platform.paused == {"g1": False}


@pytest.mark.parametrize("at_call", [None, True])
def test_a_reference_changed_while_the_old_one_is_told_is_paused_itself(
    boss: Any, at_call: bool | None
) -> None:
    platform = Platform()
    found = platform.campaign()
    work()
    platform.paused["g2"] = False
    told = platform.adapter.pause_flight

    def slow(adapter: Any, reference: str, paused: bool | None) -> bool:
        known: bool = told(adapter, reference, paused)
        if paused is at_call:
            flights.refer(the_audience(), "g2")
        return known

    platform.adapter.pause_flight = slow
    lifecycle.pause(found, boss, NOW + HOUR)
    look(NOW + HOUR)
    platform.adapter.pause_flight = told
    assert the_audience().paused_by_us_at is None, "what is known of the old one says nothing of the new"
    look(NOW + HOUR + 2 * MINUTE)
    assert platform.paused["g2"] is True
    assert platform.paused["g1"] is (at_call is True), "not begun once it is no longer ours to end"


def test_a_number_the_platform_never_knew_does_not_count_as_paused(boss: Any) -> None:
    platform = Platform(Observability.PLACEMENT)
    found = platform.campaign()
    steering.steer(NOW)
    flights.refer(the_audience(), "7010")  # 7001 was meant
    lifecycle.pause(found, boss, NOW + HOUR)
    look(NOW + HOUR)
    assert standing() == Standing.FAILING
    assert flight_pauses.late(NOW + 2 * HOUR)


def test_ads_that_people_aimed_at_an_audience_without_a_budget_of_ours_are_paused(boss: Any) -> None:
    platform = Platform()
    found = platform.campaign()
    found.channel_plans.update(budget=None)
    work()
    platform.paused["g1"] = False  # chosen in the targeting of an ad group there
    assert not platform.flights
    lifecycle.pause(found, boss, NOW + HOUR)
    look(NOW + HOUR)
    assert (platform.paused, standing()) == ({"g1": True}, Standing.PAUSED)


def test_ads_that_do_not_go_on_are_told_where_people_look(boss: Any) -> None:
    platform = Platform()
    found = platform.campaign()
    work()
    lifecycle.pause(found, boss, NOW + HOUR)
    look(NOW + HOUR)
    platform.refuse = 100
    lifecycle.resume(found, boss, NOW + 2 * HOUR)
    look(NOW + 2 * HOUR)
    channel = the_audience().channel
    (row,) = health.of_channels([channel], NOW + 2 * HOUR + 2 * MINUTE)
    assert not row.troubles
    (row,) = health.of_channels([channel], NOW + 2 * HOUR + 10 * MINUTE)
    assert "may still be paused" in row.troubles[0]
    platform.refuse = 0
    look(NOW + 3 * HOUR)
    (row,) = health.of_channels([channel], NOW + 4 * HOUR)
    assert not row.troubles


def test_ads_that_cannot_be_paused_are_told_where_people_look(boss: Any, client: Client) -> None:
    platform = Platform()
    found = platform.campaign()
    work()
    platform.refuse = 100
    lifecycle.pause(found, boss, NOW + HOUR)
    look(NOW + HOUR)
    assert not flight_pauses.late(NOW + HOUR + 2 * MINUTE)
    (row,) = health.of_channels([the_audience().channel], NOW + HOUR + 10 * MINUTE)
    assert "may still be shown" in row.troubles[0]
    (row,) = progress.progress(found).channels
    assert row.ads is not None
    assert (row.ads[1].standing, row.ads[1].error) == (Standing.FAILING, "come back later")
    client.force_login(boss)
    page = client.get(reverse("campaigns:live", args=[found.pk])).content.decode()
    assert "Ads may still be shown" in page
    assert "come back later" in page
    page = client.get(reverse("channels:audience", args=[the_audience().pk])).content.decode()
    assert "Ads may still be shown" in page
    told = client.get(f"/api/v1/platform-audiences/{the_audience().pk}/").json()
    assert (told["ads"], told["pause_error"]) == ("failing", "come back later")


def test_a_platform_that_cannot_be_told_sends_people_to_its_own_pages(boss: Any, client: Client) -> None:
    platform = Platform(Observability.PLACEMENT, switch=False)
    found = platform.campaign()
    work()
    lifecycle.pause(found, boss, NOW + HOUR)
    work(NOW + HOUR)
    assert standing() == Standing.BY_HAND
    client.force_login(boss)
    page = client.get(reverse("campaigns:live", args=[found.pk])).content.decode()
    assert "pause them on the platform" in page


def test_two_workers_at_once_pause_it_once(boss: Any) -> None:
    platform = Platform()
    found = platform.campaign()
    work()
    lifecycle.pause(found, boss, NOW + HOUR)
    pk, gate = the_audience().pk, threading.Barrier(4)

    def run() -> None:
        gate.wait()
        flight_pauses.apply(pk, NOW + HOUR)
        connection.close()

    threads = [threading.Thread(target=run) for _n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert platform.told.count(True) == 1
    assert standing() == Standing.PAUSED


def test_a_pause_taken_back_while_the_platform_is_told_ends_with_running_ads(boss: Any) -> None:
    platform = Platform()
    found = platform.campaign()
    work()
    told = platform.adapter.pause_flight

    def slow(adapter: Any, reference: str, paused: bool | None) -> bool:
        known: bool = told(adapter, reference, paused)
        if paused:
            lifecycle.resume(found, boss, NOW + HOUR + SECOND)
        return known

    platform.adapter.pause_flight = slow
    lifecycle.pause(found, boss, NOW + HOUR)
    look(NOW + HOUR)
    platform.adapter.pause_flight = told
    look(NOW + HOUR + 2 * MINUTE)
    assert (platform.paused, standing()) == ({"g1": False}, None)


def test_meta_shows_nothing_of_a_paused_campaign(sandbox: Sandbox, boss: Any) -> None:
    account = meta_account(sandbox)
    channel = make.channel(
        "social", adapter="meta", settings=dict(account.settings), credentials=dict(account.credentials)
    )
    people = make.customers(2, ("social",))
    permit_upload(people, channel)
    found = make.campaign([channel], touches=2, days=14, rounds=1)
    found.channel_plans.update(budget=Decimal(500))
    make.released(found, people, touches=2, every=3 * DAY)
    work()
    adset = the_audience().flight_reference
    assert sandbox.call(lambda: sandbox.account.objects[adset]["status"]) == "ACTIVE"
    lifecycle.pause(found, boss, NOW + HOUR)
    look(NOW + HOUR)
    assert sandbox.call(lambda: sandbox.account.objects[adset]["status"]) == "PAUSED"
    lifecycle.resume(found, boss, NOW + 2 * HOUR)
    work(NOW + 2 * HOUR)
    assert sandbox.call(lambda: sandbox.account.objects[adset]["status"]) == "ACTIVE"


def test_what_was_over_before_ads_were_paused_at_all_is_left_as_it_is() -> None:
    platform = Platform()
    found = platform.campaign()
    work()
    Campaign.objects.filter(pk=found.pk).update(state="finished")
    with connection.cursor() as cursor:
        cursor.execute(LEAVE)
    told = len(platform.told)
    work(NOW + HOUR)
    assert (platform.paused, len(platform.told), standing()) == ({"g1": False}, told, None)


def test_who_writes_another_number_is_told_that_the_old_ads_stay_paused(boss: Any, client: Client) -> None:
    platform = Platform()
    found = platform.campaign()
    work()
    lifecycle.pause(found, boss, NOW + HOUR)
    look(NOW + HOUR)
    client.force_login(boss)
    url = reverse("channels:audience_flight", args=[the_audience().pk])
    assert "stay paused" not in client.post(url, {"reference": "g1"}, follow=True).content.decode()
    assert "We paused the ads of g1" in client.post(url, {"reference": "g2"}, follow=True).content.decode()


def test_pauses_of_many_campaigns_at_once_do_not_lock_each_other_out(boss: Any) -> None:
    platform = Platform(Observability.PLACEMENT)
    channel = make.channel("social", adapter=platform.adapter.name)
    found = [platform.campaign(channel) for _n in range(6)]
    steering.steer(NOW)
    PlatformAudience.objects.update(
        flight_reference="7001"
    )  # all by one flight: each pause looks at all rows
    failed: list[BaseException] = []

    def run(campaign: Campaign) -> None:
        try:
            lifecycle.pause(campaign, boss, NOW + HOUR)
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(campaign,)) for campaign in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    steering.steer(NOW + HOUR)
    assert not failed
    assert set(PlatformAudience.objects.values_list("pause_wanted", flat=True)) == {True}

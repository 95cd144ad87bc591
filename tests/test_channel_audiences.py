"""Audiences, flights and reports of ad platforms: repeated until both sides agree."""

import threading
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from audiences import consent
from audiences.erasure import erase
from audiences.merge import merge
from audiences.models import Customer
from audiences.vocabulary import IdentityKind, Medium
from channels import adapters, audience_list, audience_sync, daily_reports, flights
from channels.accounts import release_adapters
from channels.adapters.base import (
    Account,
    AdapterError,
    AudienceChange,
    AudienceResult,
    BaseAdapter,
    Checked,
    Flight,
    ReportRow,
)
from channels.models import (
    Channel,
    DailyReport,
    PlatformAudience,
    PlatformAudienceMember,
    PlatformRemoval,
    PlatformRule,
)
from channels.vocabulary import Domain, Guarantee, Observability
from tests.channel_rows import make_brand, make_channel

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)


class Platform(BaseAdapter):
    """A platform in memory: what it holds is what it was told, and it fails when asked to."""

    name = "platform"
    label = "Platform"
    media = (Medium.SOCIAL,)
    domain = Domain.PUBLIC
    guarantee = Guarantee.AGGREGATE
    observability = Observability.PERSON_TARGETED
    address_kinds = (IdentityKind.PHONE, IdentityKind.EMAIL)
    held: ClassVar[set[str]] = set()
    calls: ClassVar[list[tuple[int, int]]] = []
    made: ClassVar[list[str]] = []
    refuses: ClassVar[set[str]] = set()
    forgets: ClassVar[set[str]] = set()
    errors: ClassVar[list[Exception]] = []
    reports: ClassVar[dict[date, list[ReportRow]]] = {}
    flights: ClassVar[list[Flight]] = []
    keeps: ClassVar[Flight | None] = None

    def sync_audience(
        self, external_id: str, name: str, add: Sequence[AudienceChange], remove: Sequence[AudienceChange]
    ) -> AudienceResult:
        if self.errors:
            raise self.errors.pop(0)
        if not external_id:
            external_id = f"aud-{len(self.made)}"
            self.made.append(name)
        self.calls.append((len(add), len(remove)))
        done, failed = [], {}
        for change in add:
            if change.value in self.refuses:
                failed[change.customer_id] = "invalid"
            elif change.value not in self.forgets:
                self.held.add(change.value)
                done.append(change.customer_id)
        for change in remove:
            self.held.discard(change.value)
            done.append(change.customer_id)
        return AudienceResult(external_id, done, failed, len(self.held))

    def set_flight(self, flight: Flight) -> Flight:
        if self.errors:
            raise self.errors.pop(0)
        self.flights.append(flight)
        return self.keeps or Flight(
            "adset-1",
            *(
                getattr(flight, name)
                for name in ("budget", "starts_on", "ends_on", "cap_exposures", "cap_days")
            ),
        )

    def fetch_report(self, day: date) -> list[ReportRow]:
        if self.errors:
            raise self.errors.pop(0)
        return self.reports.get(day, [])

    def check(self) -> Checked:
        return Checked(True, "ok")


@pytest.fixture(autouse=True)
def _platform(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(adapters, "_added", {"platform": Platform})
    for kept in (
        Platform.held,
        Platform.calls,
        Platform.made,
        Platform.refuses,
        Platform.forgets,
        Platform.errors,
        Platform.reports,
        Platform.flights,
    ):
        kept.clear()
    monkeypatch.setattr(Platform, "keeps", None)
    yield
    release_adapters()


def person(n: int, *, phone: bool = True, upload: bool = True) -> Customer:
    customer = Customer.objects.create(name=f"P{n}")
    if phone:
        customer.identities.create(kind="phone", value=f"+8613800{n:06d}")
    customer.identities.create(kind="email", value=f"p{n}@example.com")
    if upload:
        consent.grant(customer.pk, make_brand().pk, "social", "form", NOW - timedelta(days=1), "upload")
    return customer


def phone(n: int) -> str:
    return f"+8613800{n:06d}"


@pytest.fixture
def channel(db: None) -> Channel:
    return make_channel("platform", "social")


@pytest.fixture
def audience(channel: Channel) -> PlatformAudience:
    return audience_sync.audience_for(channel, 7, "Buyers")


def members(audience: PlatformAudience) -> dict[int, tuple[bool, bool, str]]:
    rows = audience.members.values_list("customer_id", "wanted", "held", "error")
    return {customer: (wanted, held, error) for customer, wanted, held, error in rows}


# Sync -----------------------------------------------------------------------------------------


def test_who_is_wanted_is_pushed_by_the_best_identity_and_who_is_not_is_taken_out(
    audience: PlatformAudience,
) -> None:
    people = [person(1), person(2), person(3, phone=False)]
    ids = [customer.pk for customer in people]
    assert audience_sync.want(audience.pk, ids, NOW) == 3
    assert audience_sync.want(audience.pk, ids, NOW) == 0
    done = audience_sync.sync(audience.pk, NOW)
    assert (done.added, done.removed, done.failed, done.error) == (3, 0, 0, "")
    assert Platform.held == {phone(1), phone(2), "p3@example.com"}
    audience.refresh_from_db()
    assert (audience.external_id, audience.platform_size, audience.last_synced_at) == ("aud-0", 3, NOW)

    assert audience_sync.unwant(audience.pk, ids[:2], NOW) == 2
    assert audience_sync.sync(audience.pk, NOW).removed == 2
    assert Platform.held == {"p3@example.com"}
    assert audience_sync.waiting(NOW) == []
    assert Platform.made == ["Buyers"]


def test_one_audience_a_campaign_and_channel(channel: Channel, audience: PlatformAudience) -> None:
    assert audience_sync.audience_for(channel, 7, "Other name").pk == audience.pk
    assert audience_sync.audience_for(channel, 8, "Other").pk != audience.pk


def test_nobody_without_permission_to_upload_is_pushed(audience: PlatformAudience) -> None:
    contact_only = person(2, upload=False)
    consent.grant(contact_only.pk, make_brand().pk, "social", "form", NOW, "contact")
    people = [person(1), contact_only, person(3, upload=False)]
    audience_sync.want(audience.pk, [customer.pk for customer in people], NOW)
    done = audience_sync.sync(audience.pk, NOW)
    assert (done.added, done.withdrawn, done.failed) == (1, 2, 0)
    assert Platform.held == {phone(1)}
    assert members(audience)[contact_only.pk] == (False, False, "not permitted")


def test_somebody_who_opts_out_after_the_push_is_taken_out(audience: PlatformAudience) -> None:
    one, two = person(1), person(2)
    audience_sync.want(audience.pk, [one.pk, two.pk], NOW)
    audience_sync.sync(audience.pk, NOW)
    consent.opt_out(one.pk, "", None, "asked", "call", NOW)
    assert (audience_sync.sweep(NOW), audience_sync.sweep(NOW)) == (1, 0)
    assert audience_sync.waiting(NOW) == [audience.pk]
    assert audience_sync.sync(audience.pk, NOW).removed == 1
    assert Platform.held == {phone(2)}


def test_permission_withdrawn_between_claim_and_push_is_seen(
    audience: PlatformAudience, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = person(1), person(2)
    audience_sync.want(audience.pk, [one.pk, two.pk], NOW)
    claim = audience_sync.queries.claim

    def claim_then_opt_out(*args: Any, **kwargs: Any) -> Any:
        claimed = claim(*args, **kwargs)
        if claimed:
            consent.withdraw(one.pk, make_brand().pk, "social", "call", NOW, "upload")
        return claimed

    monkeypatch.setattr(audience_sync.queries, "claim", claim_then_opt_out)
    audience_sync.sync(audience.pk, NOW)
    assert Platform.held == {phone(2)}


@pytest.mark.parametrize("state", ["paused", "archived"])
def test_who_opted_out_was_erased_or_left_is_taken_out_of_a_paused_channel_and_nobody_is_added(
    audience: PlatformAudience, state: str
) -> None:
    stays, opts_out, erased, left, comes = (person(n) for n in range(1, 6))
    audience_sync.want(audience.pk, [one.pk for one in (stays, opts_out, erased, left)], NOW)
    audience_sync.sync(audience.pk, NOW)
    Channel.objects.filter(pk=audience.channel_id).update(state=state)
    audience_sync.want(audience.pk, [comes.pk], NOW)
    assert audience_sync.waiting(NOW) == []  # somebody to add is no reason to call
    consent.opt_out(opts_out.pk, "", None, "asked", "call", NOW)
    erase(erased.pk, requested_by="test", now=NOW)
    audience_sync.unwant(audience.pk, [left.pk], NOW)
    assert audience_sync.sweep(NOW) == 1
    assert audience_sync.waiting(NOW) == [audience.pk]
    done = audience_sync.sync(audience.pk, NOW)
    assert (done.removed, done.added, done.error) == (3, 0, "")
    assert Platform.held == {phone(1)}
    assert audience_sync.waiting(NOW) == []
    Channel.objects.filter(pk=audience.channel_id).update(state="active")
    assert audience_sync.sync(audience.pk, NOW).added == 1


def test_a_paused_channel_whose_account_is_refused_stays_paused_and_is_asked_again_later(
    audience: PlatformAudience,
) -> None:
    people = [person(1), person(2)]
    audience_sync.want(audience.pk, [one.pk for one in people], NOW)
    audience_sync.sync(audience.pk, NOW)
    Channel.objects.filter(pk=audience.channel_id).update(state="paused")
    audience_sync.unwant(audience.pk, [people[0].pk], NOW)
    erase(people[1].pk, requested_by="test", now=NOW)
    Platform.errors.append(AdapterError("token expired", stops_channel=True))
    assert audience_sync.sync(audience.pk, NOW).error == "token expired"
    audience.channel.refresh_from_db()
    assert audience.channel.state == "paused"
    assert audience_sync.waiting(NOW + timedelta(minutes=5)) == []
    later = NOW + audience_sync.REST + timedelta(seconds=1)
    assert audience_sync.waiting(later) == [audience.pk]
    assert audience_sync.sync(audience.pk, later).removed == 2
    assert Platform.held == set()


def test_an_erased_person_is_taken_out_though_the_name_is_gone(audience: PlatformAudience) -> None:
    one, two = person(1), person(2)
    audience_sync.want(audience.pk, [one.pk, two.pk], NOW)
    audience_sync.sync(audience.pk, NOW)
    erase(one.pk, requested_by="test", now=NOW)
    removal = PlatformRemoval.objects.get()
    with connection.cursor() as cursor:
        cursor.execute("SELECT person FROM channels_platformremoval")
        assert phone(1) not in cursor.fetchone()[0]
    assert removal.person == {"kind": "phone", "value": phone(1)}
    assert audience_sync.waiting(NOW) == [audience.pk]
    assert audience_sync.sync(audience.pk, NOW).removed == 1
    assert Platform.held == {phone(2)}
    assert not PlatformRemoval.objects.exists()


def test_a_merged_person_stays_in_the_audience_once(audience: PlatformAudience) -> None:
    old, new = person(1), person(2)
    audience_sync.want(audience.pk, [old.pk, new.pk], NOW)
    audience_sync.sync(audience.pk, NOW)
    merge(old.pk, new.pk, reason="test", now=NOW)
    audience_sync.sync(audience.pk, NOW)
    wanted = {customer: state[:2] for customer, state in members(audience).items()}
    assert wanted == {old.pk: (False, False), new.pk: (True, True)}
    assert Platform.held == {phone(2)}
    # Who is gone went first, so that the person is there whichever of the two the platform knew.
    assert Platform.calls[-2:] == [(0, 1), (1, 0)]


def test_a_merged_person_who_was_in_alone_brings_the_survivor_in(audience: PlatformAudience) -> None:
    old, new = person(1), person(2)
    audience_sync.want(audience.pk, [old.pk], NOW)
    audience_sync.sync(audience.pk, NOW)
    merge(old.pk, new.pk, reason="test", now=NOW)
    audience_sync.sync(audience.pk, NOW)
    assert members(audience)[new.pk][:2] == (True, True)
    assert Platform.held


def test_chunks_are_as_large_as_the_platforms_rule_allows(audience: PlatformAudience) -> None:
    PlatformRule.objects.create(
        medium="social",
        key="audience_members_a_call",
        value=4,
        valid_from=date(2026, 1, 1),
        source="t",
        channel=audience.channel,
    )
    audience_sync.want(audience.pk, [person(n).pk for n in range(10)], NOW)
    audience_sync.sync(audience.pk, NOW)
    assert Platform.calls == [(4, 0), (4, 0), (2, 0)]


def test_a_refused_person_rests_and_is_told_with_the_cause(audience: PlatformAudience) -> None:
    Platform.refuses.add(phone(1))
    one, two = person(1), person(2)
    audience_sync.want(audience.pk, [one.pk, two.pk], NOW)
    done = audience_sync.sync(audience.pk, NOW)
    assert (done.added, done.failed, done.codes) == (1, 1, {"invalid": 1})
    assert members(audience)[one.pk] == (True, False, "invalid")
    assert audience_sync.waiting(NOW) == []
    Platform.refuses.clear()
    assert audience_sync.sync(audience.pk, NOW + timedelta(hours=2)).added == 1


def test_somebody_the_platform_cannot_be_told_of_rests_with_the_cause(audience: PlatformAudience) -> None:
    nobody = person(1)
    nobody.identities.update(invalid_at=NOW)
    audience_sync.want(audience.pk, [nobody.pk], NOW)
    assert audience_sync.sync(audience.pk, NOW).failed == 1
    assert members(audience)[nobody.pk] == (True, False, "no identity")
    assert Platform.calls == []


def test_what_the_platform_neither_confirms_nor_refuses_is_pushed_again(audience: PlatformAudience) -> None:
    Platform.forgets.add(phone(1))
    audience_sync.want(audience.pk, [person(1).pk], NOW)
    audience_sync.sync(audience.pk, NOW)
    assert (Platform.calls, audience_sync.waiting(NOW)) == ([(1, 0)], [])
    Platform.forgets.clear()
    assert audience_sync.sync(audience.pk, NOW + timedelta(minutes=5)).added == 1


@pytest.mark.parametrize(
    "error", [AdapterError("slower", retryable=True, retry_after=60), TimeoutError("no answer")]
)
def test_a_call_that_fails_is_repeated_later_and_told(audience: PlatformAudience, error: Exception) -> None:
    Platform.errors.append(error)
    audience_sync.want(audience.pk, [person(1).pk], NOW)
    done = audience_sync.sync(audience.pk, NOW)
    assert (done.added, bool(done.error)) == (0, True)
    audience.refresh_from_db()
    assert audience.last_error
    assert audience_sync.waiting(NOW) == []
    later = NOW + timedelta(minutes=5)
    assert audience_sync.waiting(later) == [audience.pk]
    assert audience_sync.sync(audience.pk, later).added == 1
    audience.refresh_from_db()
    assert audience.last_error == ""


def test_an_error_a_person_must_mend_stops_the_channel(audience: PlatformAudience) -> None:
    Platform.errors.append(AdapterError("token expired", stops_channel=True))
    audience_sync.want(audience.pk, [person(1).pk], NOW)
    audience_sync.sync(audience.pk, NOW)
    audience.channel.refresh_from_db()
    assert (audience.channel.state, audience.channel.state_reason) == ("stopped", "token expired")
    assert audience_sync.waiting(NOW + timedelta(days=1)) == []
    assert audience_sync.sync(audience.pk, NOW + timedelta(days=1)).added == 0


def test_a_worker_that_died_leaves_its_chunk_to_the_next(audience: PlatformAudience) -> None:
    audience_sync.want(audience.pk, [person(1).pk], NOW)
    audience_sync.queries.claim(audience.pk, True, 10, NOW, NOW + audience_sync.LEASE)
    assert audience_sync.sync(audience.pk, NOW).added == 0
    assert audience_sync.sync(audience.pk, NOW + audience_sync.LEASE + timedelta(seconds=1)).added == 1


@pytest.mark.django_db(transaction=True)
def test_two_workers_make_the_audience_once() -> None:
    audience = audience_sync.audience_for(make_channel("platform", "social"), 7, "Buyers")
    audience_sync.want(audience.pk, [person(n).pk for n in range(5)], NOW)
    entered, go_on = threading.Event(), threading.Event()
    sync = Platform.sync_audience

    def slow(self: Platform, *args: Any) -> AudienceResult:
        entered.set()
        go_on.wait(5)
        return sync(self, *args)

    Platform.sync_audience = slow  # type: ignore[method-assign]
    results: list[audience_sync.Synced] = []

    def work() -> None:
        try:
            results.append(audience_sync.sync(audience.pk, NOW))
        finally:
            release_adapters()
            connection.close()

    try:
        first = threading.Thread(target=work)
        first.start()
        assert entered.wait(5)
        second = audience_sync.sync(audience.pk, NOW)
        go_on.set()
        first.join()
    finally:
        Platform.sync_audience = sync  # type: ignore[method-assign]
    assert (second.busy, results[0].added, len(Platform.made)) == (True, 5, 1)


# By hand --------------------------------------------------------------------------------------


def by_hand() -> PlatformAudience:
    return audience_sync.audience_for(make_channel("manual", "social"), 7, "Buyers")


def listed(audience: PlatformAudience) -> list[tuple[str, str, str]]:
    audience_list.make(audience, NOW)
    return list(audience_list.rows(audience))


@pytest.mark.django_db
def test_the_list_goes_out_and_counts_once_it_is_uploaded() -> None:
    audience = by_hand()
    one, two = person(1), person(2)
    audience_sync.want(audience.pk, [one.pk, two.pk, person(3, upload=False).pk], NOW)
    assert listed(audience) == [("add", "phone", phone(1)), ("add", "phone", phone(2))]
    assert audience_list.uploaded(audience, NOW) == 2
    assert listed(audience) == []
    audience_sync.unwant(audience.pk, [two.pk], NOW)
    assert listed(audience) == [("remove", "phone", phone(2))]
    audience_list.uploaded(audience, NOW)
    assert {customer: state[1] for customer, state in members(audience).items() if state[1]} == {one.pk: True}


@pytest.mark.django_db
def test_somebody_who_opts_out_while_the_list_is_on_its_way_stands_in_the_next_one_to_be_removed() -> None:
    audience = by_hand()
    one, two = person(1), person(2)
    audience_sync.want(audience.pk, [one.pk], NOW)
    assert listed(audience) == [("add", "phone", phone(1))]
    consent.opt_out(one.pk, "", None, "asked", "call", NOW)
    audience_sync.want(audience.pk, [two.pk], NOW)  # not in that list
    audience_list.uploaded(audience, NOW)
    assert members(audience)[two.pk][:2] == (True, False)
    assert listed(audience) == [("add", "phone", phone(2)), ("remove", "phone", phone(1))]


@pytest.mark.django_db
def test_an_erased_person_stands_in_the_list_to_be_removed() -> None:
    audience = by_hand()
    one = person(1)
    audience_sync.want(audience.pk, [one.pk], NOW)
    listed(audience)
    audience_list.uploaded(audience, NOW)
    erase(one.pk, requested_by="test", now=NOW)
    assert listed(audience) == [("remove", "phone", phone(1))]
    audience_list.uploaded(audience, NOW)
    assert (listed(audience), PlatformRemoval.objects.count()) == ([], 0)


@pytest.mark.django_db
def test_the_downloaded_list_holds_hashes_only(as_marketer: Client, as_finance: Client) -> None:
    from hashlib import sha256

    audience = by_hand()
    audience_sync.want(audience.pk, [person(1).pk], NOW)
    url = reverse("channels:audience_list", args=[audience.pk])
    assert as_finance.post(url).status_code == 403
    early = as_marketer.post(reverse("channels:audience_uploaded", args=[audience.pk]), follow=True)
    assert "Download the list first" in early.content.decode()
    body = b"".join(as_marketer.post(url).streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    assert body == f"action,kind,sha256\r\nadd,phone,{sha256(phone(1).encode()).hexdigest()}\r\n"
    as_marketer.post(reverse("channels:audience_uploaded", args=[audience.pk]))
    assert PlatformAudienceMember.objects.get().held


# Flights --------------------------------------------------------------------------------------


FLIGHT = Flight("", Decimal("1000.00"), date(2026, 12, 1), date(2026, 12, 12), cap_exposures=3, cap_days=7)


def test_a_flight_is_told_until_the_platform_agrees(audience: PlatformAudience) -> None:
    assert flights.want(audience, FLIGHT)
    assert not flights.want(audience, FLIGHT)
    assert flights.waiting(NOW) == [audience.pk]
    assert flights.apply(audience.pk, NOW) == "The platform has no audience yet."
    PlatformAudience.objects.filter(pk=audience.pk).update(external_id="aud-0")
    assert flights.waiting(NOW) == []  # it rests after a failure
    later = NOW + timedelta(minutes=11)
    assert flights.waiting(later) == [audience.pk]
    assert flights.apply(audience.pk, later) == ""
    assert Platform.flights[0].reference == "audience:aud-0"
    audience.refresh_from_db()
    assert (audience.flight_reference, audience.last_error, flights.agrees(audience)) == ("adset-1", "", True)
    assert flights.waiting(later + timedelta(days=1)) == []


def test_a_platform_that_keeps_to_something_else_is_told_of(
    audience: PlatformAudience, monkeypatch: pytest.MonkeyPatch
) -> None:
    PlatformAudience.objects.filter(pk=audience.pk).update(external_id="aud-0")
    audience.refresh_from_db()
    flights.want(audience, FLIGHT)
    monkeypatch.setattr(
        Platform, "keeps", Flight("adset-1", Decimal(999), date(2026, 12, 1), date(2026, 12, 12), 3, 7)
    )
    assert "something else" in flights.apply(audience.pk, NOW)
    assert flights.waiting(NOW) == []
    assert flights.waiting(NOW + timedelta(minutes=11)) == [audience.pk]


def test_what_a_platform_has_nothing_for_is_told_and_never_counts_as_agreed(
    audience: PlatformAudience, monkeypatch: pytest.MonkeyPatch, as_marketer: Client
) -> None:
    PlatformAudience.objects.filter(pk=audience.pk).update(external_id="aud-0")
    audience.refresh_from_db()
    flights.want(audience, FLIGHT)
    assert flights.beyond(audience) == []
    told = Flight(
        "adset-1", Decimal(1000), FLIGHT.starts_on, FLIGHT.ends_on, 3, 7, without=("starts_on", "ends_on")
    )
    monkeypatch.setattr(Platform, "keeps", told)
    assert flights.apply(audience.pk, NOW) == ""
    audience.refresh_from_db()
    assert (flights.agrees(audience), flights.beyond(audience)) == (True, ["starts_on", "ends_on"])
    assert flights.waiting(NOW + timedelta(days=1)) == []
    page = as_marketer.get(reverse("channels:audience", args=[audience.pk])).content.decode()
    assert "It has nothing for" in page
    assert "first day, last day" in page
    flights.want(audience, Flight("", Decimal(2000), FLIGHT.starts_on, FLIGHT.ends_on, 3, 7))
    assert not flights.agrees(audience), "what it does have is held to as before"


# Reports --------------------------------------------------------------------------------------


def row(day: date, placement: str, spend: str, **fields: Any) -> ReportRow:
    return ReportRow(day, placement, "CNY", Decimal(spend), **fields)


def versions(channel: Channel) -> list[tuple[Any, ...]]:
    return list(
        DailyReport.objects.filter(channel=channel)
        .order_by("day", "placement", "version")
        .values_list("day__day", "placement", "version", "spend", "campaign_id")
    )


def test_the_last_days_are_fetched_again_and_only_what_settled_is_a_version(
    audience: PlatformAudience,
) -> None:
    channel = audience.channel
    PlatformAudience.objects.filter(pk=audience.pk).update(flight_reference="adset-1")
    days = [date(2026, 11, 20), date(2026, 11, 21), date(2026, 11, 22), date(2026, 11, 23)]
    Platform.reports.update(
        {day: [row(day, "adset-1", "10", clicks=1), row(day, "other", "5")] for day in days}
    )
    assert daily_reports.fetch(channel, NOW) == 6  # three days, as the rule says
    assert daily_reports.fetch(channel, NOW + timedelta(hours=1)) == 0
    Platform.reports[days[2]] = [row(days[2], "adset-1", "12.5", clicks=2), row(days[2], "other", "5")]
    assert daily_reports.fetch(channel, NOW + timedelta(hours=2)) == 1
    assert [found for found in versions(channel) if found[0] == 22] == [
        (22, "adset-1", 1, Decimal(10), 7),
        (22, "adset-1", 2, Decimal("12.5"), 7),
        (22, "other", 1, Decimal(5), None),
    ]


def test_rows_of_one_placement_are_added_up(channel: Channel) -> None:
    day = date(2026, 11, 23)
    told = [
        row(day, "a", "1", exposures=10, reach=5, frequency=2.0),
        row(day, "a", "2", exposures=20, reach=5),
    ]
    assert daily_reports.store(channel, told, NOW) == 1
    stored = DailyReport.objects.get()
    assert (stored.spend, stored.exposures, stored.reach, stored.frequency) == (3, 30, None, None)


def test_one_platform_that_fails_does_not_keep_others_from_reporting(channel: Channel) -> None:
    broken, manual = channel, make_channel("manual", "social")
    other = make_channel("platform", "social")
    Platform.errors.append(AdapterError("token expired", stops_channel=True))
    Platform.reports[date(2026, 11, 23)] = [row(date(2026, 11, 23), "a", "1")]
    done = daily_reports.fetch_all(NOW)
    assert done == {broken.pk: "token expired", other.pk: 1}
    assert manual.pk not in done
    broken.refresh_from_db()
    assert broken.state == "stopped"


def test_an_account_prints_no_secret() -> None:
    assert "x" * 20 not in repr(Account(1, "b", "social", {}, {"token": "x" * 20}))

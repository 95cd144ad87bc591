"""Google Ads: lists mirrored, campaigns limited, totals fetched. The sandbox is held to Google's own libraries."""

import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from google.ads import datamanager_v1 as datamanager
from google.ads.datamanager_util import Encoding, Formatter
from google.ads.datamanager_v1.services.ingestion_service.transports import IngestionServiceRestTransport
from google.ads.datamanager_v1.services.user_list_service.transports import UserListServiceRestTransport
from google.api_core import exceptions as google_errors
from google.oauth2.credentials import Credentials
from google.protobuf import json_format  # type: ignore[import-untyped]

from channels.adapters.base import AdapterError, AudienceChange, Flight
from channels.adapters.google_ads import BY_AUDIENCE, Adapter
from channels.sandbox.server import Sandbox
from channels.vocabulary import Guarantee, PriceModel
from tests.ad_platforms import pauses_what_was_made, today
from tests.adapter_contract import AdapterContract
from tests.sandbox_fixture import start_sandbox
from tests.search_accounts import google_account, people


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("google")
    with start_sandbox(folder, vendors={"google_ads": {"grpc": True, "minimum_audience": 20}}) as running:
        yield running


@pytest.fixture
def sandbox(shared: Sandbox) -> Sandbox:
    """Empty again before each test: starting one takes longer than what a test does with it."""
    vendor: Any = shared.vendors["google_ads"]

    def clear() -> None:
        for kept in (
            vendor.lists,
            vendor.members.members,
            vendor.delivered,
            vendor.ads.objects,
            vendor.counters,
        ):
            kept.clear()
        vendor._calls.clear()
        vendor.config_refused = ()

    shared.call(clear)
    usual = {"per_minute": 300, "login_customer_id": ""}
    shared.change({"vendors": {"google_ads": usual}})
    return shared


@pytest.fixture
def adapter(sandbox: Sandbox) -> Iterator[Adapter]:
    made = Adapter(google_account(sandbox))
    yield made
    made.close()


def vendor(sandbox: Sandbox) -> Any:
    return sandbox.vendors["google_ads"]


def held(sandbox: Sandbox, audience: str) -> set[str]:
    return sandbox.call(lambda: set(vendor(sandbox).members.members.get(audience, ())))


def flight(reference: str = "", **fields: Any) -> Flight:
    usual: dict[str, Any] = {
        "budget": Decimal("700"),
        "starts_on": today(),
        "ends_on": today() + dt.timedelta(days=6),
    }
    return Flight(reference, cap_exposures=3, cap_days=7, **usual | fields)


class TestGoogleAds(AdapterContract):
    name = "google_ads"

    def test_it_promises_totals_only(self) -> None:
        assert (self.cls.guarantee, self.cls.price_model) == (Guarantee.AGGREGATE, PriceModel.CPC)


# Audiences ----------------------------------------------------------------------------------------


def test_a_list_is_made_once_and_holds_whom_it_should(adapter: Adapter, sandbox: Sandbox) -> None:
    made = adapter.sync_audience("", 'Autumn "A"', people(30), [])
    again = adapter.sync_audience("", 'Autumn "A"', people(30), people(5))
    assert (sorted(made.done), made.failed) == (list(range(30)), {})
    assert again.external_id == made.external_id
    assert held(sandbox, made.external_id) == {
        hashlib.sha256(f"customer{n}@example.com".encode()).hexdigest() for n in range(30)
    }, "removals go first, so whom one call both removes and adds is in"
    less = adapter.sync_audience(made.external_id, "", [], people(10))
    assert sorted(less.done) == list(range(10))
    assert len(held(sandbox, made.external_id)) == 20
    assert sandbox.counters("google_ads")["lists"] == 1


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("email", "  Ann.Lee@Example.COM "),
        ("email", "A.N.N+news@gmail.com"),
        ("email", "x.y@GoogleMail.com"),
        ("phone", "+8613800138000"),
        ("phone", "+1 415-555-0102"),
    ],
)
def test_people_are_hashed_as_googles_own_formatter_does(
    adapter: Adapter, sandbox: Sandbox, kind: str, value: str
) -> None:
    formatter = Formatter()
    process = formatter.process_email_address if kind == "email" else formatter.process_phone_number
    audience = adapter.sync_audience("", "H", [AudienceChange(1, kind, value)], []).external_id
    assert held(sandbox, audience) == {process(value, Encoding.HEX)}


def test_identities_google_cannot_match_fail_and_the_others_go(adapter: Adapter) -> None:
    changes = [
        AudienceChange(1, "email", "a@b.c"), AudienceChange(2, "openid", "o1"), AudienceChange(3, "phone", "+8613800138000"),
        AudienceChange(4, "phone", "-"), AudienceChange(5, "email", "nobody"),
    ]  # fmt: skip
    result = adapter.sync_audience("", "Mixed", changes, [])
    assert sorted(result.done) == [1, 3]
    assert result.failed == {2: "identity_kind", 4: "not_taken_here", 5: "not_taken_here"}


def test_more_than_ten_thousand_go_in_several_calls(adapter: Adapter, sandbox: Sandbox) -> None:
    before = len(sandbox.log_lines("google_ads", "members"))
    result = adapter.sync_audience("", "Large", people(20_001), [])
    assert len(result.done) == 20_001
    sizes = [len(line["hashes"]) for line in sandbox.log_lines("google_ads", "members")[before:]]
    assert sizes == [10_000, 10_000, 1]


def test_malformed_entries_are_told_and_the_others_go(adapter: Adapter, sandbox: Sandbox) -> None:
    bad = {hashlib.sha256(f"customer{n}@example.com".encode()).hexdigest() for n in (3, 7)}
    vendor(sandbox).config_refused = tuple(bad)
    result = adapter.sync_audience("", "Partial", people(10), [])
    assert sorted(result.done) == [0, 1, 2, 4, 5, 6, 8, 9]
    assert result.failed == {3: "INVALID_AUDIENCE_MEMBER", 7: "INVALID_AUDIENCE_MEMBER"}
    assert not bad & held(sandbox, result.external_id)


def test_what_went_before_a_failure_is_told_and_the_rest_stays_wanted(
    adapter: Adapter, sandbox: Sandbox
) -> None:
    audience = adapter.sync_audience("", "Partial", people(1), []).external_id
    sandbox.faults("google_ads", next=["ok", "throttle"])
    assert len(adapter.sync_audience(audience, "", people(15_000), []).done) == 10_000
    sandbox.faults("google_ads", next=["throttle"])
    with pytest.raises(AdapterError) as caught:
        adapter.sync_audience(audience, "", people(5), [])
    assert (caught.value.code, caught.value.retryable, caught.value.retry_after) == (
        "RESOURCE_EXHAUSTED",
        True,
        30.0,
    )


@pytest.mark.parametrize("fault", ["drop", "drop_before"])
def test_a_lost_answer_is_repeated_to_the_same_end(adapter: Adapter, sandbox: Sandbox, fault: str) -> None:
    audience = adapter.sync_audience("", "Lost", people(1), []).external_id
    sandbox.faults("google_ads", next=[fault])
    with pytest.raises(AdapterError) as caught:
        adapter.sync_audience(audience, "", people(50), [])
    assert caught.value.retryable
    assert len(adapter.sync_audience(audience, "", people(50), []).done) == 50
    assert len(held(sandbox, audience)) == 50


def test_more_calls_a_minute_than_allowed_wait(adapter: Adapter, sandbox: Sandbox) -> None:
    audience = adapter.sync_audience("", "Quota", people(1), []).external_id
    sandbox.change({"vendors": {"google_ads": {"per_minute": 7}}})
    for n in range(2):  # a change and a look at the size, each
        adapter.sync_audience(audience, "", people(1, first=n), [])
    with pytest.raises(AdapterError) as caught:
        adapter.sync_audience(audience, "", people(1, first=2), [])
    assert (caught.value.code, caught.value.retryable, caught.value.stops_channel) == (
        "RESOURCE_EXHAUSTED",
        True,
        False,
    )


# Tokens -------------------------------------------------------------------------------------------


def test_an_expired_token_is_renewed_through_both_doors(adapter: Adapter, sandbox: Sandbox) -> None:
    adapter.sync_audience("", "T", people(1), [])
    given = vendor(sandbox).tokens.given
    sandbox.faults("google_ads", expired_token=1)
    assert adapter.sync_audience("", "T", people(2), []).done == [0, 1]
    sandbox.faults("google_ads", expired_token=1)
    assert adapter.fetch_report(today()) == []
    assert vendor(sandbox).tokens.given == given + 2


def test_a_token_is_kept_while_it_holds(adapter: Adapter, sandbox: Sandbox) -> None:
    given = vendor(sandbox).tokens.given
    adapter.check()
    adapter.sync_audience("", "T", people(1), [])
    adapter.fetch_report(today())
    assert vendor(sandbox).tokens.given == given + 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"refresh_token": "other"}, "invalid_grant"),
        ({"developer_token": "other"}, "DEVELOPER_TOKEN_INVALID"),
        ({"customer_id": "999"}, "USER_PERMISSION_DENIED"),
    ],
)
def test_what_a_person_must_mend_stops_the_channel(
    sandbox: Sandbox, change: dict[str, str], code: str
) -> None:
    account = google_account(sandbox)
    secrets = dict(account.credentials) | {
        key: value for key, value in change.items() if key in account.credentials
    }
    told = dict(account.settings) | {
        key: value for key, value in change.items() if key not in account.credentials
    }
    made = Adapter(replace(account, settings=told, credentials=secrets))
    with pytest.raises(AdapterError) as caught:
        made.fetch_report(today())
    assert (caught.value.code, caught.value.stops_channel, caught.value.retryable) == (code, True, False)
    assert not any(
        secret in str(made.check()) + repr(caught.value) for secret in account.credentials.values()
    )
    made.close()


def test_nobody_listening_is_an_error_that_may_pass(sandbox: Sandbox) -> None:
    nowhere = Adapter(google_account(sandbox, endpoint="127.0.0.1:1", timeout=1))
    with pytest.raises(AdapterError) as caught:
        nowhere.fetch_report(today())
    assert caught.value.retryable
    nowhere.close()
    dark = Adapter(google_account(sandbox, token_url="http://127.0.0.1:1/token"))  # noqa: S106
    with pytest.raises(AdapterError) as caught:
        dark.sync_audience("", "A", people(1), [])
    assert (caught.value.retryable, dark.check().ok) == (True, False)
    dark.close()


def test_without_the_library_the_file_to_install_is_named(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("channels.adapters._google_ads_api.import_module", missing)
    with pytest.raises(AdapterError, match=r"requirements-google-ads\.txt"):
        adapter.fetch_report(today())
    assert adapter.sync_audience("", "Lists need no library", people(1), []).done == [0]


def test_a_manager_account_is_named_in_both_doors(sandbox: Sandbox) -> None:
    sandbox.change({"vendors": {"google_ads": {"login_customer_id": "5550001111"}}})
    made = Adapter(google_account(sandbox))
    assert made.check().ok
    assert made.sync_audience("", "M", people(2), []).done == [0, 1]
    made.close()


# Flights ------------------------------------------------------------------------------------------


def test_a_flight_is_set_once_and_sends_only_what_differs(adapter: Adapter, sandbox: Sandbox) -> None:
    audience = adapter.sync_audience("", "F", people(30), []).external_id
    told = adapter.set_flight(flight(f"{BY_AUDIENCE}{audience}"))
    assert (told.budget, told.starts_on, told.ends_on) == (
        Decimal(700),
        today(),
        today() + dt.timedelta(days=6),
    )
    assert adapter.set_flight(flight(f"{BY_AUDIENCE}{audience}")) == told, "the campaign is found again"
    assert sandbox.counters("google_ads")["campaign made"] == 1
    before = len(sandbox.log_lines("google_ads", "object"))
    changed = adapter.set_flight(
        flight(told.reference, budget=Decimal("900.50"), ends_on=today() + dt.timedelta(days=9))
    )
    assert (changed.budget, changed.ends_on) == (Decimal("900.50"), today() + dt.timedelta(days=9))
    lines = sandbox.log_lines("google_ads", "object")[before:]
    assert [line["fields"].get("amount_micros") for line in lines] == ["90050000", None]
    adapter.set_flight(
        flight(told.reference, budget=Decimal("900.50"), ends_on=today() + dt.timedelta(days=9))
    )
    assert len(sandbox.log_lines("google_ads", "object")) == before + 2


def test_a_search_campaign_has_no_cap_and_says_so(adapter: Adapter, sandbox: Sandbox) -> None:
    audience = adapter.sync_audience("", "F", people(30), []).external_id
    told = adapter.set_flight(flight(f"{BY_AUDIENCE}{audience}"))
    assert (told.cap_exposures, told.cap_days, told.budget) == (None, None, Decimal(700))


@pytest.mark.parametrize("days", [1, 3, 7, 14, 30])
def test_a_display_campaign_keeps_to_the_cap(sandbox: Sandbox, days: int) -> None:
    made = Adapter(google_account(sandbox, campaign_type="DISPLAY"))
    audience = made.sync_audience("", "C", people(30), []).external_id
    wanted = replace(flight(f"{BY_AUDIENCE}{audience}"), cap_days=days)
    told = made.set_flight(wanted)
    assert (told.cap_exposures, told.cap_days) == (3, days)
    more = made.set_flight(replace(wanted, reference=told.reference, cap_exposures=5))
    assert (more.cap_exposures, more.cap_days) == (5, days)
    made.close()


def test_a_total_budget_is_set_where_the_campaign_has_one(sandbox: Sandbox) -> None:
    made = Adapter(google_account(sandbox, budget_period="CUSTOM_PERIOD"))
    audience = made.sync_audience("", "B", people(30), []).external_id
    told = made.set_flight(flight(f"{BY_AUDIENCE}{audience}", budget=Decimal("123.45")))
    assert told.budget == Decimal("123.45")
    (budget,) = [
        line["fields"]
        for line in sandbox.log_lines("google_ads", "object")
        if "123450000" in str(line["fields"])
    ]
    assert (budget["period"], budget["total_amount_micros"]) == ("CUSTOM_PERIOD", "123450000")
    made.close()


def test_a_campaign_that_has_started_keeps_its_start(adapter: Adapter) -> None:
    audience = adapter.sync_audience("", "F", people(30), []).external_id
    told = adapter.set_flight(flight(f"{BY_AUDIENCE}{audience}", starts_on=today() - dt.timedelta(days=3)))
    assert told.starts_on == today() - dt.timedelta(days=3), "both lie behind: nothing differs any more"
    assert (
        adapter.set_flight(flight(told.reference, starts_on=today() - dt.timedelta(days=2))).starts_on
        < today()
    )


def test_a_shared_budget_is_left_alone(adapter: Adapter, sandbox: Sandbox) -> None:
    audience = adapter.sync_audience("", "F", people(30), []).external_id
    told = adapter.set_flight(flight(f"{BY_AUDIENCE}{audience}"))

    def share() -> None:
        for name, fields in vendor(sandbox).ads.objects.items():
            if "/campaignBudgets/" in name:
                fields["explicitly_shared"] = True

    sandbox.call(share)
    with pytest.raises(AdapterError, match="shared") as caught:
        adapter.set_flight(flight(told.reference, budget=Decimal(10)))
    assert not caught.value.retryable


def test_a_flight_google_refuses_is_final_and_says_why(adapter: Adapter) -> None:
    with pytest.raises(AdapterError, match="audience:"):
        adapter.set_flight(flight())
    with pytest.raises(AdapterError, match="no id"):
        adapter.set_flight(flight("1 OR 1 = 1"))
    with pytest.raises(AdapterError, match="knows no campaign") as caught:
        adapter.set_flight(flight("4711"))
    assert not caught.value.retryable
    audience = adapter.sync_audience("", "F", people(30), []).external_id
    with pytest.raises(AdapterError, match="smallest unit") as caught:
        adapter.set_flight(flight(f"{BY_AUDIENCE}{audience}", budget=Decimal(0)))
    assert (caught.value.code, caught.value.retryable) == ("NON_MULTIPLE_OF_MINIMUM_CURRENCY_UNIT", False)


def test_a_throttled_change_waits_and_is_whole_afterwards(adapter: Adapter, sandbox: Sandbox) -> None:
    audience = adapter.sync_audience("", "F", people(30), []).external_id
    for fault, wait in (("throttle", 30.0), ("drop_before", 10.0), ("drop", 10.0)):
        sandbox.faults("google_ads", next=[fault])
        with pytest.raises(AdapterError) as caught:
            adapter.set_flight(flight(f"{BY_AUDIENCE}{audience}"))
        assert (caught.value.retryable, caught.value.retry_after) == (True, wait)
    adapter.set_flight(flight(f"{BY_AUDIENCE}{audience}"))
    assert sandbox.counters("google_ads")["campaign made"] == 1, (
        "the answer of the third was lost, not its work"
    )


# Reports ------------------------------------------------------------------------------------------


def test_reports_keep_to_the_budget_and_tell_totals_only(adapter: Adapter, sandbox: Sandbox) -> None:
    result = adapter.sync_audience("", "R", people(1000), [])
    campaign = adapter.set_flight(flight(f"{BY_AUDIENCE}{result.external_id}")).reference
    for n in range(7):
        sandbox.call(vendor(sandbox).deliver, campaign, today() + dt.timedelta(days=n))
    rows = [row for n in range(8) for row in adapter.fetch_report(today() + dt.timedelta(days=n))]
    assert [(row.placement, row.currency) for row in rows] == [(campaign, "CNY")] * 7
    assert 0 < sum(row.spend for row in rows) <= 700
    for row in rows:
        assert row.spend == Decimal(row.clicks or 0) * 2, "millionths are turned into the currency"
        assert row.reach is None
        assert row.frequency is None
    assert result.platform_size is not None
    assert 600 < result.platform_size < 800


def test_a_display_cap_holds_over_its_days(sandbox: Sandbox) -> None:
    made = Adapter(google_account(sandbox, campaign_type="DISPLAY"))
    audience = made.sync_audience("", "R", people(300), []).external_id
    campaign = made.set_flight(flight(f"{BY_AUDIENCE}{audience}", budget=Decimal(100_000))).reference
    for n in range(7):
        sandbox.call(vendor(sandbox).deliver, campaign, today() + dt.timedelta(days=n))
    rows = [row for n in range(7) for row in made.fetch_report(today() + dt.timedelta(days=n))]
    matched = sandbox.call(lambda: len(vendor(sandbox).matching.people_in(held_of(sandbox, audience))))
    assert sum(row.exposures or 0 for row in rows) == 3 * matched
    made.close()


def held_of(sandbox: Sandbox, audience: str) -> list[str]:
    return list(vendor(sandbox).members.members[audience])


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    config: dict[str, Any] = {"google_ads": {"grpc": True, "minimum_audience": 20}}
    with start_sandbox(tmp_path, vendors=config) as first:
        made = Adapter(google_account(first))
        audience = made.sync_audience("", "R", people(200), []).external_id
        campaign = made.set_flight(flight(f"{BY_AUDIENCE}{audience}")).reference
        first.call(vendor(first).deliver, campaign, today(), 0.5)
        (before,) = made.fetch_report(today())
        endpoint = vendor(first).endpoint
        made.close()
    with start_sandbox(tmp_path, vendors=config) as second:
        assert vendor(second).endpoint == endpoint
        made = Adapter(google_account(second))
        assert made.fetch_report(today()) == [before]
        assert made.set_flight(flight(f"{BY_AUDIENCE}{audience}")).reference == campaign
        assert made.sync_audience("", "R", [], people(1)).external_id == audience
        made.close()


# Against Google's own Data Manager library ----------------------------------------------------------


def credentials(sandbox: Sandbox) -> Credentials:
    config = vendor(sandbox).config
    return Credentials(
        token=None, refresh_token=config.refresh_token, client_id=config.client_id, client_secret=config.client_secret,
        token_uri=f"http://127.0.0.1:{sandbox.ports['google_ads']}/token",
    )  # fmt: skip


def rest(transport: Any, sandbox: Sandbox) -> Any:
    host = f"127.0.0.1:{sandbox.ports['google_ads']}"
    return transport(host=host, credentials=credentials(sandbox), url_scheme="http")


def test_the_sandbox_serves_googles_data_manager_library(adapter: Adapter, sandbox: Sandbox) -> None:
    config = vendor(sandbox).config
    parent = f"accountTypes/GOOGLE_ADS/accounts/{config.customer_id}"
    lists = datamanager.UserListServiceClient(transport=rest(UserListServiceRestTransport, sandbox))
    upload_key = datamanager.IngestedUserListInfo.UploadKeyType.CONTACT_ID
    made = lists.create_user_list(
        parent=parent,
        user_list=datamanager.UserList(
            display_name="Theirs", ingested_user_list_info=datamanager.IngestedUserListInfo(upload_key_types=[upload_key])
        ),
    )  # fmt: skip
    kind = datamanager.ProductAccount.AccountType.GOOGLE_ADS
    account = datamanager.ProductAccount(account_type=kind, account_id=config.customer_id)
    value = Formatter().process_email_address("Customer1@Example.com ", Encoding.HEX)
    identifiers = datamanager.UserData(user_identifiers=[datamanager.UserIdentifier(email_address=value)])
    request = datamanager.IngestAudienceMembersRequest(
        destinations=[
            datamanager.Destination(operating_account=account, product_destination_id=str(made.id))
        ],
        audience_members=[datamanager.AudienceMember(user_data=identifiers)],
        encoding=datamanager.Encoding.HEX,
        terms_of_service=datamanager.TermsOfService(
            customer_match_terms_of_service_status=datamanager.TermsOfServiceStatus.ACCEPTED
        ),
    )
    ingestion = datamanager.IngestionServiceClient(transport=rest(IngestionServiceRestTransport, sandbox))
    assert ingestion.ingest_audience_members(request=request).request_id
    ours = adapter.sync_audience("", "Theirs", people(1, first=1), [])
    assert ours.external_id == str(made.id), "their list is our list"
    assert held(sandbox, ours.external_id) == {value}, "their hash is our hash"
    (found,) = lists.list_user_lists(parent=parent)
    assert found.display_name == "Theirs"
    with pytest.raises(google_errors.BadRequest):
        ingestion.ingest_audience_members(request=datamanager.IngestAudienceMembersRequest())
    sandbox.change({"vendors": {"google_ads": {"per_minute": 0}}})
    with pytest.raises(google_errors.TooManyRequests):
        ingestion.ingest_audience_members(request=request)


@pytest.mark.parametrize(
    ("verb", "message"),
    [
        ("ingest", datamanager.IngestAudienceMembersRequest),
        ("remove", datamanager.RemoveAudienceMembersRequest),
    ],
)
def test_our_payloads_are_messages_of_googles_library(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, verb: str, message: Any
) -> None:
    made = Adapter(google_account(sandbox, login_customer_id="5550001111"))
    calls: list[tuple[str, Any]] = []

    def noted(method: str, path: str, body: Any = None, params: Any = None) -> dict[str, Any]:
        calls.append((path, body))
        return {"id": "8"}

    monkeypatch.setattr(made, "_rest", noted)
    changes = [AudienceChange(1, "email", "a@b.c"), AudienceChange(2, "phone", "+8613800138000")]
    made.sync_audience("8", "P", *((changes, []) if verb == "ingest" else ([], changes)))
    (body,) = [body for path, body in calls if path == f"audienceMembers:{verb}"]
    read = json_format.ParseDict(body, message.pb()())  # an unknown field or enum would be refused
    assert json_format.MessageToDict(read) == body
    made._list("P")
    (made_list,) = [body for path, body in calls if path.endswith("/userLists") and body]
    json_format.ParseDict(made_list, datamanager.UserList.pb()())


def test_a_paused_flight_is_shown_to_nobody_until_it_goes_on(adapter: Adapter, sandbox: Sandbox) -> None:
    audience = adapter.sync_audience("", "P", people(300), []).external_id

    def deliver(reference: str, share: float) -> int:
        return int(sandbox.call(vendor(sandbox).deliver, reference, today(), share).impressions)

    pauses_what_was_made(adapter, audience, flight(), deliver)

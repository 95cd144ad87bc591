"""Microsoft Advertising: lists mirrored, budgets set, reports fetched; every message through Microsoft's own library."""

import datetime as dt
import hashlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from channels.adapters.base import AdapterError, AudienceChange, Flight
from channels.adapters.microsoft_ads import BY_AUDIENCE, Adapter
from channels.sandbox.server import Sandbox
from channels.vocabulary import Guarantee, PriceModel
from tests.ad_platforms import pauses_what_was_made
from tests.adapter_contract import AdapterContract
from tests.sandbox_fixture import start_sandbox
from tests.search_accounts import microsoft_account, people

TODAY = dt.date(2026, 11, 23)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with start_sandbox(
        tmp_path_factory.mktemp("microsoft"), vendors={"microsoft_ads": {"minimum_audience": 20}}
    ) as running:
        yield running


@pytest.fixture
def sandbox(shared: Sandbox) -> Sandbox:
    """Empty again before each test."""
    side = vendor(shared)

    def clear() -> None:
        for kept in (
            side.lists, side.members.members, side.campaigns, side.criterions, side.delivered, side.reports, side.counters
        ):  # fmt: skip
            kept.clear()

    shared.call(clear)
    shared.change({"vendors": {"microsoft_ads": {"report_polls": 1, "refused": ""}}})
    return shared


def vendor(sandbox: Sandbox) -> Any:
    return sandbox.vendors["microsoft_ads"]


@pytest.fixture
def adapter(sandbox: Sandbox) -> Iterator[Adapter]:
    made = Adapter(microsoft_account(sandbox))
    yield made
    made.close()


def held(sandbox: Sandbox, audience: str) -> set[str]:
    return sandbox.call(lambda: set(vendor(sandbox).members.members.get(audience, ())))


def flight(reference: str = "", **fields: Any) -> Flight:
    usual: dict[str, Any] = {
        "budget": Decimal("700"),
        "starts_on": TODAY,
        "ends_on": TODAY + dt.timedelta(days=6),
    }
    return Flight(reference, cap_exposures=3, cap_days=7, **usual | fields)


def sha(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


class TestMicrosoftAds(AdapterContract):
    name = "microsoft_ads"

    def test_it_promises_totals_only(self) -> None:
        assert (self.cls.guarantee, self.cls.price_model) == (Guarantee.AGGREGATE, PriceModel.CPC)


# Audiences ----------------------------------------------------------------------------------------


def test_a_list_is_made_once_and_holds_whom_it_should(adapter: Adapter, sandbox: Sandbox) -> None:
    made = adapter.sync_audience("", "Autumn <&> 双十一", people(30), [])
    again = adapter.sync_audience("", "Autumn <&> 双十一", people(30), people(5))
    assert (sorted(made.done), made.failed) == (list(range(30)), {})
    assert again.external_id == made.external_id
    assert held(sandbox, made.external_id) == {sha(f"customer{n}@example.com") for n in range(30)}
    less = adapter.sync_audience(made.external_id, "", [], people(10))
    assert sorted(less.done) == list(range(10))
    assert len(held(sandbox, made.external_id)) == 20
    assert less.platform_size is not None
    assert 5 < less.platform_size <= 20
    assert sandbox.counters("microsoft_ads")["lists"] == 1


def test_addresses_and_numbers_go_hashed_in_calls_of_their_own(adapter: Adapter, sandbox: Sandbox) -> None:
    before = len(sandbox.log_lines("microsoft_ads", "members"))
    changes = [
        AudienceChange(1, "email", " Ann.Lee@Example.COM "), AudienceChange(2, "openid", "o1"),
        AudienceChange(3, "phone", "+86 138 0013 8000"), AudienceChange(4, "phone", "-"),
    ]  # fmt: skip
    result = adapter.sync_audience("", "Mixed", changes, [])
    assert sorted(result.done) == [1, 3]
    assert result.failed == {2: "identity_kind", 4: "not_taken_here"}
    told = [line["hashes"] for line in sandbox.log_lines("microsoft_ads", "members")[before:]]
    assert told == [[sha("ann.lee@example.com")], [sha("+8613800138000")]]


def test_many_go_in_several_calls_and_refused_ones_are_told(adapter: Adapter, sandbox: Sandbox) -> None:
    before = len(sandbox.log_lines("microsoft_ads", "members"))
    sandbox.change({"vendors": {"microsoft_ads": {"refused": sha("customer3@example.com")}}})
    result = adapter.sync_audience("", "Large", people(10_001), [])
    assert (len(result.done), result.failed) == (10_000, {3: "InvalidCustomerListItem"})
    sizes = [len(line["hashes"]) for line in sandbox.log_lines("microsoft_ads", "members")[before:]]
    assert sizes == [9_999, 1]


@pytest.mark.parametrize(
    ("fault", "code", "wait"),
    [("throttle", "CallRateExceeded", 60.0), ("drop", "connect", 10.0), ("drop_before", "connect", 10.0)],
)
def test_a_call_that_failed_is_repeated_to_the_same_end(
    adapter: Adapter, sandbox: Sandbox, fault: str, code: str, wait: float
) -> None:
    audience = adapter.sync_audience("", "Lost", people(1), []).external_id
    sandbox.faults("microsoft_ads", next=[fault])
    with pytest.raises(AdapterError) as caught:
        adapter.sync_audience(audience, "", people(50), [])
    assert (caught.value.code, caught.value.retryable, caught.value.retry_after) == (code, True, wait)
    assert len(adapter.sync_audience(audience, "", people(50), []).done) == 50
    assert len(held(sandbox, audience)) == 50


# Tokens -------------------------------------------------------------------------------------------


def test_an_expired_token_is_renewed_once(adapter: Adapter, sandbox: Sandbox) -> None:
    given = vendor(sandbox).tokens.given
    adapter.sync_audience("", "T", people(1), [])
    sandbox.faults("microsoft_ads", expired_token=1)
    assert adapter.sync_audience("", "T", people(2), []).done == [0, 1]
    assert vendor(sandbox).tokens.given == given + 2


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"refresh_token": "other"}, "invalid_grant"),
        ({"client_id": "other"}, "invalid_client"),
        ({"developer_token": "other"}, "InvalidCredentials"),
        ({"customer_id": "999"}, "UserIsNotAuthorized"),
    ],
)
def test_what_a_person_must_mend_stops_the_channel(
    sandbox: Sandbox, change: dict[str, str], code: str
) -> None:
    account = microsoft_account(sandbox)
    secrets = dict(account.credentials) | {
        key: value for key, value in change.items() if key in account.credentials
    }
    told = dict(account.settings) | {
        key: value for key, value in change.items() if key not in account.credentials
    }
    made = Adapter(replace(account, settings=told, credentials=secrets))
    with pytest.raises(AdapterError) as caught:
        made.sync_audience("", "A", people(1), [])
    assert (caught.value.code, caught.value.stops_channel, caught.value.retryable) == (code, True, False)
    assert not made.check().ok
    made.close()


def test_a_token_that_was_withdrawn_is_renewed_before_anything_is_stopped(
    adapter: Adapter, sandbox: Sandbox
) -> None:
    assert adapter.check().ok
    sandbox.call(vendor(sandbox).tokens.expire)  # by a new password, say: the service knows it no more
    assert adapter.sync_audience("", "Buyers", people(3), []).done


def test_no_secret_and_no_person_is_in_a_log(
    adapter: Adapter, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        adapter.sync_audience("", "Quiet", people(3), [])
        adapter.check()
    config = vendor(sandbox).config
    for secret in (config.developer_token, config.refresh_token, "at-0000", sha("customer1@example.com")):
        assert secret not in caplog.text


def test_nobody_listening_is_an_error_that_may_pass(sandbox: Sandbox) -> None:
    nowhere = Adapter(microsoft_account(sandbox, base_url="http://127.0.0.1:1"))
    with pytest.raises(AdapterError) as caught:
        nowhere.fetch_report(TODAY)
    assert caught.value.retryable
    assert not nowhere.check().ok
    nowhere.close()


def test_without_the_library_the_file_to_install_is_named(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("channels.adapters._microsoft_soap.import_module", missing)
    with pytest.raises(AdapterError, match=r"requirements-microsoft-ads\.txt"):
        Adapter(microsoft_account(sandbox)).sync_audience("", "A", people(1), [])


def test_check_reads_the_account(adapter: Adapter) -> None:
    checked = adapter.check()
    assert (checked.ok, checked.facts["currency"], checked.facts["name"]) == (
        True,
        "CNY",
        "Evenreach sandbox",
    )


# Flights ------------------------------------------------------------------------------------------


def test_accounts_of_one_process_never_call_in_each_others_name(adapter: Adapter, sandbox: Sandbox) -> None:
    assert adapter.check().ok
    other = Adapter(microsoft_account(sandbox, account_id="180000009", customer_id="250000009"))
    with pytest.raises(AdapterError, match="authorized"):
        other.sync_audience("", "Theirs", people(5), [])
    assert adapter.sync_audience("", "Ours", people(5), []).done, "with our own token and account"
    with pytest.raises(AdapterError, match="authorized"):
        other.sync_audience("", "Theirs", people(5), [])
    other.close()


def test_a_flight_is_set_once_and_sends_only_what_differs(adapter: Adapter, sandbox: Sandbox) -> None:
    audience = adapter.sync_audience("", "F", people(30), []).external_id
    told = adapter.set_flight(flight(f"{BY_AUDIENCE}{audience}"))
    assert told == replace(flight(told.reference), cap_exposures=None, cap_days=None), (
        "it has no cap, and says so"
    )
    assert adapter.set_flight(flight(f"{BY_AUDIENCE}{audience}")) == told, (
        "campaign and target are found again"
    )
    assert sandbox.counters("microsoft_ads")["campaigns"] == 1
    assert sandbox.call(lambda: len(vendor(sandbox).criterions)) == 1
    before = len(sandbox.log_lines("microsoft_ads", "campaign"))
    later = {"budget": Decimal("1400"), "ends_on": TODAY + dt.timedelta(days=9)}
    changed = adapter.set_flight(flight(told.reference, **later))
    assert (changed.budget, changed.ends_on) == (Decimal(1400), TODAY + dt.timedelta(days=9))
    (line,) = sandbox.log_lines("microsoft_ads", "campaign")[before:]
    assert line["fields"]["DailyBudget"] == "140.0"
    adapter.set_flight(flight(told.reference, **later))
    assert len(sandbox.log_lines("microsoft_ads", "campaign")) == before + 1


def test_only_people_of_the_list_are_aimed_at(adapter: Adapter, sandbox: Sandbox) -> None:
    audience = adapter.sync_audience("", "F", people(30), []).external_id
    campaign = adapter.set_flight(flight(f"{BY_AUDIENCE}{audience}")).reference
    fields = sandbox.call(lambda: vendor(sandbox).campaigns[campaign])
    detail = fields["Settings"]["Setting"]["Details"]["TargetSettingDetail"]
    assert (detail["CriterionTypeGroup"], detail["TargetAndBid"]) == ("Audience", "true")


def test_a_flight_microsoft_refuses_is_final_and_says_why(adapter: Adapter, sandbox: Sandbox) -> None:
    with pytest.raises(AdapterError, match="audience:"):
        adapter.set_flight(flight())
    with pytest.raises(AdapterError, match="no id"):
        adapter.set_flight(flight("x"))
    with pytest.raises(AdapterError, match="knows no campaign") as caught:
        adapter.set_flight(flight("4711"))
    assert not caught.value.retryable
    audience = adapter.sync_audience("", "F", people(30), []).external_id
    with pytest.raises(AdapterError, match="below the minimum") as caught:
        adapter.set_flight(flight(f"{BY_AUDIENCE}{audience}", budget=Decimal("0.10")))
    assert (caught.value.retryable, caught.value.stops_channel) == (False, False)
    told = adapter.set_flight(flight(f"{BY_AUDIENCE}{audience}"))
    sandbox.call(lambda: vendor(sandbox).campaigns[told.reference].update(BudgetId="77"))
    with pytest.raises(AdapterError, match="shared"):
        adapter.set_flight(flight(told.reference, budget=Decimal(10)))


# Reports ------------------------------------------------------------------------------------------


def test_reports_keep_to_the_budget_and_tell_totals_only(adapter: Adapter, sandbox: Sandbox) -> None:
    result = adapter.sync_audience("", "R", people(1000), [])
    campaign = adapter.set_flight(flight(f"{BY_AUDIENCE}{result.external_id}")).reference
    for n in range(3):
        sandbox.call(vendor(sandbox).deliver, campaign, TODAY + dt.timedelta(days=n))
    rows = [row for n in range(3) for row in adapter.fetch_report(TODAY + dt.timedelta(days=n))]
    assert [(row.placement, row.currency) for row in rows] == [(campaign, "CNY")] * 3
    for row in rows:
        assert row.spend == Decimal(row.clicks or 0) * 2
        assert 0 < row.spend <= 100
        assert row.reach is None
    assert adapter.fetch_report(TODAY - dt.timedelta(days=1)) == [], "nothing to tell: no file is made"


def test_a_report_that_takes_long_is_asked_for_again_later(sandbox: Sandbox) -> None:
    sandbox.change({"vendors": {"microsoft_ads": {"report_polls": 50}}})
    made = Adapter(microsoft_account(sandbox, report_wait=0.3))
    with pytest.raises(AdapterError) as caught:
        made.fetch_report(TODAY)
    assert (caught.value.code, caught.value.retryable) == ("report_wait", True)
    made.close()


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    config: dict[str, Any] = {"microsoft_ads": {"minimum_audience": 20}}
    with start_sandbox(tmp_path, vendors=config) as first:
        made = Adapter(microsoft_account(first))
        audience = made.sync_audience("", "R", people(200), []).external_id
        campaign = made.set_flight(flight(f"{BY_AUDIENCE}{audience}")).reference
        first.call(vendor(first).deliver, campaign, TODAY)
        before = made.fetch_report(TODAY)
        made.close()
    with start_sandbox(tmp_path, vendors=config) as second:
        made = Adapter(microsoft_account(second))
        assert made.fetch_report(TODAY) == before
        assert made.set_flight(flight(f"{BY_AUDIENCE}{audience}")).reference == campaign
        made.close()


def test_a_paused_flight_is_shown_to_nobody_until_it_goes_on(adapter: Adapter, sandbox: Sandbox) -> None:
    audience = adapter.sync_audience("", "P", people(300), []).external_id

    def deliver(reference: str, share: float) -> int:
        return int(sandbox.call(vendor(sandbox).deliver, reference, TODAY, share).impressions)

    pauses_what_was_made(adapter, audience, flight(), deliver)

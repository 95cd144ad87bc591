"""Meta: audiences mirrored, limits set, totals fetched; the sandbox is tried with Meta's own SDK as well."""
# ruff: noqa: F401, F811  (the fixture is imported, and asked for by its name)

import datetime as dt
import hashlib
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from facebook_business.adobjects.adaccount import AdAccount
from facebook_business.adobjects.customaudience import CustomAudience
from facebook_business.api import FacebookAdsApi
from facebook_business.exceptions import FacebookRequestError
from facebook_business.session import FacebookSession

from channels.adapters.base import AdapterError, AudienceChange, Flight
from channels.adapters.meta import BY_AUDIENCE, Adapter
from channels.sandbox.people import Person
from channels.sandbox.server import Sandbox
from channels.vocabulary import Guarantee, PriceModel
from tests.ad_platforms import pauses_what_was_made
from tests.adapter_contract import AdapterContract
from tests.sandbox_fixture import meta_account, sandbox, start_sandbox

TODAY = dt.date(2026, 11, 23)


@pytest.fixture
def adapter(sandbox: Sandbox) -> Iterator[Adapter]:
    made = Adapter(meta_account(sandbox))
    yield made
    made.close()


def people(n: int, first: int = 0) -> list[AudienceChange]:
    return [AudienceChange(k, "email", f"Customer{k}@Example.com ") for k in range(first, first + n)]


def flight(reference: str = "", **fields: Any) -> Flight:
    fields = {"budget": Decimal("700"), "starts_on": TODAY, "ends_on": TODAY + dt.timedelta(days=6)} | fields
    return Flight(reference, cap_exposures=3, cap_days=7, **fields)


def for_audience(audience: str, **fields: Any) -> Flight:
    return flight(f"{BY_AUDIENCE}{audience}", **fields)


class TestMeta(AdapterContract):
    name = "meta"

    def test_it_promises_totals_only(self) -> None:
        assert (self.cls.guarantee, self.cls.price_model) == (Guarantee.AGGREGATE, PriceModel.CPM)


def test_an_audience_is_made_once_and_holds_whom_it_should(adapter: Adapter, sandbox: Sandbox) -> None:
    made = adapter.sync_audience("", "Campaign 1", people(30), [])
    again = adapter.sync_audience("", "Campaign 1", people(30), people(5))
    assert (sorted(made.done), made.failed) == (list(range(30)), {})
    assert again.external_id == made.external_id
    members = sandbox.call(lambda: set(sandbox.account.members[made.external_id]))
    wanted = {hashlib.sha256(f"customer{n}@example.com".encode()).hexdigest() for n in range(30)}
    assert members == wanted, "removals go first, so whom one call both removes and adds is in"
    less = adapter.sync_audience(made.external_id, "Campaign 1", [], people(10))
    assert sorted(less.done) == list(range(10))
    assert sandbox.call(lambda: len(sandbox.account.members[made.external_id])) == 20
    assert sandbox.counters("meta")["audience"] == 1


def test_identities_meta_cannot_match_fail_and_the_others_go(adapter: Adapter) -> None:
    changes = [
        AudienceChange(1, "email", "a@b.c"), AudienceChange(2, "openid", "o1"), AudienceChange(3, "phone", "+8613800138000"),
        AudienceChange(4, "phone", "-"),
    ]  # fmt: skip
    result = adapter.sync_audience("", "Mixed", changes, [])
    assert sorted(result.done) == [1, 3]
    assert result.failed == {2: "identity_kind", 4: "not_taken_here"}


def test_more_than_ten_thousand_go_in_calls_of_one_session(adapter: Adapter, sandbox: Sandbox) -> None:
    result = adapter.sync_audience("", "Large", people(20_001), [])
    assert len(result.done) == 20_001
    sizes = [len(line["hashes"]) for line in sandbox.log_lines("meta", "users")]
    assert sizes == [10_000, 10_000, 1]


def test_what_went_before_a_failure_is_told_and_the_rest_stays_wanted(
    adapter: Adapter, sandbox: Sandbox
) -> None:
    audience = adapter.sync_audience("", "Partial", people(1), []).external_id
    sandbox.faults("meta", next=["ok", "throttle"])
    result = adapter.sync_audience(audience, "Partial", people(15_000), [])
    assert len(result.done) == 10_000
    sandbox.faults("meta", next=["throttle"])
    with pytest.raises(AdapterError) as caught:
        adapter.sync_audience(audience, "Partial", people(5), [])
    assert (caught.value.code, caught.value.retryable, caught.value.retry_after) == ("80004", True, 300.0)


@pytest.mark.parametrize("fault", ["drop", "drop_before"])
def test_a_lost_answer_is_repeated_to_the_same_end(adapter: Adapter, sandbox: Sandbox, fault: str) -> None:
    audience = adapter.sync_audience("", "Lost", people(1), []).external_id
    sandbox.faults("meta", next=[fault])
    with pytest.raises(AdapterError) as caught:
        adapter.sync_audience(audience, "Lost", people(50), [])
    assert caught.value.retryable
    assert len(adapter.sync_audience(audience, "Lost", people(50), []).done) == 50
    assert sandbox.call(lambda: len(sandbox.account.members[audience])) == 50


@pytest.mark.parametrize(
    ("change", "code", "stops"),
    [
        ({"token": "other"}, "190", True),
        ({"app_secret": "other"}, "100", False),
        ({"per_hour": 1}, "17", False),
    ],
)
def test_errors_are_mapped(sandbox: Sandbox, change: dict[str, Any], code: str, stops: bool) -> None:
    made = Adapter(meta_account(sandbox))
    sandbox.change({"meta": change})
    with pytest.raises(AdapterError) as caught:
        made.sync_audience("", "A", people(1), [])
    assert (caught.value.code, caught.value.stops_channel) == (code, stops)
    assert "sandbox-token" not in str(caught.value)
    made.close()


def test_an_expired_token_stops_the_channel_and_check_says_why(adapter: Adapter, sandbox: Sandbox) -> None:
    sandbox.faults("meta", expired_token=1)
    checked = adapter.check()
    assert not checked.ok
    assert "Session has expired" in checked.text
    checked = adapter.check()
    assert (checked.ok, checked.facts["currency"]) == (True, "CNY")


def test_nobody_listening_is_an_error_that_may_pass(sandbox: Sandbox) -> None:
    nowhere = Adapter(meta_account(sandbox, base_url="http://127.0.0.1:1"))
    with pytest.raises(AdapterError) as caught:
        nowhere.fetch_report(TODAY)
    assert caught.value.retryable
    assert not nowhere.check().ok


def test_a_flight_is_set_once_and_sends_only_what_differs(adapter: Adapter, sandbox: Sandbox) -> None:
    audience = adapter.sync_audience("", "F", people(30), []).external_id
    told = adapter.set_flight(for_audience(audience))
    assert told == flight(told.reference)
    assert adapter.set_flight(for_audience(audience)) == told, "the ad set is found again"
    assert sandbox.counters("meta")["adset"] == 1
    before = len(sandbox.log_lines("meta", "object"))
    changed = adapter.set_flight(flight(told.reference, budget=Decimal("900.50")))
    assert changed.budget == Decimal("900.50")
    lines = sandbox.log_lines("meta", "object")[before:]
    assert [line["fields"] for line in lines] == [{"lifetime_budget": "90050"}]
    adapter.set_flight(changed)
    assert len(sandbox.log_lines("meta", "object")) == before + 1


def test_a_flight_meta_refuses_is_final_and_says_why(adapter: Adapter) -> None:
    with pytest.raises(AdapterError, match="audience:"):
        adapter.set_flight(flight())
    with pytest.raises(AdapterError, match="does not exist") as caught:
        adapter.set_flight(flight("23870000000000099"))
    assert not caught.value.retryable
    audience = adapter.sync_audience("", "F", people(30), []).external_id
    with pytest.raises(AdapterError, match="minor units"):
        adapter.set_flight(for_audience(audience, budget=Decimal("0.50")))


def test_reports_keep_to_budget_and_cap_and_tell_totals_only(adapter: Adapter, sandbox: Sandbox) -> None:
    result = adapter.sync_audience("", "R", people(1000), [])
    adset = adapter.set_flight(for_audience(result.external_id)).reference
    for n in range(7):
        sandbox.call(sandbox.account.deliver, adset, TODAY + dt.timedelta(days=n))
    rows = [row for n in range(8) for row in adapter.fetch_report(TODAY + dt.timedelta(days=n))]
    assert {(row.placement, row.currency) for row in rows} == {(adset, "CNY")}
    matched = sandbox.call(lambda: len(sandbox.account._people_in([result.external_id])))
    assert 650 < matched < 750
    assert result.platform_size is not None
    assert matched - 20 < result.platform_size <= matched
    total = sum(row.exposures or 0 for row in rows)
    assert total == 3 * matched, "the budget buys more; the cap of three in seven days binds"
    assert sum(row.spend for row in rows) <= 700
    for row in rows:
        assert row.exposures is not None
        assert row.reach is not None
        assert row.frequency is not None
        assert row.reach <= matched
        assert row.frequency == pytest.approx(row.exposures / row.reach, abs=1e-6)
        assert row.spend == pytest.approx(Decimal(row.exposures) * 30 / 1000, abs=Decimal("0.005"))
    assert adapter.fetch_report(TODAY - dt.timedelta(days=1)) == []


def test_a_small_budget_binds_before_the_cap(adapter: Adapter, sandbox: Sandbox) -> None:
    audience = adapter.sync_audience("", "S", people(1000), []).external_id
    adset = adapter.set_flight(for_audience(audience, budget=Decimal("7"))).reference
    for n in range(7):
        sandbox.call(sandbox.account.deliver, adset, TODAY + dt.timedelta(days=n))
    spend = [row.spend for n in range(7) for row in adapter.fetch_report(TODAY + dt.timedelta(days=n))]
    assert Decimal("6.80") < sum(spend) <= 7
    assert max(spend) < Decimal("1.1"), "a lifetime budget is spread over the days left"


def test_a_report_of_many_ad_sets_is_fetched_page_by_page(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "channels.adapters.meta.FIELDS", "date_start,adset_id,spend,impressions,clicks,reach,frequency"
    )
    made = Adapter(meta_account(sandbox))
    real = made._pages
    monkeypatch.setattr(made, "_pages", lambda path, given: real(path, {**given, "limit": "2"}))
    adsets = set()
    for n in range(5):
        audience = made.sync_audience("", f"A{n}", people(100, first=100 * n), []).external_id
        adsets.add(made.set_flight(for_audience(audience)).reference)
    for adset in adsets:
        sandbox.call(sandbox.account.deliver, adset, TODAY)
    rows = made.fetch_report(TODAY)
    assert {row.placement for row in rows} == adsets
    assert len(rows) == 5
    assert {row.currency for row in rows} == {"CNY"}, "the account's, where the row has none"
    made.close()


def test_delivery_goes_on_after_a_restart_where_it_was(tmp_path: Path) -> None:
    with start_sandbox(tmp_path) as first:
        made = Adapter(meta_account(first))
        audience = made.sync_audience("", "R", people(200), []).external_id
        adset = made.set_flight(for_audience(audience)).reference
        first.call(first.account.deliver, adset, TODAY, 0.5)
        (before,) = made.fetch_report(TODAY)
        made.close()
    with start_sandbox(tmp_path) as second:
        made = Adapter(meta_account(second))
        assert made.fetch_report(TODAY) == [before]
        second.call(second.account.deliver, adset, TODAY)
        (after,) = made.fetch_report(TODAY)
        assert made.set_flight(for_audience(audience)).reference == adset
        made.close()
    assert before.exposures is not None
    assert after.exposures is not None
    assert after.exposures == pytest.approx(2 * before.exposures, abs=1)


def test_today_is_delivered_while_simulated_time_passes_and_people_see_it(tmp_path: Path) -> None:
    crowd = [Person(str(n), email=f"customer{n}@example.com") for n in range(200)]
    with start_sandbox(tmp_path, crowd, market={"speed": 86400.0}) as running:
        made = Adapter(meta_account(running))
        audience = made.sync_audience("", "L", people(200), []).external_id
        today = dt.datetime.now(dt.UTC).astimezone(running.account._zone).date()
        made.set_flight(for_audience(audience, starts_on=today, ends_on=today))
        running.wait(lambda: made.fetch_report(today))
        running.wait(lambda: running.counters("market").get("social touches"))
        made.close()


# Against Meta's own SDK ---------------------------------------------------------------------------


@pytest.fixture
def sdk(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> AdAccount:
    monkeypatch.setattr(FacebookSession, "GRAPH", f"http://127.0.0.1:{sandbox.ports['meta']}")
    config = sandbox.config.meta
    api = FacebookAdsApi.init("1", config.app_secret, config.token, crash_log=False)
    return AdAccount(config.account_id, api=api)


def test_the_sandbox_serves_metas_own_sdk(sdk: AdAccount, adapter: Adapter, sandbox: Sandbox) -> None:
    made = sdk.create_custom_audience(
        params={"name": "SDK", "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY"}
    )
    audience = CustomAudience(made["id"], api=sdk.get_api())
    audience.add_users(CustomAudience.Schema.email_hash, ["Customer1@Example.com ", "b@c.de"])
    audience.remove_users(CustomAudience.Schema.email_hash, ["b@c.de"])
    assert [found["name"] for found in sdk.get_custom_audiences(fields=["name"])] == ["SDK"]
    assert adapter.sync_audience("", "SDK", people(1, first=1), []).external_id == made["id"]
    assert sandbox.call(lambda: len(sandbox.account.members[made["id"]])) == 1, "their hash is our hash"
    adapter.sync_audience(made["id"], "SDK", people(100), [])
    adset = adapter.set_flight(for_audience(made["id"])).reference
    sandbox.call(sandbox.account.deliver, adset, TODAY)
    day = {"since": TODAY.isoformat(), "until": TODAY.isoformat()}
    (theirs,) = sdk.get_insights(
        fields=["spend", "impressions"], params={"level": "adset", "time_increment": 1, "time_range": day}
    )
    (ours,) = adapter.fetch_report(TODAY)
    assert (Decimal(theirs["spend"]), int(theirs["impressions"])) == (ours.spend, ours.exposures)


def test_the_sdk_understands_the_sandboxs_errors(sdk: AdAccount, sandbox: Sandbox) -> None:
    sandbox.faults("meta", expired_token=1)
    with pytest.raises(FacebookRequestError) as caught:
        sdk.get_custom_audiences(fields=["name"])
    assert (caught.value.api_error_code(), caught.value.api_error_subcode()) == (190, 463)


@pytest.mark.parametrize(
    ("kind", "schema", "values"),
    [
        ("email", CustomAudience.Schema.email_hash, ["  Ann.Lee@Example.COM ", "ö@exämple.de"]),
        ("phone", CustomAudience.Schema.phone_hash, ["8613800138000", "14155550102"]),
    ],
)
def test_payloads_are_those_of_the_sdk(
    adapter: Adapter, sandbox: Sandbox, kind: str, schema: str, values: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    calls: list[dict[str, str]] = []
    real = adapter._call
    monkeypatch.setattr(
        adapter, "_call", lambda method, path, given: calls.append(given) or real(method, path, given)
    )
    changes = [
        AudienceChange(n, kind, f"+{value}" if kind == "phone" else value) for n, value in enumerate(values)
    ]
    adapter.sync_audience("", "P", changes, [])
    (payload,) = [json.loads(given["payload"]) for given in calls if "payload" in given]
    assert payload == CustomAudience.format_params(schema, values)["payload"]


def test_a_paused_flight_is_shown_to_nobody_until_it_goes_on(adapter: Adapter, sandbox: Sandbox) -> None:
    audience = adapter.sync_audience("", "P", people(1000), []).external_id

    def deliver(reference: str, share: float) -> int:
        return int(sandbox.call(sandbox.account.deliver, reference, TODAY, share)["impressions"])

    pauses_what_was_made(adapter, audience, flight(), deliver)

"""Baidu: audiences poured by file, budgets set, totals fetched; names are held to Baidu's own SDK."""

import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import baiduads
import pytest
from baiduads.campaign.model.api_campaign_query_request import ApiCampaignQueryRequest
from baiduads.campaign.model.api_campaign_type import ApiCampaignType
from baiduads.common.model.api_request_header import ApiRequestHeader
from baiduads.extaudience.api.ext_audience_service import ExtAudienceService
from baiduads.extaudience.model.api_req_ext_audience import APIReqExtAudience
from baiduads.extaudience.model.api_req_group_list_new import ApiReqGroupListNew
from baiduads.extaudience.model.api_req_id_upload import APIReqIdUpload
from baiduads.extaudience.model.create_empty_group_request_wrapper import CreateEmptyGroupRequestWrapper
from baiduads.extaudience.model.get_audience_list_request_wrapper import GetAudienceListRequestWrapper
from baiduads.openapireport.api.open_api_report_service import OpenApiReportService
from baiduads.openapireport.model.get_report_data_request_wrapper import GetReportDataRequestWrapper
from baiduads.openapireport.model.report_data_request import ReportDataRequest
from baiduads_manual.oauth.api.oauth_service import OAuthService
from baiduads_manual.oauth.model.refresh_token_request import RefreshTokenRequest

from channels.adapters.baidu import BY_AUDIENCE, WITHOUT, Adapter
from channels.adapters.base import AdapterError, AudienceChange, Flight
from channels.sandbox.server import Sandbox
from channels.vocabulary import Guarantee, PriceModel
from tests.ad_platforms import pauses_what_was_made
from tests.adapter_contract import AdapterContract
from tests.sandbox_fixture import start_sandbox
from tests.search_accounts import baidu_account, phones

TODAY = dt.date(2026, 11, 23)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with start_sandbox(tmp_path / "sandbox", vendors={"baidu": {"minimum_audience": 20}}) as running:
        yield running


def vendor(sandbox: Sandbox) -> Any:
    return sandbox.vendors["baidu"]


@pytest.fixture
def adapter(sandbox: Sandbox) -> Iterator[Adapter]:
    made = Adapter(baidu_account(sandbox))
    yield made
    made.close()


def held(sandbox: Sandbox, audience: str) -> set[str]:
    return sandbox.call(lambda: set(vendor(sandbox).members.members.get(audience, ())))


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def flight(reference: str = "", **fields: Any) -> Flight:
    usual: dict[str, Any] = {
        "budget": Decimal("700"),
        "starts_on": TODAY,
        "ends_on": TODAY + dt.timedelta(days=6),
    }
    return Flight(reference, cap_exposures=3, cap_days=7, **usual | fields)


class TestBaidu(AdapterContract):
    name = "baidu"

    def test_it_promises_totals_only(self) -> None:
        assert (self.cls.guarantee, self.cls.price_model) == (Guarantee.AGGREGATE, PriceModel.CPC)


# Audiences ----------------------------------------------------------------------------------------


def test_an_audience_is_made_once_and_holds_whom_it_should(adapter: Adapter, sandbox: Sandbox) -> None:
    made = adapter.sync_audience("", "双十一", phones(30), [])
    again = adapter.sync_audience("", "双十一", phones(30), phones(5))
    assert (sorted(made.done), made.failed) == (list(range(30)), {})
    assert again.external_id == made.external_id
    assert held(sandbox, made.external_id) == {md5(f"138{n:08d}") for n in range(30)}
    less = adapter.sync_audience(made.external_id, "双十一", [], phones(10))
    assert sorted(less.done) == list(range(10))
    assert len(held(sandbox, made.external_id)) == 20
    assert less.platform_size is not None
    assert 5 < less.platform_size <= 20
    assert sandbox.counters("baidu")["groups"] == 1


def test_numbers_of_elsewhere_and_other_identities_fail_and_the_others_go(
    adapter: Adapter, sandbox: Sandbox
) -> None:
    changes = [
        AudienceChange(1, "phone", "+8613800138000"), AudienceChange(2, "phone", "+14155550102"),
        AudienceChange(3, "email", "a@b.c"), AudienceChange(4, "phone", "+85291234567"),
    ]  # fmt: skip
    result = adapter.sync_audience("", "Mixed", changes, [])
    assert result.done == [1]
    assert result.failed == {2: "not_taken_here", 3: "identity_kind", 4: "not_taken_here"}
    assert held(sandbox, result.external_id) == {md5("13800138000")}


def test_a_contract_may_want_sha256(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, vendors={"baidu": {"hash": "sha256", "id_type": "SHA256_PHONE"}}) as running:
        made = Adapter(baidu_account(running, hash="sha256", id_type="SHA256_PHONE"))
        audience = made.sync_audience("", "S", phones(1), []).external_id
        assert held(running, audience) == {hashlib.sha256(b"13800000000").hexdigest()}
        made.close()


@pytest.mark.parametrize(
    ("fault", "code", "wait"),
    [("throttle", "8501", 60.0), ("drop", "connect", 10.0), ("drop_before", "connect", 10.0)],
)
def test_a_call_that_failed_is_repeated_to_the_same_end(
    adapter: Adapter, sandbox: Sandbox, fault: str, code: str, wait: float
) -> None:
    audience = adapter.sync_audience("", "Lost", phones(1), []).external_id
    sandbox.faults("baidu", next=["ok", fault])  # the file goes, the pouring fails
    with pytest.raises(AdapterError) as caught:
        adapter.sync_audience(audience, "Lost", phones(50), [])
    assert (caught.value.code, caught.value.retryable, caught.value.retry_after) == (code, True, wait)
    assert len(adapter.sync_audience(audience, "Lost", phones(50), []).done) == 50
    assert len(held(sandbox, audience)) == 50


# Tokens -------------------------------------------------------------------------------------------


def test_an_expired_token_is_renewed_once_and_the_newest_refresh_token_is_used(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, vendors={"baidu": {"rotates": True}}) as running:
        made = Adapter(baidu_account(running))
        made.sync_audience("", "T", phones(1), [])
        running.faults("baidu", expired_token=1)
        assert made.sync_audience("", "T", phones(2), []).done == [0, 1]
        assert vendor(running).given == 2
        made.close()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"refresh_token": "other"}, "400032"),
        ({"secret_key": "other"}, "400032"),
        ({"user_name": "other"}, "8104"),
    ],
)
def test_what_a_person_must_mend_stops_the_channel(
    sandbox: Sandbox, change: dict[str, str], code: str
) -> None:
    account = baidu_account(sandbox)
    secrets = dict(account.credentials) | {k: v for k, v in change.items() if k in account.credentials}
    told = dict(account.settings) | {k: v for k, v in change.items() if k not in account.credentials}
    made = Adapter(replace(account, settings=told, credentials=secrets))
    with pytest.raises(AdapterError) as caught:
        made.sync_audience("", "A", phones(1), [])
    assert (caught.value.code, caught.value.stops_channel, caught.value.retryable) == (code, True, False)
    assert not made.check().ok
    assert not any(
        secret in str(made.check()) + repr(caught.value) for secret in account.credentials.values()
    )
    made.close()


def test_nobody_listening_is_an_error_that_may_pass(sandbox: Sandbox) -> None:
    for where in ("base_url", "token_url"):
        nowhere = Adapter(baidu_account(sandbox, **{where: "http://127.0.0.1:1"}))
        with pytest.raises(AdapterError) as caught:
            nowhere.fetch_report(TODAY)
        assert caught.value.retryable
        assert not nowhere.check().ok
        nowhere.close()


def test_check_reads_the_account(adapter: Adapter) -> None:
    checked = adapter.check()
    assert (checked.ok, checked.facts["balance"]) == (True, "10000.0")


# Flights ------------------------------------------------------------------------------------------


def test_a_flight_is_a_budget_of_the_day_and_claims_nothing_else(adapter: Adapter, sandbox: Sandbox) -> None:
    audience = adapter.sync_audience("", "F", phones(30), []).external_id
    told = adapter.set_flight(flight(f"{BY_AUDIENCE}{audience}"))
    assert told == replace(flight(told.reference), cap_exposures=None, cap_days=None, without=WITHOUT)
    assert adapter.set_flight(flight(f"{BY_AUDIENCE}{audience}")) == told, "the campaign is found again"
    assert sandbox.counters("baidu")["campaigns"] == 1
    before = len(sandbox.log_lines("baidu", "campaign"))
    changed = adapter.set_flight(flight(told.reference, budget=Decimal("1000")))
    assert changed.budget == Decimal(1000)
    (line,) = sandbox.log_lines("baidu", "campaign")[before:]
    assert line["fields"] == {"budget": 142.85}, "rounded down: seven days never exceed it"
    adapter.set_flight(flight(told.reference, budget=Decimal("1000")))
    assert len(sandbox.log_lines("baidu", "campaign")) == before + 1


def test_a_flight_baidu_refuses_is_final_and_says_why(adapter: Adapter, sandbox: Sandbox) -> None:
    for reference, words in (("", "audience:"), ("x", "no id"), ("4711", "knows no campaign")):
        with pytest.raises(AdapterError, match=words) as caught:
            adapter.set_flight(flight(reference))
        assert not caught.value.retryable
    with pytest.raises(AdapterError, match="below 50 yuan") as caught:
        adapter.set_flight(flight(f"{BY_AUDIENCE}7", budget=Decimal(70)))
    assert (caught.value.retryable, caught.value.stops_channel) == (False, False)
    told = adapter.set_flight(flight(f"{BY_AUDIENCE}7"))
    sandbox.call(lambda: vendor(sandbox).campaigns[told.reference].update(sharedBudgetId=7))
    with pytest.raises(AdapterError, match="shared"):
        adapter.set_flight(flight(told.reference, budget=Decimal(1000)))


# Reports ------------------------------------------------------------------------------------------


def test_reports_keep_to_the_budget_and_come_page_by_page(
    adapter: Adapter, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("channels.adapters.baidu.PAGE", 2)
    campaigns = []
    for n in range(5):
        audience = adapter.sync_audience("", f"R{n}", phones(200, first=200 * n), []).external_id
        campaigns.append(adapter.set_flight(flight(f"{BY_AUDIENCE}{audience}")).reference)
        sandbox.call(vendor(sandbox).aim, campaigns[-1], audience)
        sandbox.call(vendor(sandbox).deliver, campaigns[-1], TODAY)
    rows = adapter.fetch_report(TODAY)
    assert [row.placement for row in rows] == sorted(campaigns)
    for row in rows:
        assert (row.day, row.currency) == (TODAY, "CNY")
        assert row.spend == Decimal(row.clicks or 0) * 2
        assert 0 < row.spend <= 100
        assert row.reach is None
    assert adapter.fetch_report(TODAY - dt.timedelta(days=1)) == []


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    config: dict[str, Any] = {"baidu": {"minimum_audience": 20}}
    with start_sandbox(tmp_path, vendors=config) as first:
        made = Adapter(baidu_account(first))
        audience = made.sync_audience("", "R", phones(200), []).external_id
        campaign = made.set_flight(flight(f"{BY_AUDIENCE}{audience}")).reference
        first.call(vendor(first).aim, campaign, audience)
        first.call(vendor(first).deliver, campaign, TODAY)
        before = made.fetch_report(TODAY)
        made.close()
    with start_sandbox(tmp_path, vendors=config) as second:
        made = Adapter(baidu_account(second))
        assert made.fetch_report(TODAY) == before
        assert made.set_flight(flight(f"{BY_AUDIENCE}{audience}")).reference == campaign
        assert made.sync_audience("", "R", phones(1), []).external_id == audience
        made.close()


# Against Baidu's own SDK ---------------------------------------------------------------------------


def test_the_sandbox_serves_baidus_own_sdk(adapter: Adapter, sandbox: Sandbox) -> None:
    base = f"http://127.0.0.1:{sandbox.ports['baidu']}"
    config = vendor(sandbox).config
    service = OAuthService()
    service.api_client.configuration._base_path = base
    given = RefreshTokenRequest(config.app_id, config.refresh_token, config.secret_key, config.user_id)
    token = service.refresh_token(given).data.accessToken
    header = ApiRequestHeader(user_name=config.user_name, access_token=token)
    with baiduads.ApiClient(baiduads.Configuration(host=base)) as client:
        audiences = ExtAudienceService(client)
        made = audiences.create_empty_group(
            CreateEmptyGroupRequestWrapper(header=header, body=APIReqExtAudience(group_name="Theirs"))
        )
        (group,) = made.body.data
        ours = adapter.sync_audience("", "Theirs", phones(30), [])
        assert ours.external_id == str(group.group_id), "their audience is our audience"
        found = audiences.get_audience_list(
            GetAudienceListRequestWrapper(header=header, body=ApiReqGroupListNew(keywords="Theirs"))
        )
        assert found.body.data[0].group_count == ours.platform_size
        campaign = adapter.set_flight(flight(f"{BY_AUDIENCE}{ours.external_id}")).reference
        sandbox.call(vendor(sandbox).aim, campaign, ours.external_id)
        sandbox.call(vendor(sandbox).deliver, campaign, TODAY)
        report = OpenApiReportService(client).get_report_data(
            GetReportDataRequestWrapper(
                header=header,
                body=ReportDataRequest(
                    report_type=2290316, start_date="2026-11-23", end_date="2026-11-23", time_unit="DAY",
                    columns=["date", "campaignId", "cost"], start_row=0, row_count=10,
                ),
            )
        )  # fmt: skip
        (theirs,) = report.body.data[0].rows
        (row,) = adapter.fetch_report(TODAY)
        assert (str(theirs["campaignId"]), Decimal(str(theirs["cost"]))) == (row.placement, row.spend)
        header.access_token = "gone"  # noqa: S105
        refused = audiences.get_audience_list(
            GetAudienceListRequestWrapper(header=header, body=ApiReqGroupListNew(keywords="Theirs"))
        )
        assert (refused.header.status, refused.header.failures[0].code) == (2, 8106)


def test_our_fields_are_those_of_the_sdk(
    adapter: Adapter, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: dict[str, dict[str, Any]] = {}
    real = adapter._call

    def noted(method: str, body: Any, **more: Any) -> list[dict[str, Any]]:
        calls[method.rsplit("/", 1)[-1]] = body
        return real(method, body, **more)

    monkeypatch.setattr(adapter, "_call", noted)
    audience = adapter.sync_audience("", "P", phones(3), []).external_id
    adapter.set_flight(flight(f"{BY_AUDIENCE}{audience}"))
    adapter.fetch_report(TODAY)
    models = {
        "createEmptyGroup": APIReqExtAudience, "getAudienceList": ApiReqGroupListNew, "updateIdUpload4Pour": APIReqIdUpload,
        "getCampaign": ApiCampaignQueryRequest, "getReportData": ReportDataRequest,
    }  # fmt: skip
    for method, model in models.items():
        assert set(calls[method]) <= set(model.attribute_map.values()), method
        names = {told: name for name, told in model.attribute_map.items()}
        model(**{names[told]: value for told, value in calls[method].items()})  # types are checked
    (campaign,) = calls["addCampaign"]["campaignTypes"]
    assert set(campaign) <= set(ApiCampaignType.attribute_map.values())


def test_a_paused_flight_is_shown_to_nobody_until_it_goes_on(adapter: Adapter, sandbox: Sandbox) -> None:
    audience = adapter.sync_audience("", "P", phones(300), []).external_id

    def deliver(reference: str, share: float) -> int:
        sandbox.call(vendor(sandbox).aim, reference, audience)
        return int(sandbox.call(vendor(sandbox).deliver, reference, TODAY, share).impressions)

    pauses_what_was_made(adapter, audience, flight(), deliver)

"""Tencent Ads against our sandbox: files of hashes worked off later, ad groups in fen, tokens that run out."""

import datetime as dt
import hashlib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from channels.adapters import tencent_ads
from channels.adapters.base import AdapterError, AudienceChange
from channels.adapters.tencent_ads import Adapter
from channels.sandbox.server import Sandbox
from channels.vocabulary import Guarantee, Observability
from tests.ad_platforms import TODAY, Keeper, account, flight, not_there, pauses, phones
from tests.adapter_contract import AdapterContract
from tests.sandbox_fixture import start_sandbox

NAME = "tencent_ads"


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Sandbox]:
    told = {NAME: {"process_seconds": 0.05, "placements": {"7001": {"adgroup_name": "By hand"}}}}
    with start_sandbox(tmp_path, vendors=told) as running:
        yield running


@pytest.fixture
def adapter(far: Sandbox) -> Iterator[Adapter]:
    made = Adapter(account(far, NAME, poll_seconds=2))
    yield made
    made.close()


def vendor(far: Sandbox) -> Any:
    return far.vendors[NAME]


def wanted(first: int, last: int) -> set[str]:
    return {hashlib.sha256(f"13800{n:06d}".encode()).hexdigest() for n in range(first, last)}


class TestTencentAds(AdapterContract):
    name = "tencent_ads"

    def test_it_promises_totals_only(self) -> None:
        assert (self.cls.guarantee, self.cls.observability) == (
            Guarantee.AGGREGATE,
            Observability.PERSON_TARGETED,
        )


def test_an_audience_is_made_once_and_holds_whom_it_should(adapter: Adapter, far: Sandbox) -> None:
    made = adapter.sync_audience("", "Campaign 1", phones(30), [])
    assert (sorted(made.done), made.failed) == (list(range(30)), {})
    assert adapter.sync_audience("", "Campaign 1", phones(30), []).external_id == made.external_id
    assert far.call(vendor(far).members, made.external_id) == wanted(0, 30), "eleven digits, hashed"
    assert len(far.log_lines(NAME, "audience")) == 1
    less = adapter.sync_audience(made.external_id, "Campaign 1", [], phones(10))
    assert sorted(less.done) == list(range(10))
    assert far.call(vendor(far).members, made.external_id) == wanted(10, 30)
    assert less.platform_size is not None
    assert 0 < less.platform_size <= 20


def test_a_file_already_there_is_not_sent_again_unless_it_was_undone(adapter: Adapter, far: Sandbox) -> None:
    made = adapter.sync_audience("", "A", phones(5), []).external_id
    adapter.sync_audience(made, "A", phones(5), [])
    assert len(far.log_lines(NAME, "file")) == 1
    adapter.sync_audience(made, "A", [], phones(5))
    adapter.sync_audience(made, "A", phones(5), [])
    assert [line["operation"] for line in far.log_lines(NAME, "file")] == ["APPEND", "REDUCE", "APPEND"]
    assert far.call(vendor(far).members, made) == wanted(0, 5)


def test_what_is_not_worked_off_in_time_is_neither_confirmed_nor_sent_again(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, vendors={NAME: {"process_seconds": 60}}) as far:
        made = Adapter(account(far, NAME, poll_seconds=0.1))
        first = made.sync_audience("", "Slow", phones(5), [])
        assert (first.done, first.failed) == ([], {})
        far.change({"vendors": {NAME: {"process_seconds": 0.0}}})
        second = made.sync_audience(first.external_id, "Slow", phones(5), [])
        assert len(second.done) == 5
        assert len(far.log_lines(NAME, "file")) == 1
        made.close()


def test_a_file_that_breaks_fails_its_people(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, vendors={NAME: {"process_seconds": 0, "broken_share": 1.0}}) as far:
        made = Adapter(account(far, NAME))
        result = made.sync_audience("", "Broken", phones(2), [])
        assert (result.done, result.failed) == ([], {0: "file 201", 1: "file 201"})
        far.change({"vendors": {NAME: {"broken_share": 0.0}}})
        assert made.sync_audience(result.external_id, "Broken", phones(2), []).done == [0, 1]
        made.close()


def test_each_kind_of_identity_goes_in_a_file_of_its_own(far: Sandbox) -> None:
    people = [
        AudienceChange(1, "phone", "+8613800138000"), AudienceChange(2, "openid", "oOpenid000002"),
        AudienceChange(3, "unionid", "uUnionid00003"), AudienceChange(4, "phone", "+14155550102"),
        AudienceChange(5, "email", "a@b.c"),
    ]  # fmt: skip
    plain = Adapter(account(far, NAME))
    result = plain.sync_audience("", "Mixed", people, [])
    assert sorted(result.done) == [1, 3]
    assert result.failed == {2: "identity_kind", 4: "not_taken_here", 5: "identity_kind"}
    plain.close()
    with_app = Adapter(account(far, NAME, wechat_app_id="wx0001"))
    assert sorted(with_app.sync_audience("", "Mixed", people, []).done) == [1, 2, 3]
    with_app.close()


def test_a_zip_never_grows_beyond_the_limit() -> None:
    values = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(1000)]
    parts = list(tencent_ads._parts(values, most=20_000))
    assert [value for part in parts for value in part] == values
    assert max(len(tencent_ads._zip("a.zip", part)) for part in parts) <= 20_000
    assert len(parts) > 2


@pytest.mark.parametrize("fault", ["drop", "drop_before"])
def test_a_lost_answer_is_repeated_to_the_same_end(adapter: Adapter, far: Sandbox, fault: str) -> None:
    audience = adapter.sync_audience("", "Lost", phones(1), []).external_id
    far.faults(NAME, next=[fault])
    with pytest.raises(AdapterError) as caught:
        adapter.sync_audience(audience, "Lost", phones(50), [])
    assert caught.value.retryable
    assert len(adapter.sync_audience(audience, "Lost", phones(50), []).done) == 50
    assert far.call(vendor(far).members, audience) == wanted(0, 50)
    files = [line for line in far.log_lines(NAME, "file") if line["lines"] == 50]
    assert len(files) == 1, "what was taken before the line went is found again by its name"


def test_files_beyond_the_limit_of_a_minute_wait(adapter: Adapter, far: Sandbox) -> None:
    assert far.config.vendors.tencent_ads.files_a_minute == 50
    far.change({"vendors": {NAME: {"files_a_minute": 5}}})
    audience = adapter.sync_audience("", "Many", phones(1), []).external_id
    for n in range(4):
        adapter.sync_audience(audience, "Many", phones(1, first=n + 1), [])
    with pytest.raises(AdapterError) as caught:
        adapter.sync_audience(audience, "Many", phones(1, first=9), [])
    assert (caught.value.code, caught.value.retryable, caught.value.retry_after) == ("11017", True, 120.0)


@pytest.mark.parametrize(("code", "seconds"), [(10000, 10.0), (11016, 10.0), (11018, 86_400.0)])
def test_errors_that_pass_say_when(adapter: Adapter, code: int, seconds: float) -> None:
    with pytest.raises(AdapterError) as caught:
        adapter.understand({"code": code, "message": "x"}, 200)
    assert (caught.value.retryable, caught.value.retry_after) == (True, seconds)
    with pytest.raises(AdapterError, match="不行") as caught:
        adapter.understand({"code": 18001, "message_cn": "不行"}, 200)
    assert (caught.value.retryable, caught.value.stops_channel) == (False, False)


# Tokens -------------------------------------------------------------------------------------------


def test_a_token_that_ran_out_is_renewed_and_kept(far: Sandbox) -> None:
    told = account(far, NAME)
    keeper = Keeper(told.credentials)
    made = Adapter(account(far, NAME, renew=keeper))
    other = Adapter(account(far, NAME, renew=keeper))
    assert made.check().ok
    far.faults(NAME, expired_token=1)
    assert made.check().ok
    assert other.check().ok, "the other worker is given the token that is kept"
    assert (keeper.exchanges, far.counters(NAME)["renewed"]) == (1, 1)
    assert keeper.stored["access_token"] != told.credentials["access_token"]
    assert keeper.stored["refresh_token"] == told.credentials["refresh_token"], "Tencent keeps it"
    made.close()
    other.close()


def test_a_channel_may_begin_with_a_refresh_token_only(far: Sandbox) -> None:
    told = account(far, NAME)
    only = {name: value for name, value in told.credentials.items() if name != "access_token"}
    made = Adapter(type(told)(5, "main", "social", told.settings, only))
    assert made.check().ok
    made.close()


def test_a_refresh_token_that_is_over_stops_the_channel_and_says_what_to_do(far: Sandbox) -> None:
    told = account(far, NAME)
    secrets = {**told.credentials, "access_token": "old", "refresh_token": "older-than-thirty-days"}
    made = Adapter(type(told)(5, "main", "social", told.settings, secrets))
    with pytest.raises(AdapterError, match="Authorise the app again") as caught:
        made.fetch_report(TODAY)
    assert caught.value.stops_channel
    assert "older-than-thirty-days" not in str(caught.value)
    made.close()


def test_nonce_and_timestamp_are_checked(far: Sandbox) -> None:
    base = f"http://127.0.0.1:{far.ports[NAME]}/v3.0/custom_audiences/get"
    config = far.config.vendors.tencent_ads
    now = int(dt.datetime.now(dt.UTC).timestamp())
    given = {"access_token": config.access_token, "account_id": config.account_id, "nonce": "once"}
    codes = [
        httpx.get(base, params={**given, **more}).json()["code"]
        for more in (
            {"timestamp": now}, {"timestamp": now}, {"timestamp": now - 301, "nonce": "b"}, {"nonce": "c"},
            {"timestamp": now, "nonce": "x" * 33},
        )
    ]  # fmt: skip
    assert codes == [0, 11003, 11002, 11002, 11003]


# Flights and reports ------------------------------------------------------------------------------


def test_a_flight_is_set_in_fen_a_day_and_no_cap_is_told_back(adapter: Adapter, far: Sandbox) -> None:
    asked = flight("7001", budget=Decimal("1000.01"))
    told = adapter.set_flight(asked)
    assert (told.budget, told.starts_on, told.ends_on) == (asked.budget, asked.starts_on, asked.ends_on)
    assert (told.cap_exposures, told.cap_days) == (None, None), "the platform has no cap: none is claimed"
    stored = far.call(lambda: dict(vendor(far).placements["7001"]))
    assert stored["daily_budget"] == 14285, "142.85 a day for seven days: never more than the flight's budget"
    before = len(far.log_lines(NAME, "placement"))
    adapter.set_flight(asked)
    assert len(far.log_lines(NAME, "placement")) == before, "only what differs is sent"


def test_a_flight_of_an_audience_is_the_ad_group_aimed_at_it(adapter: Adapter, far: Sandbox) -> None:
    audience = adapter.sync_audience("", "F", phones(5), []).external_id
    with pytest.raises(AdapterError, match="choose it in an ad group"):
        adapter.set_flight(flight(f"audience:{audience}"))
    far.call(lambda: vendor(far).place("7002", targeting={"custom_audience": [int(audience)]}))
    assert adapter.set_flight(flight(f"audience:{audience}")).reference == "7002"
    far.call(lambda: vendor(far).place("7003", targeting={"custom_audience": [int(audience)]}))
    with pytest.raises(AdapterError, match="Several ad groups"):
        adapter.set_flight(flight(f"audience:{audience}"))


def test_a_batch_taken_whose_member_is_refused_is_an_error(adapter: Adapter, far: Sandbox) -> None:
    far.faults(NAME, next=["refuse"])
    with pytest.raises(AdapterError, match="不允许修改") as caught:
        adapter.set_flight(flight("7001"))
    assert not caught.value.retryable
    with pytest.raises(AdapterError, match="¥50"):
        adapter.set_flight(flight("7001", budget=Decimal(70)))
    with pytest.raises(AdapterError, match="no ad group"):
        adapter.set_flight(flight("9"))


def test_a_report_has_a_row_an_ad_group_in_yuan_and_figures_that_move_are_told_anew(
    adapter: Adapter, far: Sandbox
) -> None:
    far.call(lambda: vendor(far).place("7002"))
    for key in ("7001", "7002"):
        adapter.set_flight(flight(key))
        far.call(vendor(far).deliver, key, TODAY, 0.5)
    first = adapter.fetch_report(TODAY)
    assert {row.placement for row in first} == {"7001", "7002"}
    assert {row.spend for row in first} == {Decimal("249.99")}, "half of 500 a day, in yuan"
    far.call(vendor(far).deliver, "7001", TODAY)
    later = {row.placement: row for row in adapter.fetch_report(TODAY)}
    assert later["7001"].spend == Decimal("499.98")
    assert later["7001"].exposures == 16_666
    assert later["7002"] == first[1]
    assert adapter.fetch_report(TODAY - dt.timedelta(days=1)) == []


def test_everything_is_there_again_after_a_restart(tmp_path: Path) -> None:
    told = {NAME: {"process_seconds": 0, "placements": {"7001": {}}}}
    with start_sandbox(tmp_path, vendors=told) as first:
        keeper = Keeper(account(first, NAME).credentials)
        made = Adapter(account(first, NAME, renew=keeper))
        first.faults(NAME, expired_token=1)
        audience = made.sync_audience("", "R", phones(5), []).external_id
        made.set_flight(flight("7001"))
        first.call(vendor(first).deliver, "7001", TODAY)
        (before,) = made.fetch_report(TODAY)
        made.close()
    with start_sandbox(tmp_path, vendors=told) as second:
        told_again = account(second, NAME)
        made = Adapter(type(told_again)(5, "m", "social", told_again.settings, keeper.stored))
        assert made.fetch_report(TODAY) == [before]
        assert made.sync_audience("", "R", phones(5), []).external_id == audience
        assert second.call(vendor(second).members, audience) == wanted(0, 5)
        made.close()


def test_secrets_are_in_no_error(far: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    nowhere = Adapter(account(far, NAME, base_url="http://127.0.0.1:1"))
    with caplog.at_level("DEBUG"):
        told = [str(nowhere.check()), repr(nowhere.account)]
        with pytest.raises(AdapterError) as caught:
            nowhere.fetch_report(TODAY)
    assert caught.value.retryable
    for secret in nowhere.account.credentials.values():
        assert not any(secret in text for text in (*told, str(caught.value), caplog.text))


def test_a_paused_flight_is_shown_to_nobody_until_it_goes_on(adapter: Adapter, far: Sandbox) -> None:
    adapter.set_flight(flight("7001"))
    pauses(adapter, "7001", lambda share: int(far.call(vendor(far).deliver, "7001", TODAY, share).exposures))
    not_there(adapter, "9")
    source = adapter.sync_audience("", "P", phones(5), []).external_id
    not_there(adapter, f"audience:{source}")

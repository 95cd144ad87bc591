"""Weibo against our sandbox: the budget of a series, dates and frequency cap of an ad, reports in yuan."""

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from channels.adapters.base import AdapterError
from channels.adapters.weibo import Adapter
from channels.sandbox.server import Sandbox
from channels.vocabulary import Guarantee, Observability
from tests.ad_platforms import TODAY, Keeper, account, flight
from tests.adapter_contract import AdapterContract
from tests.sandbox_fixture import start_sandbox

NAME = "weibo"
BY_HAND = {
    "7001": {"campaign_id": 51, "targeting": {"age_min": 18}},
    "series:51": {"lifetime_budget": "0.00"},
}


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Sandbox]:
    with start_sandbox(tmp_path, vendors={NAME: {"placements": BY_HAND}}) as running:
        yield running


@pytest.fixture
def adapter(far: Sandbox) -> Iterator[Adapter]:
    made = Adapter(account(far, NAME))
    yield made
    made.close()


def vendor(far: Sandbox) -> Any:
    return far.vendors[NAME]


class TestWeibo(AdapterContract):
    name = NAME

    def test_it_is_a_placement_and_takes_no_audience(self) -> None:
        assert (self.cls.guarantee, self.cls.observability) == (Guarantee.AGGREGATE, Observability.PLACEMENT)
        assert "sync_audience" not in self.cls.verbs()


def test_a_flight_with_its_cap_is_set_once_and_only_what_differs_is_sent(
    adapter: Adapter, far: Sandbox
) -> None:
    asked = flight("7001")
    assert adapter.set_flight(asked) == asked, "the platform holds budget, dates and cap"
    ad = far.call(lambda: dict(vendor(far).placements["7001"]))
    assert json.loads(ad["targeting"]["frequency"]) == [{"time_interval": 7, "limit": 3}]
    assert ad["targeting"]["age_min"] == 18, "the rest of the targeting stays"
    before = len(far.log_lines(NAME, "placement"))
    assert adapter.set_flight(asked) == asked
    assert len(far.log_lines(NAME, "placement")) == before
    changed = flight("7001", cap_exposures=5)
    assert adapter.set_flight(changed) == changed
    assert [sorted(line["fields"]) for line in far.log_lines(NAME, "placement")[before:]] == [["targeting"]]


def test_a_budget_the_platform_would_not_take_says_why(adapter: Adapter) -> None:
    adapter.set_flight(flight("7001"))
    for asked, words in (
        (flight("7001", budget=Decimal(149)), "¥150"), (flight("7001", budget=Decimal(3550)), "¥100 or more"),
        (flight("audience:1"), "write its id"), (flight("9"), "does not exist"),
    ):  # fmt: skip
        with pytest.raises(AdapterError, match=words) as caught:
            adapter.set_flight(asked)
        assert not caught.value.retryable


def test_a_budget_is_not_taken_below_what_was_spent(adapter: Adapter, far: Sandbox) -> None:
    adapter.set_flight(flight("7001"))
    for n in range(4):
        far.call(vendor(far).deliver, "7001", TODAY + dt.timedelta(days=n))
    with pytest.raises(AdapterError, match="120%"):
        adapter.set_flight(flight("7001", budget=Decimal(2100)))


def test_a_report_has_a_row_an_ad_in_yuan(
    adapter: Adapter, far: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("channels.adapters.weibo.PAGE", 2)
    adapter.set_flight(flight("7001"))
    fields = far.call(lambda: dict(vendor(far).placements["7001"]))
    for n in range(5):
        far.call(lambda n=n: vendor(far).place(str(7001 + n), **fields))
        far.call(vendor(far).deliver, str(7001 + n), TODAY)
    rows = adapter.fetch_report(TODAY)
    assert [row.placement for row in rows] == [str(7001 + n) for n in range(5)]
    assert (rows[0].spend, rows[0].exposures, rows[0].clicks) == (Decimal("499.98"), 16_666, 199)
    assert adapter.fetch_report(TODAY - dt.timedelta(days=1)) == []


def test_errors_are_mapped(adapter: Adapter, far: Sandbox) -> None:
    far.faults(NAME, next=["throttle", "refuse", "drop"])
    for retryable in (True, False, True):
        with pytest.raises(AdapterError) as caught:
            adapter.set_flight(flight("7001"))
        assert caught.value.retryable == retryable
    assert adapter.set_flight(flight("7001")) == flight("7001"), "repeated, it converges"


def test_a_token_that_ran_out_is_renewed_without_the_apps_secret_and_kept(far: Sandbox) -> None:
    told = account(far, NAME)
    keeper = Keeper(told.credentials)
    made = Adapter(account(far, NAME, renew=keeper))
    far.faults(NAME, expired_token=1)
    assert made.check().ok
    assert keeper.exchanges == 1
    assert keeper.stored["refresh_token"] != told.credentials["refresh_token"]
    made.close()

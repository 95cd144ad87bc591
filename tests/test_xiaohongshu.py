"""Xiaohongshu against our sandbox: a campaign's budget in fen, reports in yuan of days that are over."""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from channels.adapters.base import AdapterError
from channels.adapters.xiaohongshu import Adapter
from channels.sandbox.server import Sandbox
from channels.vocabulary import Guarantee, Observability
from tests.ad_platforms import Keeper, account, flight, not_there, pauses, today
from tests.adapter_contract import AdapterContract
from tests.sandbox_fixture import start_sandbox

NAME = "xiaohongshu"


def yesterday() -> dt.date:
    return today() - dt.timedelta(days=1)


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Sandbox]:
    with start_sandbox(
        tmp_path, vendors={NAME: {"placements": {"7001": {"campaign_name": "By hand"}}}}
    ) as running:
        yield running


@pytest.fixture
def adapter(far: Sandbox) -> Iterator[Adapter]:
    made = Adapter(account(far, NAME))
    yield made
    made.close()


def vendor(far: Sandbox) -> Any:
    return far.vendors[NAME]


def running(**fields: Any) -> Any:
    return flight("7001", starts_on=yesterday(), ends_on=yesterday() + dt.timedelta(days=6), **fields)


class TestXiaohongshu(AdapterContract):
    name = "xiaohongshu"

    def test_it_is_a_placement_and_takes_no_audience(self) -> None:
        assert (self.cls.guarantee, self.cls.observability) == (Guarantee.AGGREGATE, Observability.PLACEMENT)
        assert "sync_audience" not in self.cls.verbs()


def test_a_flight_is_set_in_fen_a_day_and_no_cap_is_told_back(adapter: Adapter, far: Sandbox) -> None:
    asked = running(budget=Decimal("1400.03"))
    told = adapter.set_flight(asked)
    assert (told.budget, told.starts_on, told.ends_on) == (asked.budget, asked.starts_on, asked.ends_on)
    assert told.cap_exposures is None
    assert far.call(lambda: vendor(far).placements["7001"]["campaign_day_budget"]) == 20_000
    before = len(far.log_lines(NAME, "placement"))
    adapter.set_flight(asked)
    assert len(far.log_lines(NAME, "placement")) == before


def test_a_flight_the_platform_would_not_take_says_what_to_do(adapter: Adapter) -> None:
    for asked, words in (
        (flight("audience:1"), "write its id"), (flight(""), "write its id"), (flight("9"), "no campaign"),
        (flight("7001", budget=Decimal(70)), "¥100"),
    ):  # fmt: skip
        with pytest.raises(AdapterError, match=words) as caught:
            adapter.set_flight(asked)
        assert not caught.value.retryable


def test_a_report_has_a_row_a_campaign_in_yuan(adapter: Adapter, far: Sandbox) -> None:
    adapter.set_flight(running(budget=Decimal(70_000)))
    far.call(vendor(far).deliver, "7001", yesterday())
    (row,) = adapter.fetch_report(yesterday())
    assert (row.placement, row.spend, row.exposures) == ("7001", Decimal("9999.99"), 333_333)
    assert adapter.fetch_report(yesterday() + dt.timedelta(days=1)) == [], "a day is told when it is over"


def test_a_report_of_many_campaigns_comes_page_by_page(
    adapter: Adapter, far: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("channels.adapters.xiaohongshu.PAGE", 2)
    for n in range(5):
        key = str(8000 + n)
        far.call(
            lambda key=key: vendor(far).place(
                key, campaign_day_budget=10_000, start_time=str(yesterday()), expire_time=""
            )
        )
        far.call(vendor(far).deliver, key, yesterday())
    assert [row.placement for row in adapter.fetch_report(yesterday())] == [str(8000 + n) for n in range(5)]


def test_errors_are_mapped(adapter: Adapter, far: Sandbox) -> None:
    far.faults(NAME, next=["throttle", "refuse", "drop"])
    for retryable in (True, False, True):
        with pytest.raises(AdapterError) as caught:
            adapter.fetch_report(yesterday())
        assert caught.value.retryable == retryable
    other = Adapter(account(far, NAME, account_id="999"))
    with pytest.raises(AdapterError) as caught:
        other.fetch_report(yesterday())
    assert caught.value.stops_channel
    other.close()


def test_a_token_that_ran_out_is_renewed_and_kept(far: Sandbox) -> None:
    told = account(far, NAME)
    keeper = Keeper(told.credentials)
    made = Adapter(account(far, NAME, renew=keeper))
    far.faults(NAME, expired_token=1)
    assert made.check().ok
    assert keeper.exchanges == 1
    assert keeper.stored["refresh_token"] != told.credentials["refresh_token"]
    made.close()
    late = Adapter(told)
    with pytest.raises(AdapterError, match="Authorise the app again"):
        late.fetch_report(yesterday())
    late.close()


def test_a_paused_flight_is_shown_to_nobody_until_it_goes_on(adapter: Adapter, far: Sandbox) -> None:
    adapter.set_flight(running())
    pauses(
        adapter,
        "7001",
        lambda share: int(far.call(vendor(far).deliver, "7001", yesterday(), share).exposures),
    )
    not_there(adapter, "9")

"""What is fetched from providers: days missed in a stop, accounts without a balance, packages, and how it fares."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from audiences.vocabulary import Medium
from channels import adapters, balances, consumption, daily_reports, fetching, packages, wallets
from channels.accounts import release_adapters
from channels.adapters.base import AdapterError, Balance, BaseAdapter, Checked, ReportRow
from channels.models import Channel, ChannelFetch, PlatformRule, WalletStatement
from channels.registers import OwnUse, own_use
from channels.vocabulary import Domain, Guarantee, Observability
from tests.channel_rows import make_channel

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
TODAY = date(2026, 11, 23)
DAY = timedelta(days=1)


class Teller(BaseAdapter):
    """A provider that tells what it is given to tell."""

    name = "teller"
    label = "Teller"
    media = (Medium.SOCIAL,)
    domain = Domain.PUBLIC
    guarantee = Guarantee.AGGREGATE
    observability = Observability.PLACEMENT
    asked: ClassVar[list[date]] = []
    refused: ClassVar[dict[date, AdapterError]] = {}
    balances: ClassVar[list[list[Balance] | Exception]] = []

    def fetch_report(self, day: date) -> list[ReportRow]:
        self.asked.append(day)
        if day in self.refused:
            raise self.refused[day]
        return [ReportRow(day, "p", "CNY", Decimal(1))]

    def fetch_balance(self) -> list[Balance]:
        told = self.balances.pop(0)
        if isinstance(told, Exception):
            raise told
        return told

    def check(self) -> Checked:
        return Checked(True, "ok")


@pytest.fixture(autouse=True)
def _teller(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(adapters, "_added", {"teller": Teller})
    for kept in (Teller.asked, Teller.refused, Teller.balances):
        kept.clear()
    yield
    release_adapters()


@pytest.fixture
def channel(db: None) -> Channel:
    return make_channel("teller", "social")


def asked() -> list[date]:
    """Days asked for since the last look, each once."""
    days = sorted(set(Teller.asked))
    Teller.asked.clear()
    return days


def days(first: date, last: date) -> list[date]:
    return [first + n * DAY for n in range((last - first).days + 1)]


def fetched(channel: Channel, kind: str = "reports") -> ChannelFetch:
    return ChannelFetch.objects.get(channel=channel, kind=kind)


# Reports ------------------------------------------------------------------------------------------


def test_days_missed_in_a_long_stop_are_fetched_and_those_settled_before_are_not(channel: Channel) -> None:
    daily_reports.fetch_all(NOW)
    assert asked() == days(TODAY - 2 * DAY, TODAY)
    daily_reports.fetch_all(NOW + DAY)
    assert asked() == days(TODAY - DAY, TODAY + DAY), "day by day only the last days are fetched again"
    daily_reports.fetch_all(NOW + 15 * DAY)
    # The two days before the last fetch had not settled then.
    assert asked() == days(TODAY, TODAY + 15 * DAY)
    daily_reports.fetch_all(NOW + 15 * DAY + timedelta(hours=1))
    assert asked() == days(TODAY + 13 * DAY, TODAY + 15 * DAY)


def test_a_first_fetch_asks_for_the_last_days_only(channel: Channel) -> None:
    daily_reports.fetch(channel, NOW)
    assert asked() == days(TODAY - 2 * DAY, TODAY)
    assert fetched(channel).missed == []


def test_an_installation_that_kept_no_state_yet_goes_on_from_its_newest_report(channel: Channel) -> None:
    told = ReportRow(TODAY - 10 * DAY, "p", "CNY", Decimal(1))
    daily_reports.store(channel, [told], NOW - 10 * DAY)
    daily_reports.fetch(channel, NOW)
    assert asked() == days(TODAY - 11 * DAY, TODAY)


def test_a_very_long_stop_is_made_up_for_over_several_runs_and_a_failure_goes_on_where_it_was(
    channel: Channel,
) -> None:
    daily_reports.fetch(channel, NOW)
    asked()
    later, today = NOW + 60 * DAY, TODAY + 60 * DAY
    Teller.refused[TODAY + 10 * DAY] = AdapterError("busy", retryable=True)
    assert daily_reports.fetch_all(later) == {channel.pk: "busy"}
    assert asked() == [*days(TODAY - DAY, TODAY + 10 * DAY), *days(today - 2 * DAY, today)]
    Teller.refused.clear()
    daily_reports.fetch(channel, later)
    assert asked()[:31] == days(TODAY + 10 * DAY, TODAY + 40 * DAY)
    daily_reports.fetch(channel, later)
    assert asked() == days(TODAY + 41 * DAY, today)
    daily_reports.fetch(channel, later)
    assert asked() == days(today - 2 * DAY, today)
    assert daily_reports.missed(fetched(channel)) == []


def test_days_the_platform_gives_no_more_are_told_as_missed_until_a_file_brings_them(
    channel: Channel,
) -> None:
    PlatformRule.objects.create(
        medium="social", key="report_reach_days", value=20, valid_from=TODAY, source="test"
    )
    daily_reports.fetch(channel, NOW)
    asked()
    later, today = NOW + 30 * DAY, TODAY + 30 * DAY
    Teller.refused[TODAY + 15 * DAY] = AdapterError("no data for this day", code="gone")
    daily_reports.fetch(channel, later)
    assert asked() == days(today - 19 * DAY, today)
    gone = today - 20 * DAY
    assert daily_reports.missed(fetched(channel)) == [
        daily_reports.Missed(TODAY + DAY, gone, ""),
        daily_reports.Missed(TODAY + 15 * DAY, TODAY + 15 * DAY, "no data for this day"),
    ]
    rows = [ReportRow(day, "p", "CNY", Decimal(1)) for day in days(TODAY + 2 * DAY, gone)]
    daily_reports.store(channel, rows, later, source="spend.csv")
    assert daily_reports.missed(fetched(channel))[0] == daily_reports.Missed(TODAY + DAY, TODAY + DAY, "")


def test_how_each_fetch_fared_is_kept_in_the_providers_words(channel: Channel) -> None:
    Teller.refused[TODAY] = AdapterError("quota of the token is used up", retryable=True)
    daily_reports.fetch_all(NOW)
    daily_reports.fetch_all(NOW + timedelta(hours=1))
    row = fetched(channel)
    assert (row.error, row.failing_since) == ("quota of the token is used up", NOW)
    assert (row.failed_at, row.succeeded_at) == (NOW + timedelta(hours=1), None)
    Teller.refused.clear()
    daily_reports.fetch_all(NOW + timedelta(hours=2))
    row.refresh_from_db()
    assert (row.succeeded_at, row.failing_since) == (NOW + timedelta(hours=2), None)
    assert (row.failed_at, row.error) == (NOW + timedelta(hours=1), "quota of the token is used up")


def test_a_client_that_breaks_does_not_keep_other_channels_from_being_asked(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_channel("teller", "social")
    Teller.balances.extend([ZeroDivisionError("oops"), [Balance("CNY", Decimal(5))]])
    assert balances.fetch_all(NOW) == {channel.pk: "ZeroDivisionError: oops", other.pk: 1}
    assert fetched(channel, "balances").error == "ZeroDivisionError: oops"


# Balances -----------------------------------------------------------------------------------------


def test_an_account_without_a_balance_is_asked_once_a_day(channel: Channel) -> None:
    Teller.balances.extend([[], []])
    assert balances.fetch_all(NOW) == {channel.pk: 0}
    assert fetched(channel, "balances").nothing
    assert balances.fetch_all(NOW + timedelta(hours=1)) == {}
    assert balances.fetch_all(NOW + DAY) == {channel.pk: 0}
    assert not Teller.balances
    assert not WalletStatement.objects.exists()


def test_a_refusal_stands_for_the_day_and_a_failure_is_repeated(channel: Channel) -> None:
    Teller.balances.extend([AdapterError("try later", retryable=True), AdapterError("not permitted")])
    assert balances.fetch_all(NOW) == {channel.pk: "try later"}
    assert balances.fetch_all(NOW + timedelta(hours=1)) == {channel.pk: "not permitted"}
    assert balances.fetch_all(NOW + timedelta(hours=2)) == {}
    Teller.balances.append([Balance("CNY", Decimal(5))])
    assert balances.fetch(channel, NOW + timedelta(hours=2)) == 1, "who asks by hand is answered"


# Packages -----------------------------------------------------------------------------------------


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[OwnUse]:
    told: list[OwnUse] = []
    monkeypatch.setattr(
        own_use,
        "_entries",
        {"test": lambda since: [use for use in told if use.day >= since.get(use.channel_id, date.max)]},
    )
    return told


@pytest.mark.django_db
def test_a_package_first_seen_today_does_not_count_the_days_messages_twice(sent: list[OwnUse]) -> None:
    channel = make_channel("tencent_sms")
    ends = TODAY + 20 * DAY
    sent.append(OwnUse(channel.pk, TODAY, 100, Decimal(5)))  # before anybody asked
    told = [Balance("messages", Decimal(500), "12"), Balance("messages", Decimal(900), "11", ends)]
    balances.store(channel, told, NOW)
    (wallet,) = wallets.of_channels(TODAY)
    assert (wallet.closing, wallet.difference) == (1400, 0)
    assert [one.left for one in packages.of_channels(TODAY)[channel.pk].open] == [900, 500]
    consumption.accrue(NOW + timedelta(hours=1))
    sent[:] = [OwnUse(channel.pk, TODAY, 130, Decimal(5))]  # thirty more, later
    consumption.accrue(NOW + timedelta(hours=2))
    assert wallets.of_channels(TODAY)[0].closing == 1370
    left: list[Any] = [Balance("messages", Decimal(500), "12"), Balance("messages", Decimal(870), "11", ends)]
    balances.store(channel, left, NOW + timedelta(hours=3))
    assert wallets.of_channels(TODAY)[0].difference == 0


@pytest.mark.django_db
def test_a_package_bought_when_the_last_one_ran_out_brings_what_was_used_of_it_already(
    sent: list[OwnUse],
) -> None:
    channel = make_channel("tencent_sms")
    balances.store(channel, [Balance("messages", Decimal(100), "1")], NOW)
    sent.append(OwnUse(channel.pk, TODAY + DAY, 160, Decimal(5)))
    balances.store(channel, [Balance("messages", Decimal(940), "2")], NOW + DAY)
    (wallet,) = wallets.of_channels(TODAY + DAY)
    assert (wallet.closing, wallet.difference) == (940, 0)


@pytest.mark.django_db
def test_a_package_bought_while_another_is_in_use_brings_what_is_left_of_it(sent: list[OwnUse]) -> None:
    channel = make_channel("tencent_sms")
    first = Balance("messages", Decimal(100), "1", TODAY + 9 * DAY)
    balances.store(channel, [first], NOW)
    sent.append(OwnUse(channel.pk, TODAY + DAY, 60, Decimal(5)))
    told = [Balance("messages", Decimal(40), "1", TODAY + 9 * DAY), Balance("messages", Decimal(1000), "2")]
    balances.store(channel, told, NOW + DAY)
    assert wallets.of_channels(TODAY + DAY)[0].closing == 1040


def test_only_what_an_adapter_tells_is_fetched(channel: Channel) -> None:
    assert fetching.kinds(channel) == ["reports", "balances"]
    assert fetching.kinds(Channel(adapter="gone")) == []

"""Wallets follow what platforms report and what we hand over; packages are used first-expiring-first."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from channels import consumption, daily_reports, packages, spend_sheet, wallets
from channels.adapters.base import Outcome, ReportRow, Sent
from channels.models import Channel, WalletEntry
from channels.registers import FlightBudget, OwnUse, flight_budgets, own_use
from tests.channel_rows import make_channel

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
TODAY = date(2026, 11, 23)


def entry(channel: Channel, kind: str, amount: Any, day: date = TODAY, **fields: Any) -> WalletEntry:
    fields = {"unit": "CNY", "source": "file x", "source_key": f"k{WalletEntry.objects.count()}"} | fields
    return WalletEntry.objects.create(channel=channel, kind=kind, amount=Decimal(amount), day=day, **fields)


def report(channel: Channel, spend: str, day: date = TODAY, at: datetime = NOW) -> None:
    daily_reports.store(channel, [ReportRow(day, "p", "CNY", Decimal(spend))], at)


def closing(channel: Channel, day: date = TODAY) -> Decimal:
    return wallets.of_channels(day, channel.pk)[0].closing


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[OwnUse]:
    """What campaigns would tell was handed over."""
    told: list[OwnUse] = []
    monkeypatch.setattr(
        own_use, "_entries", {"test": lambda since: [u for u in told if u.channel_id in since]}
    )
    return told


@pytest.mark.django_db
def test_a_wallet_consumes_what_its_platform_reports_and_follows_its_corrections() -> None:
    channel = make_channel(medium="search", price_model="cpc")
    entry(channel, "opening", 1000)
    report(channel, "300.5")
    assert consumption.accrue(NOW) == 1
    assert consumption.accrue(NOW) == 0
    assert closing(channel) == Decimal("699.5")
    report(channel, "310", at=NOW + timedelta(hours=1))  # more came in
    report(channel, "280.25", at=NOW + timedelta(hours=2))  # the platform took some clicks back
    assert consumption.accrue(NOW) == 1
    assert closing(channel) == Decimal("719.75")
    kinds = list(WalletEntry.objects.filter(source="accrued").order_by("id").values_list("kind", "amount"))
    assert kinds == [("cash_consumption", Decimal("300.5")), ("adjustment", Decimal("20.25"))]
    (line,) = spend_sheet.sheet(TODAY).lines
    assert (line.cash, line.balance) == (Decimal("280.25"), Decimal("719.75"))


@pytest.mark.django_db
def test_a_day_whose_consumption_a_file_brought_counts_as_the_file_says() -> None:
    channel = make_channel(medium="search", price_model="cpc")
    entry(channel, "opening", 1000)
    report(channel, "300")
    consumption.accrue(NOW)
    entry(channel, "cash_consumption", 200)
    entry(channel, "bonus_consumption", 100)
    consumption.accrue(NOW)
    consumption.accrue(NOW)
    assert closing(channel) == 700
    (line,) = spend_sheet.sheet(TODAY).lines
    assert (line.cash, line.from_bonus) == (200, 100)


@pytest.mark.django_db
def test_an_account_without_a_wallet_is_not_accrued_and_days_before_its_first_are_not_either() -> None:
    bare = make_channel(medium="search", price_model="cpc")
    report(bare, "5")
    opened = make_channel(medium="search", price_model="cpc")
    entry(opened, "opening", 100)
    report(opened, "7", day=TODAY - timedelta(days=1))
    assert consumption.accrue(NOW) == 0
    lines = {line.channel.pk: line for line in spend_sheet.sheet(TODAY).lines}
    assert (lines[bare.pk].balance, lines[bare.pk].cash) == (None, 5)
    assert lines[opened.pk].balance == 100


@pytest.mark.django_db
def test_a_package_is_counted_in_parts_and_money_is_not_taken_as_well(sent: list[OwnUse]) -> None:
    channel = make_channel(name="SMS")
    entry(channel, "top_up", 10_000, unit="messages")
    entry(channel, "opening", 50)
    sent.append(OwnUse(channel.pk, TODAY, 1200, Decimal("54")))
    consumption.accrue(NOW)
    left = {wallet.unit: wallet.closing for wallet in wallets.of_channels(TODAY)}
    assert left == {"messages": 8800, "CNY": 50}


@pytest.mark.django_db
def test_messages_are_used_first_expiring_first_and_what_expires_unused_is_gone(sent: list[OwnUse]) -> None:
    channel = make_channel(name="SMS")
    old, soon = TODAY - timedelta(days=60), TODAY + timedelta(days=10)
    yearly = entry(channel, "top_up", 1000, old, unit="messages", expires_on=TODAY + timedelta(days=300))
    short = entry(channel, "top_up", 500, old, unit="messages", expires_on=TODAY - timedelta(days=5))
    monthly = entry(channel, "bonus", 300, old, unit="messages", expires_on=soon)
    sent += [
        OwnUse(channel.pk, TODAY - timedelta(days=20), 200, Decimal(0)),  # from the short one: 300 left
        OwnUse(channel.pk, TODAY - timedelta(days=2), 350, Decimal(0)),  # the short one is gone: 300, then 50
    ]
    consumption.accrue(NOW)
    found = packages.of_channels(TODAY)[channel.pk]
    left = {one.entry_id: (one.left, one.lapsed) for one in found.packages}
    assert left == {yearly.pk: (950, 0), short.pk: (0, 300), monthly.pk: (0, 0)}
    assert found.left == closing(channel) == 950  # the lapse is an entry, so that the wallet says it too
    assert consumption.accrue(NOW) == 0
    assert [one.entry_id for one in found.open] == [yearly.pk]


@pytest.mark.django_db
def test_a_package_about_to_expire_is_warned_of_on_the_sheet(sent: list[OwnUse]) -> None:
    channel = make_channel(name="SMS")
    entry(channel, "top_up", 5000, unit="messages", expires_on=TODAY + timedelta(days=29))
    entry(channel, "top_up", 5000, unit="messages", expires_on=TODAY + timedelta(days=31))
    (line,) = spend_sheet.sheet(TODAY).lines
    assert line.warnings == ["5,000 messages expire on 2026-12-22."]


@pytest.mark.django_db
def test_late_sending_before_an_expiry_takes_back_what_was_entered_as_lapsed(sent: list[OwnUse]) -> None:
    channel = make_channel(name="SMS")
    bought, ended = TODAY - timedelta(days=30), TODAY - timedelta(days=3)
    entry(channel, "top_up", 500, bought, unit="messages", expires_on=ended)
    consumption.accrue(NOW)
    assert closing(channel) == 0
    sent.append(OwnUse(channel.pk, ended, 200, Decimal(0)))
    consumption.accrue(NOW)
    assert closing(channel) == 0
    assert packages.of_channels(TODAY)[channel.pk].packages[0].lapsed == 300


@pytest.mark.django_db
def test_use_beyond_all_packages_is_overdrawn_until_the_next_one(sent: list[OwnUse]) -> None:
    channel = make_channel(name="SMS")
    entry(channel, "top_up", 100, TODAY - timedelta(days=2), unit="messages")
    sent.append(OwnUse(channel.pk, TODAY - timedelta(days=1), 150, Decimal(0)))
    consumption.accrue(NOW)
    assert packages.of_channels(TODAY)[channel.pk].overdrawn == 50
    assert "Overdrawn." in spend_sheet.sheet(TODAY).lines[0].warnings
    entry(channel, "top_up", 200, unit="messages")
    found = packages.of_channels(TODAY)[channel.pk]
    assert (found.overdrawn, found.left) == (0, 150)


@pytest.mark.django_db
def test_pace_and_days_left_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = make_channel(medium="search", price_model="cpc")
    budget = FlightBudget(channel.pk, "CNY", Decimal(1000), Decimal(450), Decimal(300))
    monkeypatch.setattr(flight_budgets, "_entries", {"test": lambda day: [budget]})
    entry(channel, "opening", 1000, TODAY - timedelta(days=6))
    for back in range(7):
        report(channel, "100", day=TODAY - timedelta(days=back))
    consumption.accrue(NOW)
    (line,) = spend_sheet.sheet(TODAY).lines
    assert (line.balance, line.days_left, line.pace) == (300, 3, Decimal("1.5"))
    assert line.warnings == ["Lasts 3 more days.", "Spends faster than planned."]


@pytest.mark.django_db(transaction=True)
def test_campaigns_tell_what_they_handed_over_and_how_far_their_flights_are() -> None:
    from campaigns import dispatch, spend_facts
    from tests import factories as make
    from tests.wire import Wire

    wire = Wire(lambda message: Sent(message.attempt_id, Outcome.ACCEPTED, parts=2))
    channel = make.channel("sms", wire=wire)
    found = make.campaign([channel], channel_budget=Decimal(1400))
    make.released(found, make.customers(3, ["sms"]), reserved="0.10")
    assert dispatch.dispatch_channel(channel.pk, now=make.NOW).accepted == 3
    day = make.NOW.date()
    (use,) = spend_facts.own_use({channel.pk: day})
    assert (use.day, use.messages, use.cost) == (day, 6, Decimal("0.30"))
    assert spend_facts.own_use({channel.pk: day + timedelta(days=1)}) == []
    (flight,) = spend_facts.flights(day)  # until midnight: 13 of the flight's 337 hours
    assert (flight.amount, flight.spent) == (1400, Decimal("0.30"))
    assert float(flight.expected) == pytest.approx(1400 * 13 / 337, abs=0.01)

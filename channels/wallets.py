"""Wallets 账户余额: what our entries say is left, held against what the platform says."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from channels.balances import API
from channels.models import Channel
from channels.queries import money


@dataclass(frozen=True, slots=True)
class Wallet:
    """Opening + top-up + bonus + transfers in + adjustment − consumption − transfers out − refunds = closing."""

    channel: Channel
    unit: str
    opening: Decimal = Decimal(0)
    top_up: Decimal = Decimal(0)
    bonus: Decimal = Decimal(0)
    transfer_in: Decimal = Decimal(0)
    cash_consumption: Decimal = Decimal(0)
    bonus_consumption: Decimal = Decimal(0)
    transfer_out: Decimal = Decimal(0)
    refund: Decimal = Decimal(0)
    adjustment: Decimal = Decimal(0)
    closing: Decimal = Decimal(0)
    told: Decimal | None = None  # by the platform
    told_on: date | None = None
    expected: Decimal | None = None  # by our entries, on the day it was told; or at the moment it was fetched
    fetched_at: datetime | None = None  # from the platform itself; None: loaded from a file

    @property
    def difference(self) -> Decimal | None:
        """What the platform has beyond our count; None where we do not count."""
        if self.told is None or (self.fetched_at is not None and self.expected is None):
            return None
        return self.told - (self.expected or Decimal(0))


AMOUNTS = (
    "opening",
    "top_up",
    "bonus",
    "transfer_in",
    "cash_consumption",
    "bonus_consumption",
    "transfer_out",
    "refund",
    "adjustment",
    "closing",
)  # in the order of the query


def of_channels(last: date, channel_id: int | None = None) -> list[Wallet]:
    """Every wallet with an entry or a statement up to a day."""
    entries = {
        row[:2]: [amount or Decimal(0) for amount in row[2:]] for row in money.wallets(last, channel_id)
    }
    told = {row[:2]: row[2:] for row in money.statements(last, channel_id)}
    channels = Channel.objects.in_bulk({channel for channel, _unit in entries.keys() | told.keys()})
    found = []
    for channel, unit in sorted(
        entries.keys() | told.keys(), key=lambda key: (channels[key[0]].name, key[1])
    ):
        amounts = dict(zip(AMOUNTS, entries.get((channel, unit), [Decimal(0)] * len(AMOUNTS)), strict=True))
        day, balance, source, expected, at = told.get((channel, unit), (None, None, None, None, None))
        found.append(
            Wallet(
                channels[channel], unit, told=balance, told_on=day, expected=expected,
                fetched_at=at if source == API else None, **amounts,
            )
        )  # fmt: skip
    return found

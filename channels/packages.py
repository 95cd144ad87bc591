"""Message packages 短信包: used first-expiring-first, what is left of each, and what expires unused.

Worked out from the wallet's entries in the unit ``messages``, day by day, so that it can be told for any day.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from django.db.models import Q

from channels.models import WalletEntry
from channels.queries import consumption as queries

UNIT = "messages"
SOON = dt.timedelta(days=30)
"""A package that expires within this time is warned of."""
BRINGING = ("opening", "top_up", "bonus", "transfer_in")


@dataclass(slots=True)
class Package:
    """One purchase of messages. ``left`` after the last day worked out; ``lapsed`` expired unused."""

    entry_id: int
    bought_on: dt.date
    bought: Decimal
    expires_on: dt.date | None
    left: Decimal
    lapsed: Decimal = Decimal(0)

    def soon(self, day: dt.date) -> bool:
        """Whether it expires soon with something left."""
        return self.left > 0 and self.expires_on is not None and self.expires_on <= day + SOON


@dataclass(slots=True)
class Packages:
    """The packages of one channel at the end of a day. ``overdrawn``: used beyond all of them."""

    channel_id: int
    day: dt.date
    packages: list[Package] = field(default_factory=list)
    overdrawn: Decimal = Decimal(0)

    @property
    def left(self) -> Decimal:
        return sum((one.left for one in self.packages), -self.overdrawn)

    @property
    def open(self) -> list[Package]:
        """Those with something left, in the order in which they are used."""
        return sorted((one for one in self.packages if one.left > 0), key=_order)

    def expiring(self) -> list[Package]:
        return [one for one in self.open if one.soon(self.day)]


def _order(package: Package) -> tuple[bool, dt.date, dt.date, int]:
    """First expiring first; those that never expire last; then the older purchase."""
    return (
        package.expires_on is None,
        package.expires_on or dt.date.max,
        package.bought_on,
        package.entry_id,
    )


def of_channels(day: dt.date, channel_id: int | None = None) -> dict[int, Packages]:
    """Channel → its packages at the end of a day."""
    chosen = Q(unit=UNIT, day__lte=day)
    if channel_id is not None:
        chosen &= Q(channel_id=channel_id)
    by_channel: dict[int, list[WalletEntry]] = {}
    for entry in WalletEntry.objects.filter(chosen).order_by("channel_id", "day", "id"):
        by_channel.setdefault(entry.channel_id, []).append(entry)
    return {channel: worked_out(channel, entries, day) for channel, entries in by_channel.items()}


def worked_out(channel_id: int, entries: Iterable[WalletEntry], day: dt.date) -> Packages:
    """Walk through the entries day by day. Entries for what lapsed are left out: they are worked out here."""
    found = Packages(channel_id, day)
    days: dict[dt.date, list[WalletEntry]] = {}
    for entry in entries:
        if not entry.source_key.startswith("lapse:"):
            days.setdefault(entry.day, []).append(entry)
    for one_day in sorted(days):
        _lapse(found.packages, one_day)
        bought = [entry for entry in days[one_day] if entry.kind in BRINGING]
        for entry in bought:
            package = Package(entry.pk, entry.day, entry.amount, entry.expires_on, entry.amount)
            if found.overdrawn:
                found.overdrawn -= (taken := min(found.overdrawn, package.left))
                package.left -= taken
            found.packages.append(package)
        used = sum((-entry.amount if entry.kind == "adjustment" else entry.amount)
                   for entry in days[one_day] if entry.kind not in BRINGING)  # fmt: skip
        _use(found, Decimal(used))
    _lapse(found.packages, day)
    return found


def _lapse(packages: Sequence[Package], day: dt.date) -> None:
    """What expired before this day is gone."""
    for package in packages:
        if package.expires_on is not None and package.expires_on < day and package.left:
            package.lapsed, package.left = package.lapsed + package.left, Decimal(0)


def _use(found: Packages, used: Decimal) -> None:
    """Take from the packages in order. What comes back (less than 0) goes to those it was last taken from; what
    was never taken from one is a package of its own, without an end."""
    back = -used
    if back > 0:
        settled = min(back, found.overdrawn)
        found.overdrawn, back = found.overdrawn - settled, back - settled
        for package in sorted((one for one in found.packages if not one.lapsed), key=_order, reverse=True):
            given = min(back, package.bought - package.left)
            package.left, back = package.left + given, back - given
        if back:
            found.packages.append(Package(0, found.day, back, None, back))
        return
    for package in sorted((one for one in found.packages if one.left > 0), key=_order):
        taken = min(used, package.left)
        package.left, used = package.left - taken, used - taken
    found.overdrawn += used


def lapse(today: dt.date, now: dt.datetime) -> int:
    """Enter what expired unused, so that the wallet says what is left; returns entries written."""
    rows = [
        (channel, one.entry_id, one.expires_on + dt.timedelta(days=1), one.lapsed, UNIT)
        for channel, found in of_channels(today).items()
        for one in found.packages
        if one.expires_on is not None and one.expires_on < today
    ]
    return queries.lapse(rows, now) if rows else 0

"""What search platforms' far sides share: who is in a list, whom the platform knows, and what a day delivers.

An answer tells totals only. Impressions of a day are as many as the budget's clicks need, and no more than the
matched people search for (or, where a cap is set, than it lets them see).
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from channels.sandbox.faults import chance
from channels.sandbox.people import Population
from channels.sandbox.vendors.base import BaseVendor

Plain = Callable[[str], str]


class Lists:
    """Members of lists by id: hashes in order of arrival, each once."""

    def __init__(self) -> None:
        self.members: dict[str, dict[str, None]] = {}

    def change(self, audience: str, hashes: Iterable[str], *, add: bool) -> None:
        members = self.members.setdefault(audience, {})
        for value in hashes:
            if add:
                members[value] = None
            else:
                members.pop(value, None)


class Matching:
    """Which hashes belong to people the platform knows. Two addresses of one person are one person."""

    def __init__(
        self, seed: int, share: float, people: Population | None, plain: Mapping[str, Plain], algorithm: str
    ) -> None:
        self._seed, self._share = seed, share
        self._people, self._plain, self._algorithm = people, plain, algorithm
        self._rows: dict[str, str] | None = None

    def people_in(self, hashes: Iterable[str]) -> list[str]:
        found = {
            self._person(value) for value in hashes if chance(self._seed, "matched", value) < self._share
        }
        return sorted(found - {""})

    def _person(self, value: str) -> str:
        if self._people is None:
            return value
        if self._rows is None:
            self._rows = {}
            for row, person in enumerate(self._people.people):
                for name, plain in self._plain.items():
                    if text := plain(str(getattr(person, name))):
                        hashed = hashlib.new(self._algorithm, text.encode(), usedforsecurity=False)
                        self._rows[hashed.hexdigest()] = f"{row:09d}"
        return self._rows.get(value, "")


@dataclass(frozen=True, slots=True)
class Figures:
    """One day of one campaign, so far."""

    impressions: int = 0
    clicks: int = 0


@dataclass(frozen=True, slots=True)
class Market:
    click_share: float  # clicks of an impression
    click_price: float  # in the account's currency
    searches: float  # of a matched person and day: impressions where no cap is set


def market_of(config: Any) -> Market:
    return Market(config.click_share, config.click_price, config.searches)


def keep(
    vendor: BaseVendor,
    delivered: dict[tuple[str, str], Figures],
    key: tuple[str, str],
    figures: Figures,
    people: Sequence[str],
) -> Figures:
    """What a campaign has delivered on a day, in memory and in the log, told to the people behind; once, not again."""
    before = delivered.get(key, Figures())
    if figures != before:
        delivered[key] = figures
        vendor.write(
            "delivered", campaign=key[0], day=key[1], impressions=figures.impressions, clicks=figures.clicks
        )
        vendor.seen_by("search", dealt(vendor.people, people, before, figures))
    return figures


def day_of(
    seed: int,
    market: Market,
    campaign: str,
    day: dt.date,
    *,
    people: int,
    budget: float,
    cap_left: float | None,
    share: float,
    before: Figures,
) -> Figures:
    """A day brought to ``share`` of what its budget, its audience and its cap allow; never less than ``before``."""
    seen = people * market.searches if cap_left is None else min(people * market.searches, cap_left)
    until = int(max(0.0, seen) * share)
    impressions, clicks = before.impressions, before.clicks
    while impressions < until:
        clicked = chance(seed, "ad click", f"{campaign} {day} {impressions}") < market.click_share
        if clicked and (clicks + 1) * market.click_price > budget:
            break  # the budget of the day is used up
        clicks += clicked
        impressions += 1
    return Figures(impressions, clicks)


def dealt(behind: Population | None, people: Sequence[str], before: Figures, after: Figures) -> Iterator[int]:
    """Rows of those who saw what came since: in rounds over the matched people. Nobody where nobody lives behind."""
    if behind is not None and people:
        for n in range(before.impressions, after.impressions):
            yield int(people[n % len(people)])

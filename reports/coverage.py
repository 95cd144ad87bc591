"""Coverage: the report the product is named for 不重不漏.

For each cell (round, channel, stage):

    target = reached + unknown + unobserved + pending + released + gap

where gap = what was never planned (by cause) + what was planned and failed (by cause). *Unknown* and
*unobserved* are never a gap and never reached.
"""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from campaigns.models import Campaign, Round
from campaigns.vocabulary import OPEN_TOUCH_STATES, OWNER_OF, REACHED_TOUCH_STATES, Cause, Owner, TouchState
from channels.models import Channel
from channels.vocabulary import Observability
from reports.queries import coverage as queries


@dataclass(slots=True)
class Count:
    """Figures of some part of a campaign, in touches. ``people`` are members with a target there."""

    people: int = 0
    target: int = 0
    planned: int = 0
    reached: int = 0
    delivered: int = 0
    unknown: int = 0
    unobserved: int = 0
    pending: int = 0
    gaps: Counter[str] = field(default_factory=Counter)  # cause → touches
    released: Counter[str] = field(default_factory=Counter)  # cause → touches

    @property
    def gap(self) -> int:
        return sum(self.gaps.values())

    @property
    def released_total(self) -> int:
        return sum(self.released.values())

    @property
    def adds_up(self) -> bool:
        parts = self.reached + self.unknown + self.unobserved + self.pending + self.released_total + self.gap
        return parts == self.target

    def share(self, figure: str) -> float | None:
        """A figure as a share of the target; None where nothing was aimed at."""
        value = getattr(self, "released_total" if figure == "released" else figure)
        return value / self.target if self.target else None

    @property
    def reached_share(self) -> float | None:
        return self.share("reached")

    @property
    def gap_share(self) -> float | None:
        return self.share("gap")

    @property
    def released_share(self) -> float | None:
        return self.share("released")

    @property
    def pending_share(self) -> float | None:
        return self.share("pending")

    @property
    def unknown_share(self) -> float | None:
        value = self.unknown + self.unobserved
        return value / self.target if self.target else None

    def __iadd__(self, other: "Count") -> "Count":
        for name in (
            "people",
            "target",
            "planned",
            "reached",
            "delivered",
            "unknown",
            "unobserved",
            "pending",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.gaps.update(other.gaps)
        self.released.update(other.released)
        return self


@dataclass(frozen=True, slots=True)
class CauseLine:
    """A cause of a gap with its owner and touches."""

    cause: str
    label: Any
    owner: str
    owner_label: Any
    touches: int
    share: float  # of the whole gap


@dataclass(slots=True)
class ChannelCoverage:
    """A channel's figures. ``reported`` is what its platform tells in aggregate, kept apart."""

    channel: Channel
    count: Count
    stages: dict[str, Count]
    reported: Mapping[str, Any] | None = None
    audience: Mapping[str, Any] | None = None

    @property
    def person_observed(self) -> bool:
        return self.channel.observability == Observability.PERSON_OBSERVED


@dataclass(slots=True)
class Coverage:
    campaign: Campaign
    total: Count
    channels: list[ChannelCoverage]
    rounds: list[tuple[Round, Count]]
    causes: list[CauseLine]
    released: list[tuple[Any, int]]
    over: dict[str, int]
    members: Mapping[str, Any]
    histogram: list[dict[str, int]]
    days: list[dict[str, Any]]

    @property
    def over_total(self) -> int:
        return sum(self.over.values())


def coverage(campaign: Campaign) -> Coverage:
    """The whole report of one campaign, from the rows as they are now."""
    cells: dict[tuple[int, int, str], Count] = defaultdict(Count)
    for row in queries.targets(campaign.pk):
        count = cells[row["round"], row["channel_id"], row["stage"]]
        count.people += row["people"]
        count.target += row["target"]
        count.planned += row["planned"]
        if row["target"] > row["planned"]:
            count.gaps[row["cause"]] += row["target"] - row["planned"]
    for row in queries.touches(campaign.pk):
        _add_touches(cells[row["round"], row["channel_id"], row["stage"]], row)

    total = Count()
    by_channel: dict[int, Count] = defaultdict(Count)
    by_channel_stage: dict[int, dict[str, Count]] = defaultdict(lambda: defaultdict(Count))
    by_round: dict[int, Count] = defaultdict(Count)
    for (number, channel_id, stage), count in sorted(cells.items()):
        total += count
        by_channel[channel_id] += count
        by_channel_stage[channel_id][stage] += count
        by_round[number] += count

    reported, audiences = queries.reported(campaign.pk), queries.audiences(campaign.pk)
    known = Channel.objects.in_bulk(set(by_channel) | set(reported) | set(audiences))
    channels = [
        ChannelCoverage(
            channel, by_channel[pk], dict(by_channel_stage[pk]), reported.get(pk), audiences.get(pk)
        )
        for pk, channel in sorted(known.items(), key=lambda item: item[1].name)
    ]
    rounds = {each.number: each for each in Round.objects.filter(campaign=campaign).select_related("phase")}
    return Coverage(
        campaign=campaign,
        total=total,
        channels=channels,
        rounds=[(rounds[number], count) for number, count in sorted(by_round.items()) if number in rounds],
        causes=cause_lines(total.gaps),
        released=[(_cause_label(cause), touches) for cause, touches in total.released.most_common()],
        over=queries.over(campaign.pk),
        members=queries.members(campaign.pk),
        histogram=_histogram(queries.people(campaign.pk)),
        days=queries.days(campaign.pk),
    )


def _add_touches(count: Count, row: Mapping[str, Any]) -> None:
    state, touches = row["state"], row["touches"]
    if state in REACHED_TOUCH_STATES:
        count.reached += touches
        if state == TouchState.DELIVERED:
            count.delivered += touches
    elif state in OPEN_TOUCH_STATES:
        count.pending += touches
    elif state == TouchState.UNKNOWN:
        count.unknown += touches
    elif state == TouchState.UNOBSERVED:
        count.unobserved += touches
    elif state == TouchState.RELEASED:
        count.released[row["reason"]] += touches
    else:
        count.gaps[row["reason"]] += touches


def _cause_label(cause: str) -> Any:
    return Cause(cause).label if cause in Cause.values else cause


def cause_lines(gaps: Mapping[str, int]) -> list[CauseLine]:
    """Causes of a gap, greatest first, each with who can mend it."""
    whole = sum(gaps.values())
    lines = []
    for cause, touches in sorted(gaps.items(), key=lambda item: (-item[1], item[0])):
        owner = OWNER_OF.get(cause, Owner.CAMPAIGN)
        lines.append(
            CauseLine(
                cause, _cause_label(cause), owner.value, owner.label, touches, touches / whole if whole else 0
            )
        )
    return lines


def _histogram(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, int]]:
    """People by touches received: below, at and beyond their target (one row per number received)."""
    by_received: dict[int, dict[str, int]] = {}
    for row in rows:
        bar = by_received.setdefault(
            int(row["received"]), {"received": int(row["received"]), "below": 0, "full": 0, "beyond": 0}
        )
        side = (
            "below"
            if row["received"] < row["target"]
            else "full"
            if row["received"] == row["target"]
            else "beyond"
        )
        bar[side] += row["people"]
    return [by_received[received] for received in sorted(by_received)]


def contacts_of_people(now: dt.datetime, days: int = 30) -> list[dict[str, int]]:
    """Who was hit how often in the last days, over all campaigns: people by number of contacts."""
    return [
        {"contacts": int(row["contacts"]), "people": int(row["people"])}
        for row in queries.contacts_of_people(now - dt.timedelta(days=days))
    ]

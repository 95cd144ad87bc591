"""Coverage: the report the product is named for 不重不漏.

For each cell (round, channel, stage):

    target = reached + unknown + unobserved + pending + released + gap

where gap = what was never planned (by cause) + what was planned and failed (by cause). *Unknown* and
*unobserved* are never a gap and never reached. What an approved change took out is aimed at no more: it is told
beside the target, as *changed*.
"""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone

from campaigns.models import Campaign, Phase, Round
from campaigns.vocabulary import (
    OPEN_TOUCH_STATES,
    OWNER_OF,
    REACHED_TOUCH_STATES,
    AttemptState,
    Cause,
    Owner,
    TouchState,
)
from channels.models import Channel
from channels.vocabulary import Observability
from reports import coverage_days
from reports.models.coverage import NO_DAY
from reports.queries import coverage as queries

OVER_KINDS = ("over_by_us", "over_by_platform", "over_by_merge")
FIGURES = ("target", "planned", "reached", "delivered", "unknown", "unobserved", "pending", "changed")


@dataclass(slots=True)
class Count:
    """Figures of some part of a campaign, in touches. ``people`` have a target there; None: not counted."""

    people: int | None = None
    target: int = 0
    planned: int = 0
    reached: int = 0
    delivered: int = 0
    unknown: int = 0
    unobserved: int = 0
    pending: int = 0
    changed: int = 0  # taken out by an approved change, and out of the target since
    gaps: Counter[str] = field(default_factory=Counter)  # cause → touches
    released: Counter[str] = field(default_factory=Counter)  # cause → touches
    over: Counter[str] = field(default_factory=Counter)  # kind → touches

    @property
    def gap(self) -> int:
        return sum(self.gaps.values())

    @property
    def released_total(self) -> int:
        return sum(self.released.values())

    @property
    def over_total(self) -> int:
        return sum(self.over.values())

    @property
    def awaited(self) -> int:
        """Reached, and not yet confirmed by a receipt."""
        return self.reached - self.delivered

    @property
    def due(self) -> int:
        """Touches there are, whatever became of them; beside what was never planned."""
        return self.parts - (self.target - self.planned)

    @property
    def parts(self) -> int:
        return self.reached + self.unknown + self.unobserved + self.pending + self.released_total + self.gap

    @property
    def adds_up(self) -> bool:
        return self.parts == self.target

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
    def over_by_us(self) -> int:
        return self.over["over_by_us"]

    @property
    def over_by_platform(self) -> int:
        return self.over["over_by_platform"]

    @property
    def over_by_merge(self) -> int:
        return self.over["over_by_merge"]

    @property
    def biggest_cause(self) -> "CauseLine | None":
        lines = cause_lines(self.gaps)
        return lines[0] if lines else None

    def take(self, row: Mapping[str, Any]) -> None:
        """Add a counted row: touches of a state, or (without one) what was aimed at."""
        state, touches = row["state"], row["touches"]
        if not state:
            self.target += row["target"]
            self.planned += row["planned"]
            if row["target"] != row["planned"]:
                self.gaps[row["reason"]] += row["target"] - row["planned"]
        elif not touches:
            return
        elif state in REACHED_TOUCH_STATES:
            self.reached += touches
            if state == TouchState.DELIVERED:
                self.delivered += touches
        elif state in OPEN_TOUCH_STATES:
            self.pending += touches
        elif state == TouchState.UNKNOWN:
            self.unknown += touches
        elif state == TouchState.UNOBSERVED:
            self.unobserved += touches
        elif state == TouchState.RELEASED and row["reason"] == Cause.CHANGED:
            self.changed += touches
        elif state == TouchState.RELEASED:
            self.released[row["reason"]] += touches
        else:
            self.gaps[row["reason"]] += touches

    def __iadd__(self, other: "Count") -> "Count":
        for name in FIGURES:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if other.people is not None:
            self.people = (self.people or 0) + other.people
        self.gaps.update(other.gaps)
        self.released.update(other.released)
        self.over.update(other.over)
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


@dataclass(frozen=True, slots=True)
class Reported:
    """What a platform tells in aggregate of one channel, kept apart from what was observed.

    ``most`` is the highest target of a person there. ``over`` is certain: exposures beyond ``most`` for each of
    at most ``people`` people (None where too little is told).
    """

    exposures: int | None
    clicks: int | None
    reach: int | None
    frequency: float | None
    spend: Any
    currency: str
    until: dt.date
    people: int | None
    most: int | None
    over: int | None


@dataclass(frozen=True, slots=True)
class Receipts:
    """Touches of a channel held against what providers said of the attempts: ``difference`` must be 0."""

    channel: Channel
    confirmed: int  # touches delivered
    awaited: int  # touches sent
    unknown: int
    failed: int  # attempts refused, bounced or expired; a touch may have had several
    accepted: int  # attempts accepted or delivered: one for each reached touch

    @property
    def reached(self) -> int:
        return self.confirmed + self.awaited

    @property
    def difference(self) -> int:
        return self.reached - self.accepted


@dataclass(slots=True)
class ChannelCoverage:
    """A channel's figures. ``reported`` is what its platform tells in aggregate, kept apart."""

    channel: Channel
    count: Count
    stages: dict[str, Count]
    reported: Reported | None = None
    audience: Mapping[str, Any] | None = None
    responses: int | None = None

    @property
    def person_observed(self) -> bool:
        return self.channel.observability == Observability.PERSON_OBSERVED


@dataclass(slots=True)
class ClassCoverage:
    """All channels that can know equally much."""

    observability: str
    label: Any
    count: Count
    channels: list[ChannelCoverage]


@dataclass(slots=True)
class Coverage:
    """``as_of``: when cells were read; ``people_as_of``: of when the figures about people and over are."""

    campaign: Campaign
    as_of: dt.datetime
    people_as_of: dt.datetime
    total: Count
    channels: list[ChannelCoverage]
    classes: list[ClassCoverage]
    phases: list[tuple[Phase, Count, list[tuple[Round, Count]]]]
    stages: dict[str, Count]
    days: list[tuple[dt.date, Count]]
    never_planned: Count
    causes: list[CauseLine]
    released: list[tuple[str, Any, int]]
    over: dict[str, int]
    over_reported: int | None
    members: Mapping[str, Any]
    histogram: list[dict[str, int]]
    receipts: list[Receipts]

    @property
    def over_total(self) -> int:
        return sum(self.over.values())


def coverage(campaign: Campaign, now: dt.datetime | None = None) -> Coverage:
    """The whole report of one campaign. Cells are as the rows are now; figures about people as last renewed."""
    coverage_days.ready(campaign, now or timezone.now())
    as_of = timezone.now()
    cells: dict[tuple[int, int, str], Count] = defaultdict(Count)
    days: dict[dt.date, Count] = defaultdict(Count)
    for row in queries.of_campaign(campaign.pk):
        if row["day"] is None:
            count = cells[row["round"], row["channel_id"], row["stage"]]
            count.take(row)
            count.people = (count.people or 0) + row["people"]
        else:
            days[row["day"]].take(row)
    total = Count()
    for count in cells.values():
        total += count
    people, people_as_of = coverage_days.people_of(campaign.pk, total.due)
    _add_over(cells, days, people["over"])
    return _put_together(campaign, as_of, people_as_of, cells, days, people)


def _add_over(
    cells: dict[tuple[int, int, str], Count], days: dict[dt.date, Count], over: Mapping[str, Iterable[Any]]
) -> None:
    for kind, found in over.items():
        for row in found:
            cells[row["round"], row["channel"], row["stage"]].over[kind] += row["touches"]
            days[dt.date.fromisoformat(row["day"])].over[kind] += row["touches"]


def _put_together(
    campaign: Campaign,
    as_of: dt.datetime,
    people_as_of: dt.datetime,
    cells: Mapping[tuple[int, int, str], Count],
    days: dict[dt.date, Count],
    people: Mapping[str, Any],
) -> Coverage:
    total = Count()
    by_channel: dict[int, Count] = defaultdict(Count)
    by_channel_stage: dict[int, dict[str, Count]] = defaultdict(lambda: defaultdict(Count))
    by_round: dict[int, Count] = defaultdict(Count)
    by_stage: dict[str, Count] = defaultdict(Count)
    for (number, channel_id, stage), count in sorted(cells.items()):
        for whole in (total, by_channel[channel_id], by_channel_stage[channel_id][stage], by_round[number]):
            whole += count
        by_stage[stage] += count
    _count_people(total, by_channel, by_channel_stage, by_round, by_stage, people)
    channels = _channels(campaign, by_channel, by_channel_stage, people)
    reported_over = [
        line.reported.over for line in channels if line.reported and line.reported.over is not None
    ]
    never_planned = days.pop(NO_DAY, Count())
    return Coverage(
        campaign=campaign,
        as_of=as_of,
        people_as_of=people_as_of,
        total=total,
        channels=channels,
        classes=_classes(channels),
        phases=_phases(campaign, by_round),
        stages=dict(by_stage),
        days=days_due(days),
        never_planned=never_planned,
        causes=cause_lines(total.gaps),
        released=[(cause, _cause_label(cause), touches) for cause, touches in total.released.most_common()],
        over={kind: total.over[kind] for kind in OVER_KINDS},
        over_reported=sum(reported_over) if reported_over else None,
        members=people["members"],
        histogram=_histogram(people["histogram"]),
        receipts=_receipts(channels, people),
    )


def days_due(days: Mapping[dt.date, Count]) -> list[tuple[dt.date, Count]]:
    """Days on which anything was due, or came too often: not those of which a change took out all."""
    return sorted((day, count) for day, count in days.items() if count.due or count.over_total)


def _count_people(
    total: Count,
    by_channel: Mapping[int, Count],
    by_channel_stage: Mapping[int, Mapping[str, Count]],
    by_round: Mapping[int, Count],
    by_stage: Mapping[str, Count],
    people: Mapping[str, Any],
) -> None:
    """People of parts overlap, so their numbers come from the pass over persons, or are not told."""
    for count in (*by_channel.values(), *by_round.values(), *by_stage.values()):
        count.people = None
    for row in people["channels"]:
        if row["channel"] in by_channel:
            whole = by_channel[row["channel"]]
            whole.people = (whole.people or 0) + row["people"]
            by_channel_stage[row["channel"]][row["stage"]].people = row["people"]
    total.people = sum(bar["people"] for bar in people["histogram"] if bar["target"])


def _channels(
    campaign: Campaign,
    by_channel: Mapping[int, Count],
    by_channel_stage: Mapping[int, Mapping[str, Count]],
    people: Mapping[str, Any],
) -> list[ChannelCoverage]:
    told = queries.reported(campaign.pk)
    audiences = {row["channel"]: row for row in people["audiences"]}
    responses = {row["channel"]: row["responses"] for row in people["responses"]}
    most: Counter[int] = Counter()
    for row in people["channels"]:
        most[row["channel"]] = max(most[row["channel"]], row["most"])
    known = Channel.objects.in_bulk({*by_channel, *told, *audiences})
    return [
        ChannelCoverage(
            channel,
            by_channel.get(pk) or Count(),
            dict(by_channel_stage.get(pk) or {}),
            _reported(told[pk], audiences.get(pk), most[pk]) if pk in told else None,
            audiences.get(pk),
            responses.get(pk),
        )
        for pk, channel in sorted(known.items(), key=lambda item: item[1].name)
    ]


def _reported(row: Mapping[str, Any], audience: Mapping[str, Any] | None, most: int) -> Reported:
    """At most so many people can have seen it: those the platform holds, or the reach of all days added up."""
    bounds = [audience["held"] if audience else None, row["reach_of_days"]]
    known = [bound for bound in bounds if bound]
    people = min(known) if known else None
    over = None
    if row["exposures"] is not None and people is not None and most:
        over = max(0, row["exposures"] - people * most)
    return Reported(
        exposures=row["exposures"],
        clicks=row["clicks"],
        reach=row["reach"],
        frequency=row["frequency"],
        spend=row["spend"],
        currency=row["currency"],
        until=row["until"],
        people=people,
        most=most or None,
        over=over,
    )


def _classes(channels: Sequence[ChannelCoverage]) -> list[ClassCoverage]:
    """Person-observed, person-targeted, placement: each with its sum. Those without a channel are left out."""
    found = []
    for value, label in Observability.choices:
        own = [line for line in channels if line.channel.observability == value]
        if own:
            whole = Count()
            for line in own:
                whole += line.count
            whole.people = own[0].count.people if len(own) == 1 else None
            found.append(ClassCoverage(value, label, whole, own))
    return found


def _phases(
    campaign: Campaign, by_round: Mapping[int, Count]
) -> list[tuple[Phase, Count, list[tuple[Round, Count]]]]:
    found: dict[int, tuple[Phase, Count, list[tuple[Round, Count]]]] = {}
    rounds = (
        Round.objects.filter(campaign=campaign).select_related("phase").order_by("phase__position", "number")
    )
    for each in rounds:
        if each.number not in by_round:
            continue
        _phase, whole, own = found.setdefault(each.phase_id, (each.phase, Count(), []))
        whole += by_round[each.number]
        own.append((each, by_round[each.number]))
    return list(found.values())


def _receipts(channels: Sequence[ChannelCoverage], people: Mapping[str, Any]) -> list[Receipts]:
    touches: dict[int, Counter[str]] = defaultdict(Counter)
    attempts: dict[int, Counter[str]] = defaultdict(Counter)
    for row in people["touches"]:
        touches[row["channel"]][row["state"]] += row["touches"]
    for row in people["attempts"]:
        attempts[row["channel"]][row["state"]] += row["attempts"]
    failed = (AttemptState.REFUSED, AttemptState.THROTTLED, AttemptState.BOUNCED, AttemptState.EXPIRED)
    return [
        Receipts(
            channel=channel,
            confirmed=touches[channel.pk][TouchState.DELIVERED],
            awaited=touches[channel.pk][TouchState.SENT],
            unknown=touches[channel.pk][TouchState.UNKNOWN],
            failed=sum(attempts[channel.pk][state] for state in failed),
            accepted=attempts[channel.pk][AttemptState.ACCEPTED]
            + attempts[channel.pk][AttemptState.DELIVERED],
        )
        for channel in (line.channel for line in channels if line.person_observed)
    ]


def _cause_label(cause: str) -> Any:
    return Cause(cause).label if cause in Cause.values else cause


def cause_lines(gaps: Mapping[str, int]) -> list[CauseLine]:
    """Causes of a gap, greatest first, each with who can mend it."""
    whole = sum(gaps.values())
    lines = []
    for cause, touches in sorted(gaps.items(), key=lambda item: (-item[1], item[0])):
        if not touches:
            continue
        owner = OWNER_OF.get(cause, Owner.CAMPAIGN)
        lines.append(
            CauseLine(
                cause, _cause_label(cause), owner.value, owner.label, touches, touches / whole if whole else 0
            )
        )
    return lines


def owner_lines(causes: Iterable[CauseLine]) -> list[tuple[Any, int, list[CauseLine]]]:
    """Owners with what they have to mend, greatest first: (label, touches, causes)."""
    found: dict[str, list[CauseLine]] = defaultdict(list)
    for line in causes:
        found[line.owner].append(line)
    owners = [(lines[0].owner_label, sum(line.touches for line in lines), lines) for lines in found.values()]
    return sorted(owners, key=lambda owner: -owner[1])


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

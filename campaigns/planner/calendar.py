"""When touches can go out: the permitted spans of each zone and channel, and what fits into a round."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from campaigns import hours
from campaigns.planner.limits import FAR, HOUR
from campaigns.planner.spec import STAGES, Spec
from campaigns.queries import plan as queries
from channels.models import ChannelCapacity

MARGIN = HOUR // 2  # a touch is not planned for the last moments of a span, where any delay would miss it
UNLIMITED = 1 << 40  # messages a day of a channel without a limit
MOST_DAYS = 800

Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Hours:
    """Permitted spans [opens, closes), in order, in Unix seconds."""

    opens: Times
    closes: Times

    def next_open(self, at: Times) -> Times:
        """Each moment itself where it is permitted, else the next permitted one; FAR when there is none."""
        place = np.searchsorted(self.closes, at, side="right")
        inside = place < len(self.opens)
        found = np.full(len(at), FAR, dtype=np.int64)
        found[inside] = np.maximum(at[inside], self.opens[place[inside]])
        return found

    def latest(self, at: int) -> int | None:
        """The last moment not after ``at`` for which a touch may be planned; None when there is none."""
        for opens, closes in zip(self.opens[::-1].tolist(), self.closes[::-1].tolist(), strict=True):
            if opens <= at:
                return min(at, closes - min(MARGIN, (closes - opens + 1) // 2))
        return None


@dataclass(frozen=True, slots=True)
class Calendar:
    """Hours by (zone, channel); ``latest[zone, stage, cell, r]`` is the last moment at which a touch of a cell

    can be planned so that r more still fit behind it (−1: it never can). ``fits[zone, stage, cell]`` is how
    many touches fit at most. Days are those of the company's zone: ``edges[d]`` begins day d, ``capacity``
    is channels × days, what is left for this campaign.
    """

    hours: dict[tuple[int, int], Hours]
    latest: Times
    fits: NDArray[np.int16]
    starts: Times  # by cell
    ends: Times
    gaps: Times  # stages × cells, seconds
    edges: Times
    days: tuple[dt.date, ...]
    capacity: Times

    def day_of(self, at: Times) -> Times:
        return np.searchsorted(self.edges, at, side="right") - 1


def seconds(at: dt.datetime) -> int:
    return int(at.timestamp())


def build(spec: Spec, zones: Sequence[str], *, joining: bool = False) -> Calendar:
    """The calendar of a campaign for people of these zones. For late joiners its own touches take places too."""
    begins = spec.begins
    ends = max((cell.ends_at for cell in spec.cells), default=begins)
    ends = max(ends, begins + dt.timedelta(seconds=1))
    found: dict[tuple[int, int], Hours] = {}
    for index, channel in enumerate(spec.channels):
        permitted = hours.days_between(
            channel.channel,
            channel.day_parts,
            begins.date() - dt.timedelta(days=2),
            ends.date() + dt.timedelta(days=2),
        )
        known: dict[tuple[tuple[dt.datetime, dt.datetime], ...], Hours] = {}
        for number, zone in enumerate(zones):
            spans = tuple(hours.spans(permitted.of(zone), zone, begins, ends))
            if spans not in known:
                known[spans] = Hours(
                    np.array([seconds(opens) for opens, _closes in spans], dtype=np.int64),
                    np.array([seconds(closes) for _opens, closes in spans], dtype=np.int64),
                )
            found[number, index] = known[spans]
    starts = np.array([seconds(spec.starts(cell)) for cell in spec.cells], dtype=np.int64)
    finish = np.array([seconds(cell.ends_at) for cell in spec.cells], dtype=np.int64)
    gaps = (
        np.array([cell.gap_hours for cell in spec.cells], dtype=np.int64)
        .reshape(len(spec.cells), len(STAGES))
        .T
        * HOUR
    )
    latest, fits = _latest(spec, found, len(zones), starts, finish, gaps)
    edges, days = _days(begins, ends)
    return Calendar(
        found,
        latest,
        fits,
        starts,
        finish,
        np.ascontiguousarray(gaps),
        edges,
        days,
        _capacity(spec, edges, days, joining),
    )


def _latest(
    spec: Spec, found: dict[tuple[int, int], Hours], zones: int, starts: Times, ends: Times, gaps: Times
) -> tuple[Times, NDArray[np.int16]]:
    most = max(1, int(spec.targets.max(initial=1)))
    latest = np.full((zones, len(STAGES), len(spec.cells), most), -1, dtype=np.int64)
    fits = np.zeros((zones, len(STAGES), len(spec.cells)), dtype=np.int16)
    for zone in range(zones):
        for column, cell in enumerate(spec.cells):
            own = _within(found[zone, cell.channel], int(starts[column]), int(ends[column]))
            for stage, touches in enumerate(cell.touches):
                at: int | None = int(ends[column])
                for turn in range(touches):
                    at = own.latest(at) if at is not None else None
                    if at is None or at < starts[column]:
                        break
                    latest[zone, stage, column, turn] = at
                    fits[zone, stage, column] += 1
                    at -= int(gaps[stage, column])
    return latest, fits


def _within(hours_: Hours, begins: int, ends: int) -> Hours:
    opens, closes = np.maximum(hours_.opens, begins), np.minimum(hours_.closes, ends)
    kept = opens < closes
    return Hours(opens[kept], closes[kept])


def _days(begins: dt.datetime, ends: dt.datetime) -> tuple[Times, tuple[dt.date, ...]]:
    zone = hours.zone_info(settings.TIME_ZONE)
    first = begins.astimezone(zone).date()
    count = min((ends.astimezone(zone).date() - first).days + 1, MOST_DAYS)
    days = tuple(first + dt.timedelta(days=n) for n in range(count))
    edges = [seconds(dt.datetime.combine(day, dt.time.min, tzinfo=zone)) for day in days]
    return np.array(edges, dtype=np.int64), days


def _capacity(spec: Spec, edges: Times, days: Sequence[dt.date], joining: bool) -> Times:
    """Messages each channel can still take on each day: its capacity less what others took, its own limit."""
    found = np.full((len(spec.channels), len(days)), UNLIMITED, dtype=np.int64)
    ids = [channel.id for channel in spec.channels]
    own = {
        (row.channel_id, row.day): row.messages
        for row in ChannelCapacity.objects.filter(channel_id__in=ids, day__gte=days[0], day__lte=days[-1])
    }
    taken = _taken(spec, edges, own, joining)
    mine = taken if joining else {}
    for index, channel in enumerate(spec.channels):
        for place, day in enumerate(days):
            most = own.get((channel.id, day), channel.channel.daily_capacity)
            if most is not None:
                found[index, place] = max(0, most - taken.get((channel.id, day), 0))
            if channel.daily_limit is not None:
                left = max(0, channel.daily_limit - mine.get((channel.id, day), 0))
                found[index, place] = min(found[index, place], left)
    return found


def _taken(
    spec: Spec, edges: Times, own: dict[tuple[int, dt.date], int], joining: bool
) -> dict[tuple[int, dt.date], int]:
    """(channel, day) → places of limited channels that are taken already."""
    limited = [
        channel.id
        for channel in spec.channels
        if channel.channel.daily_capacity is not None
        or any(key[0] == channel.id for key in own)
        or (joining and channel.daily_limit is not None)
    ]
    if not limited:
        return {}
    return queries.days_taken(
        limited,
        campaign_id=0 if joining else spec.campaign.pk,
        zone=settings.TIME_ZONE,
        today=dt.datetime.fromtimestamp(int(edges[0]), dt.UTC),
        now=spec.now,
        # The whole of the last day, also behind the campaign's end.
        until=dt.datetime.fromtimestamp(int(edges[-1]), dt.UTC) + dt.timedelta(days=1, hours=2),
    )

"""When a person may be contacted: day-parts of the campaign within the hours a platform permits.

Hours are those of the recipient's zone. A list of windows is a union; no window at all means any hour, and
:data:`NEVER` says that no hour is left.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.db.models import Q

from campaigns.models import ChannelPlan
from channels import platform_rules
from channels.models import Channel, PlatformRule

EVERY_DAY = frozenset(range(1, 8))
MIDNIGHT = dt.time.max  # as an end: the day's last moment counts


@dataclass(frozen=True, slots=True)
class Window:
    """From ``start`` until before ``end`` on these ISO weekdays; never over midnight."""

    days: frozenset[int]
    start: dt.time
    end: dt.time


NEVER = Window(frozenset(), dt.time.min, dt.time.min)


class NeverOpen(ValueError):
    """The day-parts and the platform's hours have nothing in common; the text says so."""


def zone_info(zone: str) -> ZoneInfo:
    """The zone; the company's own where a customer's is unknown to the machine."""
    return _zone_info(zone, settings.TIME_ZONE)


@cache
def _zone_info(zone: str, otherwise: str) -> ZoneInfo:
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo(otherwise)


def windows(channel_plan: ChannelPlan, on: dt.date) -> list[Window]:
    """What day-parts and the platform's rule leave open on a day; [] is any hour, ``[NEVER]`` none."""
    channel = channel_plan.channel
    return combine(channel_plan.day_parts, _rule(channel, "hours", on))


def regional(channel: Channel, on: dt.date) -> dict[str, list[Window]]:
    """Zone → hours of the regions whose own hours differ there.

    Of a person we know the zone, not the state their number is of: where a region has its own hours, they hold for
    everybody in its zones, so nobody of that region is ever contacted outside of them.
    """
    found: dict[str, list[Window]] = {}
    for hours_ in (_rule(channel, "hours_by_region", on) or {}).values():
        for zone in hours_.get("zones", ()):
            found[zone] = within(found.get(zone, []), _read(hours_))
    return found


def _rule(channel: Channel, key: str, on: dt.date) -> Any:
    return platform_rules.rule_value(
        channel.medium, key, channel=channel, country=platform_rules.country_of(channel), on=on
    )


@dataclass(frozen=True, slots=True)
class Days:
    """The windows of every day of a channel plan, and what regions leave of them."""

    everywhere: Mapping[dt.date, list[Window]]
    regions: Mapping[dt.date, Mapping[str, list[Window]]]

    def of(self, zone: str) -> Mapping[dt.date, list[Window]]:
        """The windows of every day for people of a zone."""
        if not any(zone in regions for regions in self.regions.values()):
            return self.everywhere
        return {day: within(found, self.regions[day].get(zone, [])) for day, found in self.everywhere.items()}


def days_between(
    channel: Channel, day_parts: Sequence[Mapping[str, Any]], first: dt.date, last: dt.date
) -> Days:
    """:func:`windows` of every day from ``first`` to ``last``; the rules are read once for each change."""
    edges = PlatformRule.objects.filter(
        Q(channel=None) | Q(channel=channel), medium=channel.medium, key__in=("hours", "hours_by_region")
    )
    changes = {first}
    for begins, ends in edges.values_list("valid_from", "valid_to"):
        changes |= {
            day for day in (begins, ends and ends + dt.timedelta(days=1)) if day and first < day <= last
        }
    everywhere: dict[dt.date, list[Window]] = {}
    regions: dict[dt.date, Mapping[str, list[Window]]] = {}
    current: list[Window] = []
    own: Mapping[str, list[Window]] = {}
    for offset in range((last - first).days + 1):
        day = first + dt.timedelta(days=offset)
        if day in changes:
            current, own = combine(day_parts, _rule(channel, "hours", day)), regional(channel, day)
        everywhere[day], regions[day] = current, own
    return Days(everywhere, regions)


def combine(day_parts: Sequence[Mapping[str, Any]], rule: Any) -> list[Window]:
    """Day-parts ``[{"days", "from", "to"}]`` within a rule of the same shape (or one of its entries)."""
    planned = [window for part in day_parts for window in _read(part)]
    permitted = [window for part in _listed(rule) for window in _read(part)]
    if not day_parts or not permitted:
        return planned or permitted or ([NEVER] if day_parts else [])
    return within(planned, permitted)


def within(windows: Sequence[Window], permitted: Sequence[Window]) -> list[Window]:
    """What two lists have in common; an empty one is any hour."""
    if not windows or not permitted:
        return list(windows or permitted)
    common = [both for a in windows for b in permitted if (both := _common(a, b)) is not None]
    return common or [NEVER]


def _listed(rule: Any) -> list[Mapping[str, Any]]:
    if not rule:
        return []
    return [rule] if isinstance(rule, Mapping) else list(rule)


def _read(part: Mapping[str, Any]) -> list[Window]:
    """A day-part as windows; one that goes over midnight becomes two, the second on the next day."""
    days = frozenset(part.get("days") or EVERY_DAY)
    start, end = _time(part["from"]), _time(part["to"])
    if end == dt.time.min:
        end = MIDNIGHT
    if start < end:
        return [Window(days, start, end)]
    if start == end:
        return [Window(days, dt.time.min, MIDNIGHT)]
    return [Window(days, start, MIDNIGHT), Window(frozenset(day % 7 + 1 for day in days), dt.time.min, end)]


def _time(text: str) -> dt.time:
    return MIDNIGHT if text.startswith("24") else dt.time.fromisoformat(text)


def _common(a: Window, b: Window) -> Window | None:
    days, start, end = a.days & b.days, max(a.start, b.start), min(a.end, b.end)
    return Window(days, start, end) if days and start < end else None


def is_open(at: dt.datetime, zone: str, windows: Sequence[Window]) -> bool:
    """Whether ``at`` is a permitted moment for somebody in ``zone``."""
    if not windows:
        return True
    local = at.astimezone(zone_info(zone))
    return any(_holds(window, local) for window in windows)


def _holds(window: Window, local: dt.datetime) -> bool:
    if local.isoweekday() not in window.days:
        return False
    clock = local.time()
    return window.start <= clock < window.end or (window.end == MIDNIGHT and clock == MIDNIGHT)


def next_open(at: dt.datetime, zone: str, windows: Sequence[Window]) -> dt.datetime:
    """``at`` itself when it is permitted, else the first permitted moment after it.

    Raises :class:`NeverOpen` when no window ever opens.
    """
    if is_open(at, zone, windows):
        return at
    local = at.astimezone(zone_info(zone))
    for ahead in range(9):  # a week, and a day more for a window that daylight saving swallows whole
        day = local.date() + dt.timedelta(days=ahead)
        begins = [
            start
            for window in windows
            if day.isoweekday() in window.days
            and (start := opening(day, window, local.tzinfo)) is not None
            and start > at
        ]
        if begins:
            return min(begins)
    raise NeverOpen("The day-parts of the channel and the hours its platform permits have nothing in common.")


def opening(day: dt.date, window: Window, zone: dt.tzinfo | None) -> dt.datetime | None:
    """The moment (UTC) a window opens on a day; None when the clock jumps over all of it."""
    begins = _instant(day, window.start, zone)
    return begins if begins < closing(day, window, zone) else None


def closing(day: dt.date, window: Window, zone: dt.tzinfo | None) -> dt.datetime:
    """The moment (UTC) a window closes on a day."""
    if window.end == MIDNIGHT:
        return _instant(day + dt.timedelta(days=1), dt.time.min, zone)
    return _instant(day, window.end, zone)


def _instant(day: dt.date, clock: dt.time, zone: dt.tzinfo | None) -> dt.datetime:
    """The first moment (UTC) at which a clock in ``zone`` shows ``clock`` or more on a day."""
    naive = dt.datetime.combine(day, clock)
    first = naive.replace(tzinfo=zone).astimezone(dt.UTC)
    if first.astimezone(zone).replace(tzinfo=None) == naive:
        return first
    # The clock jumps over it: the moment of the jump lies between what the two offsets make of it.
    low, high = naive.replace(tzinfo=zone, fold=1).astimezone(dt.UTC), first
    after = high.astimezone(zone).utcoffset()
    while high - low > dt.timedelta(seconds=1):
        middle = low + (high - low) // 2
        if middle.astimezone(zone).utcoffset() == after:
            high = middle
        else:
            low = middle
    return high.replace(microsecond=0)


def open_zones(at: dt.datetime, zones: Iterable[str], windows: Sequence[Window]) -> list[str]:
    """Those of ``zones`` in which ``at`` is a permitted moment."""
    return [zone for zone in zones if is_open(at, zone, windows)]


def spans(
    by_day: Mapping[dt.date, Sequence[Window]], zone: str, begins: dt.datetime, ends: dt.datetime
) -> list[tuple[dt.datetime, dt.datetime]]:
    """The permitted spans between two moments, in order, none touching another. Half open, UTC.

    ``by_day`` tells the windows of each local day from the day before ``begins`` to the day of ``ends``.
    """
    info = zone_info(zone)
    found: list[tuple[dt.datetime, dt.datetime]] = []
    for day, windows_of_day in sorted(by_day.items()):
        if not windows_of_day:
            start = dt.datetime.combine(day, dt.time.min, tzinfo=info).astimezone(dt.UTC)
            found.append((start, closing(day, Window(EVERY_DAY, dt.time.min, MIDNIGHT), info)))
        for window in windows_of_day:
            if day.isoweekday() in window.days and (opens := opening(day, window, info)) is not None:
                closes = closing(day, window, info)
                if opens < closes:
                    found.append((opens, closes))
    merged: list[tuple[dt.datetime, dt.datetime]] = []
    for opens, closes in sorted(found):
        opens, closes = max(opens, begins), min(closes, ends)
        if opens >= closes:
            continue
        if merged and opens <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(closes, merged[-1][1]))
        else:
            merged.append((opens, closes))
    return merged

"""Occasions: good moments to speak to a person, and whose moment is when.

Days are those of the person's own zone. Birthdays are kept by the calendar of the birth date: a lunar one, written
in lunar digits, comes to another day every year. Who was born on a day that a year lacks (29 February, the 30th of
a short lunar month) has the birthday on that month's last day; a leap month repeats nobody's birthday.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from lunar_python import LunarYear

from audiences import segments
from audiences.models import Segment
from campaigns.models import Campaign, Occasion
from campaigns.queries import occasions as queries
from campaigns.queries.plan import NOBODY, literal

EARLIEST_BIRTH = 1900
AHEAD = 30  # days the preview looks ahead, and back where nobody can know
SOLAR, LUNAR = "solar", "lunar"

CALENDARS_OF_BIRTHDAYS = (
    ("own", gettext_lazy("Each person's own: solar or lunar")),
    (SOLAR, gettext_lazy("Solar birthdays only")),
    (LUNAR, gettext_lazy("Lunar birthdays only")),
)
CALENDARS = ((SOLAR, gettext_lazy("Solar calendar")), (LUNAR, gettext_lazy("Lunar calendar 农历")))
ANNIVERSARIES = (
    ("registered", gettext_lazy("of becoming known to us")),
    ("first_order", gettext_lazy("of the first order")),
)
# What a new installation may begin with: name, kind, rule.
USUAL: tuple[tuple[Any, str, dict[str, Any]], ...] = (
    (gettext_lazy("Birthday"), "birthday", {"calendar": "own"}),
    (gettext_lazy("Spring Festival 春节"), "festival", {"calendar": LUNAR, "month": 1, "day": 1}),
    (gettext_lazy("Valentine's Day"), "festival", {"calendar": SOLAR, "month": 2, "day": 14}),
    (gettext_lazy("Dragon Boat Festival 端午"), "festival", {"calendar": LUNAR, "month": 5, "day": 5}),
    (gettext_lazy("Qixi 七夕"), "festival", {"calendar": LUNAR, "month": 7, "day": 7}),
    (gettext_lazy("Mid-Autumn Festival 中秋"), "festival", {"calendar": LUNAR, "month": 8, "day": 15}),
    (gettext_lazy("618 shopping day"), "shopping_day", {"calendar": SOLAR, "month": 6, "day": 18}),
    (gettext_lazy("Double 11"), "shopping_day", {"calendar": SOLAR, "month": 11, "day": 11}),
    (gettext_lazy("Double 12"), "shopping_day", {"calendar": SOLAR, "month": 12, "day": 12}),
    (gettext_lazy("Anniversary of the first order"), "anniversary", {"of": "first_order"}),
)


class OccasionError(ValueError):
    """What is wrong with an occasion; the text says what to do."""


# Days ---------------------------------------------------------------------------------------------


@lru_cache(maxsize=400)
def _months(year: int) -> list[tuple[dt.date, int, int]]:
    """(first day, month, days) of the lunar months around a lunar year; leap months are negative."""
    epoch = dt.date(2000, 1, 1)  # Julian day 2451544.5
    return [
        (
            epoch + dt.timedelta(days=round(month.getFirstJulianDay() - 2451545)),
            month.getMonth(),
            month.getDayCount(),
        )
        for month in LunarYear.fromYear(year).getMonths()
    ]


@lru_cache(maxsize=4000)
def lunar(day: dt.date) -> tuple[int, int, int]:
    """(month, day, days of that month) of a solar day; the month is negative where it is a leap month."""
    for year in (day.year, day.year - 1):
        for first, month, days in _months(year):
            if first <= day < first + dt.timedelta(days=days):
                return month, (day - first).days + 1, days
    raise OccasionError(_("The lunar calendar of %(year)d is not known.") % {"year": day.year})


def _dates(on: dt.date, calendar: str) -> list[tuple[int, int]]:
    """(month, day) pairs, in a calendar's digits, that fall on this day; none in a leap month."""
    if calendar == SOLAR:
        found = [(on.month, on.day)]
        if (on.month, on.day) == (2, 28) and (on + dt.timedelta(days=1)).month == 3:
            found.append((2, 29))
        return found
    month, day, days = lunar(on)
    if month < 0:
        return []
    return [(month, day), (month, 30)] if day == days == 29 else [(month, day)]


def births(on: dt.date, calendar: str) -> list[dt.date]:
    """The dates of birth, in a calendar's digits, whose birthday is on this day."""
    found = []
    for month, day in _dates(on, calendar):
        for year in range(EARLIEST_BIRTH, on.year + 1):
            try:
                found.append(dt.date(year, month, day))
            except ValueError:  # 29 February of a common year, 30 of a lunar second month
                continue
    return found


def falls_on(rule: Mapping[str, Any], day: dt.date) -> bool:
    """Whether a festival or a shopping day is on this day."""
    return (int(rule["month"]), int(rule["day"])) in _dates(day, rule.get("calendar", SOLAR))


def has_a_day(kind: str) -> bool:
    """Whether it is on the same day for everybody."""
    return kind in (Occasion.Kind.FESTIVAL, Occasion.Kind.SHOPPING_DAY)


def days_between(first: dt.date, last: dt.date) -> list[dt.date]:
    return [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]


# Who ----------------------------------------------------------------------------------------------


def audience_sql(segment: Segment | None) -> str:
    """A segment's customers as the text of a query of one column; '' for everybody."""
    if segment is None:
        return ""
    try:
        return literal(*segments.customer_ids(segment).query.sql_with_params())
    except EmptyResultSet:
        return NOBODY


def entry(occasion: Occasion | None) -> dict[str, Any] | None:
    """The occasion as it stands in a definition: its rule goes along, so that a change of it is a difference."""
    if occasion is None:
        return None
    return {
        "id": occasion.pk,
        "name": occasion.name,
        "kind": occasion.kind,
        "rule": occasion.rule,
        "lead_days": occasion.lead_days,
        "segment": occasion.segment_id,
    }


def having(
    known: Mapping[str, Any], days: Sequence[dt.date], audiences: Iterable[str] = (), zone: str | None = None
) -> str:
    """The query (customer, day) of who has an occasion, as in a definition, on one of these days of their own.

    ``audiences`` are queries of ids; '' is everybody. ``zone``: only people who live by it.
    """
    rule, kind = known["rule"], known["kind"]
    within = [one for one in audiences if one]
    if known.get("segment"):
        segment = Segment.objects.filter(pk=known["segment"]).first()
        within.append(audience_sql(segment) if segment else NOBODY)
    if kind == Occasion.Kind.BIRTHDAY:
        calendars = (SOLAR, LUNAR) if rule.get("calendar", "own") == "own" else (rule["calendar"],)
        rows = [
            (day, born, calendar) for day in days for calendar in calendars for born in births(day, calendar)
        ]
        return queries.birthdays(rows, within, zone)
    if kind == Occasion.Kind.ANNIVERSARY:
        pairs = [(day, f"{month:02}-{number:02}") for day in days for month, number in _dates(day, SOLAR)]
        return queries.anniversaries(pairs, rule.get("of", "registered"), within, zone)
    if kind == Occasion.Kind.BEHAVIOUR:
        return queries.nobody()
    return queries.everybody([day for day in days if falls_on(rule, day)], within, zone)


@dataclass(frozen=True, slots=True)
class Preview:
    """Who has an occasion in the days to come; of a behaviour, who did it in the days past."""

    people: int
    days: list[tuple[dt.date, int]]
    past: bool = False


def preview(known: Mapping[str, Any], today: dt.date, ahead: int = AHEAD) -> Preview:
    """How many people have it within ``ahead`` days, and on which days."""
    if known["kind"] == Occasion.Kind.BEHAVIOUR:
        since = dt.datetime.combine(today - dt.timedelta(days=ahead), dt.time.min, dt.UTC)
        return Preview(queries.did(str(known["rule"].get("event", "")), since), [], past=True)
    days = days_between(today, today + dt.timedelta(days=ahead - 1))
    found = queries.counted(having(known, days))
    return Preview(sum(n for _day, n in found), found)


def marks(first: dt.date, last: dt.date) -> list[tuple[Occasion, dict[dt.date, int | None]]]:
    """For the calendar: every occasion with its days in between; how many have it where that differs by person."""
    days = days_between(first, last)
    found = []
    for occasion in Occasion.objects.all():
        if occasion.kind == Occasion.Kind.BEHAVIOUR:
            continue
        if has_a_day(occasion.kind):
            own: dict[dt.date, int | None] = {day: None for day in days if falls_on(occasion.rule, day)}
        else:
            own = dict(queries.counted(having(entry(occasion) or {}, days)))
        if own:
            found.append((occasion, own))
    return found


# Keeping ------------------------------------------------------------------------------------------


def check(kind: str, rule: Mapping[str, Any]) -> dict[str, Any]:
    """The rule with what its kind needs, and nothing else. Raises :class:`OccasionError`."""
    if kind == Occasion.Kind.BIRTHDAY:
        calendar = rule.get("calendar") or "own"
        if calendar not in dict(CALENDARS_OF_BIRTHDAYS):
            raise OccasionError(_("Choose by which calendar birthdays count."))
        return {"calendar": calendar}
    if kind == Occasion.Kind.ANNIVERSARY:
        of = rule.get("of") or "registered"
        if of not in dict(ANNIVERSARIES):
            raise OccasionError(_("Choose what it is the anniversary of."))
        return {"of": of}
    if kind == Occasion.Kind.BEHAVIOUR:
        event = str(rule.get("event") or "").strip()
        if not event:
            raise OccasionError(_("Say which behaviour it is."))
        return {"event": event[:40]}
    calendar = rule.get("calendar") or SOLAR
    if calendar not in (SOLAR, LUNAR):
        raise OccasionError(_("Choose a calendar."))
    try:
        month, day = int(rule.get("month") or 0), int(rule.get("day") or 0)
        dt.date(2000, month, min(day, 29) if calendar == LUNAR else day)
    except (TypeError, ValueError):
        raise OccasionError(_("There is no such day: write its month and day.")) from None
    if not 1 <= day <= (30 if calendar == LUNAR else 31):
        raise OccasionError(_("There is no such day: write its month and day."))
    return {"calendar": calendar, "month": month, "day": day}


def campaigns_with(occasion: Occasion) -> list[Campaign]:
    """Campaigns that it triggers, or that a version of which names it."""
    return list(Campaign.objects.filter(occasion=occasion).order_by("-pk"))


def delete(occasion: Occasion) -> None:
    """Raises :class:`OccasionError` while campaigns stand on it."""
    with transaction.atomic():
        used = campaigns_with(occasion)
        if used:
            raise OccasionError(
                _("Campaigns stand on it: %(names)s.") % {"names": ", ".join(one.name for one in used[:5])}
            )
        occasion.delete()


def sentence(occasion: Occasion) -> str:
    """Its rule in words."""
    rule = occasion.rule
    if occasion.kind == Occasion.Kind.BIRTHDAY:
        told = str(dict(CALENDARS_OF_BIRTHDAYS).get(rule.get("calendar", "own"), ""))
    elif occasion.kind == Occasion.Kind.ANNIVERSARY:
        told = _("Every year: the day %(of)s") % {"of": dict(ANNIVERSARIES).get(rule.get("of", ""), "")}
    elif occasion.kind == Occasion.Kind.BEHAVIOUR:
        told = _("When somebody does “%(event)s”") % {"event": rule.get("event", "")}
    elif rule.get("calendar") == LUNAR:
        told = _("Lunar month %(month)s, day %(day)s") % {"month": rule.get("month"), "day": rule.get("day")}
    else:
        told = f"{int(rule.get('month') or 0):02}-{int(rule.get('day') or 0):02}"
    return told

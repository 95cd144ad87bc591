"""How a campaign runs: once, again and again, or for each person when something happens.

A cadence is the part of a definition that says so:

    once       {}
    recurring  {every, unit: day | week | month, times or until (a date), days}
    triggered  {by: occasion | event | stage | segment, event, stage, wait_hours, window_days, most, apart_days}

A recurring campaign runs at its start and every so many units of the calendar after it; each run is a round, and
lasts ``days``, or until the next one. A triggered campaign opens for a person ``wait_hours`` after what triggers
it, for ``window_days``, at most ``most`` times and never twice within ``apart_days``; the n-th time is round n.
"""

import calendar
import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from audiences.vocabulary import Stage
from campaigns.hours import zone_info
from campaigns.models import Campaign

Cadence = Mapping[str, Any]
Span = tuple[dt.datetime, dt.datetime]

UNITS = (("day", gettext_lazy("days")), ("week", gettext_lazy("weeks")), ("month", gettext_lazy("months")))
BY = (
    ("occasion", gettext_lazy("An occasion: a birthday, a festival, an anniversary…")),
    ("event", gettext_lazy("Something the person does")),
    ("stage", gettext_lazy("The person comes to a stage")),
    ("segment", gettext_lazy("The person enters the audience")),
)
MOST_RUNS = 366
MOST_TIMES = 60
TRIGGER: dict[str, Any] = {
    "by": "occasion",
    "event": "",
    "stage": "",
    "wait_hours": 0,
    "window_days": 7,
    "most": 1,
    "apart_days": 30,
}
REPEAT: dict[str, Any] = {"every": 1, "unit": "week", "times": 4, "until": None, "days": None}
# Who is to be triggered is noticed by these, and the runs of members stand on these: fixed once it is released.
FIXED = ("by", "event", "stage", "every", "unit", "days")


def begins(cadence: Cadence, starts_at: dt.datetime, zone: str, turn: int) -> dt.datetime:
    """When run ``turn`` (from 0) begins: the same local time of day, so many units of the calendar on."""
    local = starts_at.astimezone(zone_info(zone))
    step = int(cadence["every"]) * turn
    if cadence["unit"] == "month":
        month = local.month - 1 + step
        year, month = local.year + month // 12, month % 12 + 1
        day = dt.date(year, month, min(local.day, calendar.monthrange(year, month)[1]))
    else:
        day = local.date() + dt.timedelta(days=step * (7 if cadence["unit"] == "week" else 1))
    return dt.datetime.combine(day, local.time(), tzinfo=local.tzinfo).astimezone(dt.UTC)


def runs(cadence: Cadence, starts_at: dt.datetime, zone: str) -> list[Span]:
    """All runs of a recurring campaign, half open."""
    until = dt.date.fromisoformat(cadence["until"]) if cadence.get("until") else None
    times = min(int(cadence.get("times") or MOST_RUNS), MOST_RUNS)
    found: list[Span] = []
    for turn in range(times):
        begin = begins(cadence, starts_at, zone, turn)
        if until is not None and begin.astimezone(zone_info(zone)).date() > until:
            break
        end = begins(cadence, starts_at, zone, turn + 1)
        if cadence.get("days"):
            end = min(end, begins({"every": cadence["days"], "unit": "day"}, begin, zone, 1))
        found.append((begin, end))
    return found


def ends(cadence: Cadence, starts_at: dt.datetime, zone: str) -> dt.datetime | None:
    """When a recurring campaign ends: with its last run."""
    found = runs(cadence, starts_at, zone)
    return found[-1][1] if found else None


def is_recurring(document: Mapping[str, Any]) -> bool:
    return bool(document["kind"] == Campaign.Kind.RECURRING and document.get("cadence", {}).get("every"))


def is_triggered(document: Mapping[str, Any]) -> bool:
    return bool(document["kind"] == Campaign.Kind.TRIGGERED)


def times(document: Mapping[str, Any]) -> int:
    """How many times a triggered campaign opens for one person at most."""
    return max(1, min(MOST_TIMES, int(document.get("cadence", {}).get("most") or 1)))


def window(cadence: Cadence) -> dt.timedelta:
    """How long it stays open for a person each time."""
    return dt.timedelta(days=max(1, int(cadence.get("window_days") or 7)))


def wait(cadence: Cadence) -> dt.timedelta:
    return dt.timedelta(hours=int(cadence.get("wait_hours") or 0))


def event_of(document: Mapping[str, Any]) -> str:
    """The kind of behaviour that triggers it; '' where none does."""
    own = document.get("cadence", {})
    if own.get("by") == "event":
        return str(own.get("event") or "")
    occasion = document.get("occasion") or {}
    if own.get("by") == "occasion" and occasion.get("kind") == "behaviour":
        return str(occasion["rule"].get("event") or "")
    return ""


# In words -----------------------------------------------------------------------------------------


def hours_in_words(hours: int) -> str:
    if hours % 24 == 0:
        return ngettext("%(n)d day", "%(n)d days", hours // 24) % {"n": hours // 24}
    return ngettext("%(n)d hour", "%(n)d hours", hours) % {"n": hours}


def sentence(document: Mapping[str, Any]) -> str:
    """How a campaign runs, in words."""
    own = document.get("cadence") or {}
    if is_recurring(document):
        unit, n = own["unit"], int(own["every"])
        told = {
            "day": ngettext("Every day", "Every %(n)d days", n),
            "week": ngettext("Every week", "Every %(n)d weeks", n),
            "month": ngettext("Every month", "Every %(n)d months", n),
        }[unit] % {"n": n}
        if own.get("times"):
            told += ", " + ngettext("%(n)d time", "%(n)d times", own["times"]) % {"n": own["times"]}
        elif own.get("until"):
            told += ", " + _("until %(day)s") % {"day": own["until"]}
        if own.get("days"):
            told += ", " + ngettext("each run lasts %(n)d day", "each run lasts %(n)d days", own["days"]) % {
                "n": own["days"]
            }
        return told
    if not is_triggered(document) or not own:
        return str(_("Once"))
    wait_hours = int(own.get("wait_hours") or 0)
    parts = [_trigger(document)]
    if wait_hours:
        parts.append(_("after a wait of %(time)s") % {"time": hours_in_words(wait_hours)})
    most = times(document)
    if most == 1:
        parts.append(_("once a person"))
    else:
        parts.append(
            _("at most %(n)d times a person, at least %(days)d days apart")
            % {"n": most, "days": int(own.get("apart_days") or 1)}
        )
    days = window(own).days
    parts.append(
        ngettext("open for %(n)d day each time", "open for %(n)d days each time", days) % {"n": days}
    )
    return ", ".join(parts)


def _trigger(document: Mapping[str, Any]) -> str:
    own, occasion = document["cadence"], document.get("occasion") or {}
    by = own.get("by")
    if by == "occasion":
        name = occasion.get("name") or _("not chosen")
        days = int(occasion.get("lead_days") or 0)
        if days:
            return ngettext("%(n)d day before “%(name)s”", "%(n)d days before “%(name)s”", days) % {
                "n": days,
                "name": name,
            }
        return _("On “%(name)s”") % {"name": name}
    if by == "event":
        return _("When somebody does “%(event)s”") % {"event": own.get("event") or _("not chosen")}
    if by == "stage":
        label = dict(Stage.choices).get(own.get("stage") or "", _("not chosen"))
        return _("When somebody comes to stage “%(stage)s”") % {"stage": label}
    return _("When somebody enters the audience")

"""What a list of rows is narrowed to, as it stands in an address: read, checked, and told in words."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from audiences.vocabulary import Stage
from campaigns.models import Campaign, Phase, Round
from campaigns.vocabulary import Cause
from channels.models import Channel
from channels.vocabulary import Observability
from reports.models.coverage import NO_DAY

NEVER = "never"  # as a day: what was never planned
SPAN_DAYS = 90


@dataclass(slots=True)
class Narrowed:
    """``by``: what :mod:`reports.queries.rows` takes; ``words``: (what, value) for people."""

    by: dict[str, Any] = field(default_factory=dict)
    words: list[tuple[Any, Any]] = field(default_factory=list)


def whole_number(text: str) -> int | None:
    """A number that fits the database; None for anything else."""
    return int(text) if text.isdigit() and text.isascii() and len(text) < 10 else None


def span(query: Mapping[str, str], today: dt.date) -> tuple[dt.date, dt.date]:
    """The days asked for, both included; else the last 90 and the next 90."""
    found = []
    for name, usual in (("since", -SPAN_DAYS), ("until", SPAN_DAYS)):
        try:
            day = dt.date.fromisoformat(query.get(name, ""))
        except ValueError:
            day = today + dt.timedelta(days=usual)
        found.append(min(max(day, dt.date(1970, 1, 2)), dt.date(9000, 1, 1)))
    return found[0], found[1]


def narrowed(query: Mapping[str, str], campaign: Campaign | None, names: Mapping[int, str]) -> Narrowed:
    """What an address asks for; what cannot be read is left out. ``campaign`` None: rows of all campaigns."""
    found = Narrowed()
    channel, customer = whole_number(query.get("channel", "")), whole_number(query.get("customer", ""))
    if channel is not None:
        found.by["channel"] = channel
        found.words.append((_("Channel"), names.get(channel, channel)))
    if query.get("class") in Observability.values:
        own = Channel.objects.filter(observability=query["class"]).values_list("pk", flat=True)
        found.by["channels"] = list(own)
        found.words.append((_("Observability"), Observability(query["class"]).label))
    if campaign is not None:
        _narrow_round(found, query, campaign)
    if query.get("stage"):
        found.by["stage"] = query["stage"][:16]
        found.words.append((_("Stage"), dict(Stage.choices).get(query["stage"], query["stage"])))
    if query.get("cause"):
        found.by["cause"] = query["cause"][:24]
        found.words.append((_("Cause"), dict(Cause.choices).get(query["cause"], query["cause"])))
    _narrow_day(found, query.get("day", ""), campaign)
    if customer is not None:
        found.by["customer"] = customer
        found.words.append((pgettext("person", "Customer"), customer))
    return found


def _narrow_round(found: Narrowed, query: Mapping[str, str], campaign: Campaign) -> None:
    number, phase = whole_number(query.get("round", "")), whole_number(query.get("phase", ""))
    if number is not None and number < 32_768:
        found.by["round"] = number
        found.words.append((_("Round"), number))
    if phase is not None:
        name = Phase.objects.filter(campaign=campaign, pk=phase).values_list("name", flat=True).first()
        rounds = Round.objects.filter(campaign=campaign, phase_id=phase).values_list("number", flat=True)
        found.by["rounds"] = list(rounds)
        found.words.append((_("Phase"), name or phase))


def _narrow_day(found: Narrowed, text: str, campaign: Campaign | None) -> None:
    """A day is one of the campaign's zone; over all campaigns each row is asked for in its own campaign's."""
    zone = campaign.zone if campaign is not None else ""
    if text == NEVER:
        found.by |= {"day": NO_DAY, "zone": zone}
        found.words.append((_("Day"), _("never planned")))
        return
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        return
    if 1970 <= day.year <= 9000:
        found.by |= {"day": day, "zone": zone}
        found.words.append((_("Day"), day.isoformat()))

"""The form of the frequency matrix: phases, cells, budgets and day-parts, read from a POST into the document.

Fields: ``p0-name``, ``p0-starts_at``… of phases by index; ``c0-7-member-n`` and ``-gap`` of the cell of phase
0, channel 7 and stage member; ``ch7-budget``… of channels by id; ``ch7-dp0-days|from|to`` of their day-parts.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.translation import gettext as _

from audiences.vocabulary import Stage
from campaigns import definition
from campaigns.definition import DefinitionError, Document
from campaigns.forms import from_local, local, number
from campaigns.models import Campaign
from channels.models import Channel

USUAL_GAP = 48  # hours
MOST_TOUCHES = 90


@dataclass(frozen=True, slots=True)
class Cell:
    key: str  # c0-7-member
    channel: str
    touches: int
    gap: int


@dataclass(frozen=True, slots=True)
class Row:
    stage: str
    label: Any
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class PhaseTable:
    index: int
    phase: Mapping[str, Any]
    starts_at: str
    ends_at: str
    rounds: int
    rows: list[Row]


def tables(document: Mapping[str, Any]) -> list[PhaseTable]:
    """One matrix for each phase: a row for each stage, a cell for each channel."""
    cells = {(cell["phase"], cell["channel"], cell["stage"]): cell for cell in document["matrix"]}
    zone = document["zone"]
    return [
        PhaseTable(
            index=n,
            phase=phase,
            starts_at=local(phase["starts_at"], zone),
            ends_at=local(phase["ends_at"], zone),
            rounds=definition.rounds_of(phase, document),
            rows=[
                Row(
                    stage.value,
                    stage.label,
                    [
                        Cell(
                            f"c{n}-{entry['channel']}-{stage.value}",
                            entry["name"],
                            cells.get((n, entry["channel"], stage.value), {}).get("touches", 0),
                            cells.get((n, entry["channel"], stage.value), {}).get("min_gap_hours", USUAL_GAP),
                        )
                        for entry in document["channels"]
                    ],
                )
                for stage in Stage
            ],
        )
        for n, phase in enumerate(document["phases"])
    ]


@dataclass(frozen=True, slots=True)
class Most:
    """The most touches one person of a stage can get over the whole campaign."""

    label: Any
    touches: int
    capped: bool


def most_touches(document: Mapping[str, Any]) -> list[Most]:
    """For each stage, all phases and rounds and channels together, and within the cap a person."""
    rounds = [definition.rounds_of(phase, document) for phase in document["phases"]]
    cap = document["person_cap"]
    found = []
    for stage in Stage:
        touches = sum(
            cell["touches"] * rounds[cell["phase"]]
            for cell in document["matrix"]
            if cell["stage"] == stage.value
        )
        capped = cap is not None and touches > cap
        found.append(Most(stage.label, cap if capped else touches, capped))
    return found


# Reading ------------------------------------------------------------------------------------------


def into(data: QueryDict, document: Document) -> None:
    """Put what was entered into the document. Raises :class:`DefinitionError` naming the field."""
    _limits(data, document)
    document["phases"] = [
        _phase(data, n, phase, document["zone"]) for n, phase in enumerate(document["phases"])
    ]
    document["channels"] = [_channel(data, entry) for entry in document["channels"]]
    document["matrix"] = list(_cells(data, document))


def _text(data: QueryDict, name: str) -> str:
    return str(data[name])


def _limits(data: QueryDict, document: Document) -> None:
    if "budget" in data:
        document["budget"] = _amount(_text(data, "budget"), _("Budget"))
    if "joiner_share" in data:
        share = number(_text(data, "joiner_share"), _("Kept for late joiners, %"), 0, 90)
        document["joiner_share"] = definition.amount((share or Decimal(0)) / 100)
    if "person_cap" in data:
        document["person_cap"] = _whole(_text(data, "person_cap"), _("Touches a person at most"), 1, 32000)
    if "priority" in data:
        priority = _whole(_text(data, "priority"), _("Priority"), 0, 100)
        document["priority"] = 50 if priority is None else priority
    if data.get("objective") in Campaign.Objective.values:
        document["objective"] = _text(data, "objective")


def _phase(data: QueryDict, n: int, phase: Mapping[str, Any], zone: str) -> Document:
    name = data.get(f"p{n}-name", phase["name"]).strip() or phase["name"]
    what = _("Phase “%(name)s”") % {"name": name}
    changed = dict(phase) | {"name": name[:80]}
    for field in ("starts_at", "ends_at"):
        if f"p{n}-{field}" not in data or _text(data, f"p{n}-{field}") == local(phase[field], zone):
            continue  # unchanged: seconds stay as they are
        try:
            moment = from_local(_text(data, f"p{n}-{field}"), zone)
        except ValidationError as error:
            raise DefinitionError(f"{what}: {error.messages[0]}") from None
        if moment is None:
            raise DefinitionError(_("%(what)s needs a start and an end.") % {"what": what})
        changed[field] = definition.moment(moment)
    if f"p{n}-round_days" in data:
        changed["round_days"] = _whole(
            _text(data, f"p{n}-round_days"), _("%(what)s, days a round") % {"what": what}, 1, 3650
        )
    return changed


def _channel(data: QueryDict, entry: Mapping[str, Any]) -> Document:
    key = f"ch{entry['channel']}"
    changed = dict(entry)
    named = {"channel": entry["name"]}
    if f"{key}-budget" in data:
        changed["budget"] = _amount(_text(data, f"{key}-budget"), _("Budget of %(channel)s") % named)
    if f"{key}-daily_limit" in data:
        what = _("Messages a day of %(channel)s") % named
        changed["daily_limit"] = _whole(_text(data, f"{key}-daily_limit"), what, 0, 2_000_000_000)
    if f"{key}-silence_hours" in data:
        what = _("Silence of %(channel)s") % named
        changed["silence_hours"] = _whole(_text(data, f"{key}-silence_hours"), what, 1, 10000)
    if f"{key}-dps" in data:
        changed["day_parts"] = list(_day_parts(data, key, entry["name"]))
    return changed


def _day_parts(data: QueryDict, key: str, channel: str) -> Iterator[Document]:
    """Rows without times are none. No day ticked means every day."""
    count = _whole(_text(data, f"{key}-dps"), channel, 0, 50) or 0
    for n in range(count):
        begins, ends = data.get(f"{key}-dp{n}-from", "").strip(), data.get(f"{key}-dp{n}-to", "").strip()
        if not begins and not ends:
            continue
        try:
            first, last = dt.time.fromisoformat(begins), dt.time.fromisoformat(ends)
        except ValueError:
            raise DefinitionError(
                _("Hours of %(channel)s: write both times, such as 09:00 and 20:30.") % {"channel": channel}
            ) from None
        if last <= first:
            raise DefinitionError(
                _("Hours of %(channel)s: they must end after they begin.") % {"channel": channel}
            )
        days = sorted({int(day) for day in data.getlist(f"{key}-dp{n}-days") if day in "1234567"})
        yield {
            "days": days or list(range(1, 8)),
            "from": first.strftime("%H:%M"),
            "to": last.strftime("%H:%M"),
        }


def _cells(data: QueryDict, document: Mapping[str, Any]) -> Iterator[Document]:
    known = {(cell["phase"], cell["channel"], cell["stage"]): cell for cell in document["matrix"]}
    for n, phase in enumerate(document["phases"]):
        for stage in Stage:
            for entry in document["channels"]:
                key = f"c{n}-{entry['channel']}-{stage.value}"
                before = known.get((n, entry["channel"], stage.value))
                if f"{key}-n" not in data:
                    if before:
                        yield before
                    continue
                what = _("%(phase)s, %(stage)s, %(channel)s") % {
                    "phase": phase["name"],
                    "stage": stage.label,
                    "channel": entry["name"],
                }
                touches = _whole(_text(data, f"{key}-n"), what, 0, MOST_TOUCHES) or 0
                gap = _whole(data.get(f"{key}-gap", ""), _("%(what)s, hours apart") % {"what": what}, 0, 8760)
                if touches:
                    yield {
                        "phase": n,
                        "channel": entry["channel"],
                        "stage": stage.value,
                        "touches": touches,
                        "min_gap_hours": USUAL_GAP if gap is None else gap,
                    }


def _whole(text: str, what: str, least: int, most: int) -> int | None:
    text = text.strip().replace(",", "")
    if not text:
        return None
    if not text.isdecimal() or not least <= int(text) <= most:
        raise DefinitionError(
            _("%(what)s: write a whole number from %(least)d to %(most)d.")
            % {"what": what, "least": least, "most": most}
        )
    return int(text)


def _amount(text: str, what: str) -> str | None:
    text = text.strip().replace(",", "")
    if not text:
        return None
    try:
        found = Decimal(text)
    except InvalidOperation:
        raise DefinitionError(
            _("%(what)s: “%(text)s” is no amount.") % {"what": what, "text": text}
        ) from None
    if not found.is_finite() or found < 0 or found >= Decimal(10) ** 14:
        raise DefinitionError(_("%(what)s: write an amount of 0 or more.") % {"what": what})
    return definition.amount(found)


# Adding and removing ------------------------------------------------------------------------------


def add_phase(document: Document) -> None:
    """Split the last phase in two at a day's beginning; the new one starts with the same matrix."""
    if not document["phases"]:
        raise DefinitionError(_("Say first when the campaign starts and ends."))
    last = document["phases"][-1]
    begins, ends = definition.as_moment(last["starts_at"]), definition.as_moment(last["ends_at"])
    if begins is None or ends is None or ends - begins < dt.timedelta(days=2):
        raise DefinitionError(_("The last phase is too short to be split: it needs two days."))
    days = (ends - begins) // dt.timedelta(days=1)
    middle = definition.moment(begins + dt.timedelta(days=(days + 1) // 2))
    n = len(document["phases"])
    document["phases"] = [
        *document["phases"][:-1],
        last | {"ends_at": middle},
        {
            "id": None,
            "name": _("Phase %(n)d") % {"n": n + 1},
            "starts_at": middle,
            "ends_at": last["ends_at"],
            "round_days": last["round_days"],
        },
    ]
    copied = [cell | {"phase": n} for cell in document["matrix"] if cell["phase"] == n - 1]
    document["matrix"] = [*document["matrix"], *copied]


def remove_phase(document: Document, index: int) -> None:
    """Take a phase out; the one before it (or after the first) takes over its time."""
    phases = [dict(phase) for phase in document["phases"]]
    if len(phases) < 2 or not 0 <= index < len(phases):
        raise DefinitionError(_("A campaign needs at least one phase."))
    gone = phases.pop(index)
    if index > 0:
        phases[index - 1]["ends_at"] = gone["ends_at"]
    else:
        phases[0]["starts_at"] = gone["starts_at"]
    document["phases"] = phases
    document["matrix"] = [
        cell | {"phase": cell["phase"] - (cell["phase"] > index)}
        for cell in document["matrix"]
        if cell["phase"] != index
    ]


def add_channel(document: Document, channel: Channel) -> None:
    if any(entry["channel"] == channel.pk for entry in document["channels"]):
        return
    document["channels"] = [
        *document["channels"],
        {
            **definition.channel_entry(channel),
            "budget": None,
            "daily_limit": None,
            "day_parts": [],
            "silence_hours": None,
            "message": None,
        },
    ]


def remove_channel(document: Document, channel_id: int) -> None:
    document["channels"] = [entry for entry in document["channels"] if entry["channel"] != channel_id]
    document["matrix"] = [cell for cell in document["matrix"] if cell["channel"] != channel_id]

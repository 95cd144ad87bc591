"""What differs between two definitions, kept as data and told in words of the reader's language.

An entry is ``{"step", "what", "of", "old", "new"}``: the step of the editor it belongs to, the kind of
thing, the names of the thing, and its values before and after (None: was not, or is no more).
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from audiences.models import Segment
from audiences.vocabulary import ResponseKind, Stage
from campaigns import cadence, occasions
from campaigns.models import Campaign, ChannelPlan, Occasion, Phase

Entry = dict[str, Any]

STEP_OF = {
    "brand": "basics",
    "name": "basics",
    "goal": "basics",
    "starts_at": "basics",
    "ends_at": "basics",
    "zone": "basics",
    "currency": "basics",
    "budget": "matrix",
    "objective": "matrix",
    "priority": "matrix",
    "person_cap": "matrix",
    "holdout_share": "rules",
    "joiner_share": "matrix",
    "margin_rate": "rules",
    "conversion_value": "rules",
    "silence_hours": "rules",
    "silent_touches": "rules",
    "exit_on": "rules",
    "attribution_days": "rules",
    "revenue_basis": "rules",
}
MONEY = ("budget", "conversion_value")
CHOICES: dict[str, Any] = {
    "objective": Campaign.Objective.choices,
    "revenue_basis": Campaign.RevenueBasis.choices,
}
SHARES = ("holdout_share", "joiner_share", "margin_rate", "share")


def differences(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[Entry]:
    """Everything that changed, in the order of the editor; nothing when there is no old one."""
    if old is None:
        return []
    found = [
        _entry(step, "field", {"field": name}, old.get(name), new.get(name))
        for name, step in STEP_OF.items()
        if old.get(name) != new.get(name)
    ]
    found += _runs(old, new)
    found += _segment(old.get("segment"), new.get("segment"))
    found += _offer(old.get("offer"), new.get("offer"))
    found += _phases(old["phases"], new["phases"])
    found += _channels(old["channels"], new["channels"])
    found += _cells(old, new)
    found += _arms(old["arms"], new["arms"])
    return found


def _entry(step: str, what: str, of: Mapping[str, Any], old: Any, new: Any) -> Entry:
    return {"step": step, "what": what, "of": dict(of), "old": old, "new": new}


def _runs(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Entry]:
    def told(document: Mapping[str, Any]) -> dict[str, Any]:
        occasion = document.get("occasion")
        return {
            "kind": document["kind"],
            "cadence": document.get("cadence") or {},
            "occasion": occasion or None,
        }

    before, after = told(old), told(new)
    return [] if before == after else [_entry("runs", "runs", {}, before, after)]


def _offer(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> list[Entry]:
    before, after = dict(old or {}), dict(new or {})
    if before == after:
        return []
    names = ("id", "name", "value", "cost", "code", "codes", "valid_from", "valid_to")
    return [
        _entry(
            "content",
            "offer",
            {},
            {name: before.get(name) for name in names} if before else None,
            {name: after.get(name) for name in names} if after else None,
        )
    ]


def _segment(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> list[Entry]:
    before, after = old or {}, new or {}
    if before.get("id") != after.get("id"):
        return [_entry("basics", "segment", {}, before.get("name"), after.get("name"))]
    if before.get("rule") != after.get("rule"):
        return [
            _entry(
                "basics", "segment_rule", {"name": after.get("name")}, before.get("rule"), after.get("rule")
            )
        ]
    return []


def _phases(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> list[Entry]:
    before = {phase["id"]: phase for phase in old}
    found, kept = [], set()
    for phase in new:
        was = before.get(phase.get("id"))
        if was is None:
            found.append(_entry("matrix", "phase", {"phase": phase["name"]}, None, _span(phase)))
            continue
        kept.add(phase["id"])
        found += [
            _entry(
                "matrix",
                "phase_field",
                {"phase": phase["name"], "field": name},
                was.get(name),
                phase.get(name),
            )
            for name in ("name", "starts_at", "ends_at", "round_days")
            if was.get(name) != phase.get(name)
        ]
    found += [
        _entry("matrix", "phase", {"phase": phase["name"]}, _span(phase), None)
        for phase in old
        if phase["id"] not in kept
    ]
    return found


def _span(phase: Mapping[str, Any]) -> list[Any]:
    return [phase["starts_at"], phase["ends_at"]]


def _channels(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> list[Entry]:
    before = {entry["channel"]: entry for entry in old}
    after = {entry["channel"]: entry for entry in new}
    found = []
    for channel, entry in after.items():
        of = {"channel": entry["name"]}
        was = before.get(channel)
        if was is None:
            found.append(_entry("matrix", "channel", of, None, entry["name"]))
            continue
        found += [
            _entry("matrix", "channel_field", of | {"field": name}, was.get(name), entry.get(name))
            for name in ("budget", "daily_limit", "day_parts", "silence_hours")
            if was.get(name) != entry.get(name)
        ]
        had, has = was.get("message") or {}, entry.get("message") or {}
        if had.get("id") != has.get("id"):
            found.append(_entry("content", "message", of, had.get("name"), has.get("name")))
        elif (had.get("version_id"), had.get("digest")) != (has.get("version_id"), has.get("digest")):
            of["message"] = has.get("name")
            found.append(_entry("content", "message_version", of, had.get("version"), has.get("version")))
    found += [
        _entry("matrix", "channel", {"channel": entry["name"]}, entry["name"], None)
        for channel, entry in before.items()
        if channel not in after
    ]
    return found


def _cells(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Entry]:
    def table(
        document: Mapping[str, Any], added: str
    ) -> dict[tuple[Any, ...], tuple[list[Any], dict[str, Any]]]:
        names = {entry["channel"]: entry["name"] for entry in document["channels"]}
        cells = {}
        for cell in document["matrix"]:
            phase = document["phases"][cell["phase"]]
            # A phase that is not stored yet is told apart by its place.
            key = (phase.get("id") or f"{added}{cell['phase']}", cell["channel"], cell["stage"])
            of = {"phase": phase["name"], "channel": names.get(cell["channel"], ""), "stage": cell["stage"]}
            cells[key] = ([cell["touches"], cell["min_gap_hours"]], of)
        return cells

    before, after = table(old, "old"), table(new, "new")
    found = []
    for key in [*after, *(key for key in before if key not in after)]:
        was, now = before.get(key), after.get(key)
        if (was and was[0]) != (now and now[0]):
            of = (now or was or ([], {}))[1]
            found.append(_entry("matrix", "cell", of, was and was[0], now and now[0]))
    return found


def _arms(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> list[Entry]:
    before = {arm["name"]: [arm["share"], arm["cap"]] for arm in old}
    after = {arm["name"]: [arm["share"], arm["cap"]] for arm in new}
    return [
        _entry("rules", "arm", {"arm": name}, before.get(name), after.get(name))
        for name in dict.fromkeys([*after, *before])
        if before.get(name) != after.get(name)
    ]


# In words -----------------------------------------------------------------------------------------


def sentences(entries: Iterable[Entry], document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(step, sentence) for each entry; moments in the campaign's zone, money in its currency."""
    words = _Words(document.get("currency", ""), document.get("zone", "UTC"))
    return [(entry["step"], words.sentence(entry)) for entry in entries]


class _Words:
    def __init__(self, currency: str, zone: str) -> None:
        self.currency = currency
        self.zone = ZoneInfo(zone)

    def sentence(self, entry: Entry) -> str:
        told: str = getattr(self, "_" + entry["what"])(entry["of"], entry["old"], entry["new"])
        return told

    def _change(self, what: str, old: str, new: str) -> str:
        return _("%(what)s: %(old)s → %(new)s") % {"what": what, "old": old, "new": new}

    def _field(self, of: Entry, old: Any, new: Any) -> str:
        name = of["field"]
        label = str(Campaign._meta.get_field(name).verbose_name)  # type: ignore[union-attr]
        return self._change(_sentence_case(label), self.value(name, old), self.value(name, new))

    def _runs(self, of: Entry, old: Any, new: Any) -> str:
        before, after = cadence.sentence(old), cadence.sentence(new)
        if before == after and old.get("occasion") and new.get("occasion"):
            before, after = occasion_in_words(old["occasion"]), occasion_in_words(new["occasion"])
        return self._change(_("How it runs"), before, after)

    def _offer(self, of: Entry, old: Any, new: Any) -> str:
        return self._change(_("Offer"), self.offer(old), self.offer(new))

    def offer(self, value: Any) -> str:
        if not value:
            return _("none")
        told = [f"“{value['name']}”"]
        if value.get("value"):
            told.append(value["value"])
        if value.get("code"):
            told.append(_("code %(code)s") % {"code": value["code"]})
        told.append(
            _("%(cost)s a redemption") % {"cost": f"{Decimal(value['cost'] or 0):,.2f} {self.currency}"}
        )
        if value.get("valid_to"):
            told.append(_("until %(day)s") % {"day": self.moment(value["valid_to"])})
        return ", ".join(told)

    def _segment(self, of: Entry, old: Any, new: Any) -> str:
        return self._change(_("Audience"), old or _("none"), new or _("none"))

    def _segment_rule(self, of: Entry, old: Any, new: Any) -> str:
        return _("The rule of segment “%(name)s” was changed.") % of

    def _phase(self, of: Entry, old: Any, new: Any) -> str:
        starts_at, ends_at = new or old
        values = {**of, "from": self.moment(starts_at), "to": self.moment(ends_at)}
        if old is None:
            return _("Phase “%(phase)s” added, %(from)s to %(to)s.") % values
        return _("Phase “%(phase)s” removed.") % values

    def _phase_field(self, of: Entry, old: Any, new: Any) -> str:
        label = str(Phase._meta.get_field(of["field"]).verbose_name)  # type: ignore[union-attr]
        what = _("Phase “%(phase)s”, %(field)s") % {"phase": of["phase"], "field": label}
        return self._change(what, self.value(of["field"], old), self.value(of["field"], new))

    def _channel(self, of: Entry, old: Any, new: Any) -> str:
        return (
            _("Channel “%(channel)s” added.") % of
            if old is None
            else _("Channel “%(channel)s” removed.") % of
        )

    def _channel_field(self, of: Entry, old: Any, new: Any) -> str:
        label = str(ChannelPlan._meta.get_field(of["field"]).verbose_name)  # type: ignore[union-attr]
        what = _("%(channel)s, %(field)s") % {"channel": of["channel"], "field": label}
        return self._change(what, self.value(of["field"], old), self.value(of["field"], new))

    def _message(self, of: Entry, old: Any, new: Any) -> str:
        return self._change(_("%(channel)s, message") % of, old or _("none"), new or _("none"))

    def _message_version(self, of: Entry, old: Any, new: Any) -> str:
        if old == new:
            return _("%(channel)s: the words of “%(message)s” were changed.") % of
        return self._change(_("%(channel)s, version of “%(message)s”") % of, str(old or "–"), str(new or "–"))

    def _cell(self, of: Entry, old: Any, new: Any) -> str:
        what = _("%(phase)s, %(stage)s, %(channel)s") % {**of, "stage": Stage(of["stage"]).label}
        return self._change(what, frequency(old), frequency(new))

    def _arm(self, of: Entry, old: Any, new: Any) -> str:
        return self._change(_("Arm “%(arm)s”") % of, self.arm(old), self.arm(new))

    def arm(self, value: Any) -> str:
        if value is None:
            return _("none")
        share = f"{Decimal(value[0]) * 100:.4g}%"
        return (
            share
            if value[1] is None
            else _("%(share)s, at most %(n)d touches") % {"share": share, "n": value[1]}
        )

    def moment(self, value: Any) -> str:
        found = parse_datetime(value) if value else None
        return found.astimezone(self.zone).strftime("%Y-%m-%d %H:%M") if found else _("not set")

    def value(self, name: str, value: Any) -> str:
        if name in ("starts_at", "ends_at"):
            return self.moment(value)
        if value is None or value == "":
            return _("unlimited") if name in ("budget", "daily_limit", "person_cap") else _("not set")
        if name in MONEY:
            return f"{Decimal(value):,.2f} {self.currency}"
        if name in SHARES:
            return f"{Decimal(value) * 100:.4g}%"
        if name == "exit_on":
            return ", ".join(str(dict(ResponseKind.choices).get(kind, kind)) for kind in value) or _("none")
        if name == "day_parts":
            return "; ".join(day_part(part) for part in value) or _("any hour")
        if name in CHOICES:
            return str(dict(CHOICES[name]).get(value, value))
        return str(value)


def occasion_in_words(entry: Mapping[str, Any]) -> str:
    """An occasion as it stands in a definition."""
    known = Occasion(name=entry["name"], kind=entry["kind"], rule=entry["rule"])
    told = f"“{entry['name']}” ({occasions.sentence(known)})"
    if entry.get("segment"):
        segment = Segment.objects.filter(pk=entry["segment"]).first()
        told += ", " + _("only of “%(segment)s”") % {"segment": segment.name if segment else "–"}
    return told


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]


def frequency(cell: Sequence[int] | None) -> str:
    """``[2, 24]`` → 2×, 24 h apart."""
    if not cell or not cell[0]:
        return "0×"
    if cell[0] == 1:
        return "1×"
    return _("%(n)d×, %(hours)d h apart") % {"n": cell[0], "hours": cell[1]}


def day_part(part: Mapping[str, Any]) -> str:
    """``{"days": [1, 2], "from": "09:00", "to": "20:30"}`` → Mon, Tue 09:00–20:30."""
    names = [_("Mon"), _("Tue"), _("Wed"), _("Thu"), _("Fri"), _("Sat"), _("Sun")]
    days = sorted(part.get("days") or range(1, 8))
    if days == list(range(1, 8)):
        told = _("every day")
    elif len(days) > 2 and days == list(range(days[0], days[-1] + 1)):
        told = f"{names[days[0] - 1]}–{names[days[-1] - 1]}"
    else:
        told = ", ".join(names[day - 1] for day in days)
    return f"{told} {part['from']}–{part['to']}"


def summary(entries: Sequence[Entry]) -> str:
    return ngettext("%(n)d change", "%(n)d changes", len(entries)) % {"n": len(entries)}

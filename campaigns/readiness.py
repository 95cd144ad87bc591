"""What is missing before a campaign can be submitted, in words, with the step where it is mended."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from audiences.models import Segment
from audiences.vocabulary import Stage
from campaigns import cadence, content, definition, hours
from campaigns.models import Campaign, Message, MessageVersion, Occasion, Offer, Plan
from channels import platform_rules, rule_sources
from channels.models import Channel, PlatformRule
from channels.vocabulary import Observability


@dataclass(frozen=True, slots=True)
class Missing:
    """``step`` is basics, runs, matrix, content, rules or forecast; what is no error is only worth a look."""

    step: str
    text: str
    error: bool = True


def missing(document: Mapping[str, Any], *, now: datetime, released: bool = False) -> list[Missing]:
    """Everything that stands against submitting this definition, in the order of the editor's steps."""
    channels = Channel.objects.select_related("brand").in_bulk(
        [entry["channel"] for entry in document["channels"]]
    )
    return [
        *_basics(document, now, released),
        *_runs(document),
        *_phases(document),
        *_channels(document, channels),
        *_matrix(document, channels),
        *_platforms(document, channels, now),
        *_money(document, channels),
        *_content(document, channels, now),
        *_offer(document),
        *_rules(document),
    ]


def blocking(found: list[Missing]) -> list[Missing]:
    return [entry for entry in found if entry.error]


def plan_problem(plan: Plan | None, document: Mapping[str, Any]) -> str:
    """Why a plan cannot go to the approver with this definition; '' when it can."""
    if plan is None:
        return _("Run the forecast: the approver sees what the campaign will reach and cost.")
    if plan.state == Plan.State.COMPUTING:
        return _("The forecast is still running. Wait until it is ready.")
    if plan.state == Plan.State.FAILED:
        return _("The last forecast failed. Look at its error and run it again.")
    if is_stale(plan, document):
        return _("The definition was changed after the forecast. Run the forecast again.")
    return ""


def is_stale(plan: Plan, document: Mapping[str, Any]) -> bool:
    """Whether a plan answers another definition than this one."""
    if plan.state == Plan.State.STALE:
        return True
    return bool(plan.definition_hash) and plan.definition_hash != definition.fingerprint(document)


def _basics(document: Mapping[str, Any], now: datetime, released: bool) -> Iterator[Missing]:
    if not document["name"].strip():
        yield Missing("basics", _("Give the campaign a name."))
    if not document["segment"]:
        yield Missing("basics", _("Choose whom it is for: a segment."))
    else:
        segment = Segment.objects.filter(pk=document["segment"]["id"]).first()
        if segment is None:
            yield Missing("basics", _("The segment no longer exists: choose another one."))
        elif segment.archived_at:
            yield Missing(
                "basics",
                _("The segment “%(name)s” is archived: choose another one.") % {"name": segment.name},
            )
        elif segment.counted == 0:
            yield Missing(
                "basics", _("There is nobody in segment “%(name)s”.") % {"name": segment.name}, error=False
            )
    starts_at = definition.as_moment(document["starts_at"])
    ends_at = definition.as_moment(document["ends_at"])
    if starts_at is None or ends_at is None:
        yield Missing("basics", _("Say when it starts and when it ends."))
    elif ends_at <= starts_at:
        yield Missing("basics", _("It must end after it starts."))
    elif ends_at <= now:
        yield Missing("basics", _("Its end lies in the past: nothing could be sent any more."))
    elif starts_at < now and not released:
        yield Missing(
            "basics", _("Its start lies in the past: it begins as soon as it is approved."), error=False
        )


def _runs(document: Mapping[str, Any]) -> Iterator[Missing]:
    own = document.get("cadence") or {}
    if document["kind"] == Campaign.Kind.RECURRING:
        starts_at = definition.as_moment(document["starts_at"])
        if not own.get("every"):
            yield Missing("runs", _("Say how often it runs."))
        elif not own.get("times") and not own.get("until"):
            yield Missing("runs", _("Say how many times it runs, or until when."))
        elif starts_at and not cadence.runs(own, starts_at, document["zone"]):
            yield Missing("runs", _("It never runs: its last day lies before its first."))
    if not cadence.is_triggered(document):
        return
    by = own.get("by")
    if not by:
        yield Missing("runs", _("Say what triggers it."))
    elif by == "occasion":
        chosen = document.get("occasion")
        if not chosen or not Occasion.objects.filter(pk=chosen["id"]).exists():
            yield Missing("runs", _("Choose the occasion that triggers it."))
    elif by == "event" and not own.get("event"):
        yield Missing("runs", _("Say which behaviour triggers it."))
    elif by == "stage" and own.get("stage") not in Stage.values:
        yield Missing("runs", _("Choose the stage whose newcomers it is for."))
    if len(document["phases"]) > 1:
        yield Missing("matrix", _("A triggered campaign has one phase: remove the others."))


def _offer(document: Mapping[str, Any]) -> Iterator[Missing]:
    used = {cell["channel"] for cell in document["matrix"]}
    ids = [
        (entry["message"] or {}).get("version_id")
        for entry in document["channels"]
        if entry["channel"] in used
    ]
    fields = content.fields_of_versions([pk for pk in ids if pk])
    wanted = {name for name in fields if name in content.OFFER_FIELDS}
    chosen = document.get("offer")
    offer = Offer.objects.select_related("brand").filter(pk=chosen["id"]).first() if chosen else None
    if offer is None:
        if chosen or wanted:
            yield Missing("content", _("Its words name an offer: choose which one."))
        return
    named = {"name": offer.name}
    if not wanted:
        yield Missing(
            "content",
            _(
                "No message names the offer “%(name)s”: write {{offer.code}} or {{offer.value}} into its words."
            )
            % named,
            error=False,
        )
    if offer.brand.code != document["brand"]:
        yield Missing("content", _("The offer “%(name)s” belongs to another brand.") % named)
    if offer.codes == Offer.Codes.SHARED and not offer.code and "offer.code" in wanted:
        yield Missing("content", _("The offer “%(name)s” has no code yet.") % named)
    if offer.codes == Offer.Codes.PERSONAL and not offer.pool.filter(taken_at=None).exists():
        yield Missing("content", _("The offer “%(name)s” has no free codes: add some.") % named)
    starts_at, ends_at = (
        definition.as_moment(document["starts_at"]),
        definition.as_moment(document["ends_at"]),
    )
    if offer.valid_to and starts_at and offer.valid_to <= starts_at:
        yield Missing("content", _("The offer “%(name)s” is over before the campaign begins.") % named)
    elif offer.valid_to and ends_at and offer.valid_to < ends_at:
        yield Missing(
            "content",
            _("The offer “%(name)s” ends before the campaign: from then on its messages do not go out.")
            % named,
            error=False,
        )
    if offer.valid_from and starts_at and offer.valid_from > starts_at:
        yield Missing("content", _("The offer “%(name)s” is not valid yet when the campaign begins.") % named)


def _phases(document: Mapping[str, Any]) -> Iterator[Missing]:
    starts_at = definition.as_moment(document["starts_at"])
    ends_at = definition.as_moment(document["ends_at"])
    if starts_at is None or ends_at is None:
        return
    if not document["phases"]:
        yield Missing("matrix", _("Add a phase: the matrix says how often whom to contact in it."))
    before = None
    for phase in sorted(document["phases"], key=lambda phase: str(phase["starts_at"])):
        begins, ends = definition.as_moment(phase["starts_at"]), definition.as_moment(phase["ends_at"])
        if begins is None or ends is None:
            continue
        if begins < starts_at or ends > ends_at:
            yield Missing("matrix", _("Phase “%(name)s” reaches beyond the campaign's dates.") % phase)
        if before is not None and begins < before[1]:
            yield Missing(
                "matrix",
                _("Phases “%(one)s” and “%(other)s” overlap.") % {"one": before[0], "other": phase["name"]},
            )
        before = (phase["name"], ends)


def _channels(document: Mapping[str, Any], channels: Mapping[int, Channel]) -> Iterator[Missing]:
    if not document["channels"]:
        yield Missing("matrix", _("Add at least one channel."))
    used = {cell["channel"] for cell in document["matrix"]}
    for entry in document["channels"]:
        channel = channels.get(entry["channel"])
        if channel is None:
            yield Missing("matrix", _("Channel “%(name)s” no longer exists: remove it.") % entry)
            continue
        named = {"name": channel.name}
        if channel.state in (Channel.State.STOPPED, Channel.State.ARCHIVED):
            yield Missing(
                "matrix",
                _("Channel “%(name)s” is %(state)s: choose another one, or ask its admin.")
                % {**named, "state": channel.get_state_display()},
            )
        elif channel.state == Channel.State.PAUSED:
            yield Missing(
                "matrix",
                _("Channel “%(name)s” is paused: nothing goes out until its admin resumes it.") % named,
                error=False,
            )
        if channel.brand.code != document["brand"]:
            yield Missing("matrix", _("Channel “%(name)s” belongs to another brand.") % named)
        if channel.currency != document["currency"]:
            yield Missing(
                "matrix",
                _("Channel “%(name)s” is priced in %(theirs)s, the campaign's money is %(ours)s.")
                % {**named, "theirs": channel.currency, "ours": document["currency"]},
            )
        if entry["channel"] not in used:
            yield Missing(
                "matrix", _("Channel “%(name)s” has no touches in the matrix.") % named, error=False
            )


def _matrix(document: Mapping[str, Any], channels: Mapping[int, Channel]) -> Iterator[Missing]:
    if document["channels"] and document["phases"] and not document["matrix"]:
        yield Missing("matrix", _("Fill in the matrix: how many touches whom, on which channel."))
    for cell in document["matrix"]:
        phase = document["phases"][cell["phase"]]
        begins, ends = definition.as_moment(phase["starts_at"]), definition.as_moment(phase["ends_at"])
        if begins is None or ends is None or cell["touches"] < 2:
            continue
        length = min(_round_length(document, phase), ends - begins)
        needed = timedelta(hours=(cell["touches"] - 1) * cell["min_gap_hours"])
        if needed >= length:
            channel = channels.get(cell["channel"])
            yield Missing(
                "matrix",
                _(
                    "%(phase)s, %(stage)s, %(channel)s: %(n)d touches %(hours)d h apart do not fit into %(length)d h."
                )
                % {
                    "phase": phase["name"],
                    "stage": Stage(cell["stage"]).label,
                    "channel": channel.name if channel else "",
                    "n": cell["touches"],
                    "hours": cell["min_gap_hours"],
                    "length": length // timedelta(hours=1),
                },
            )


def _round_length(document: Mapping[str, Any], phase: Mapping[str, Any]) -> timedelta:
    own = document.get("cadence") or {}
    if cadence.is_triggered(document):
        return cadence.window(own)
    if cadence.is_recurring(document):
        starts_at = definition.as_moment(document["starts_at"])
        spans = (
            cadence.runs(own | {"times": 1, "until": None}, starts_at, document["zone"]) if starts_at else []
        )
        return spans[0][1] - spans[0][0] if spans else timedelta(days=10**6)
    return timedelta(days=phase["round_days"] or 10**6)


def _platforms(
    document: Mapping[str, Any], channels: Mapping[int, Channel], now: datetime
) -> Iterator[Missing]:
    """Platform rules that concern neither words nor a single person: hours left by the day-parts, smallest audiences.
    Each by the rules of any day of the flight."""
    first, last = flight(document, now)
    chosen = document["segment"]
    segment = Segment.objects.filter(pk=chosen["id"]).first() if chosen else None
    used = {cell["channel"] for cell in document["matrix"] if cell["touches"]}
    for entry in document["channels"]:
        channel = channels.get(entry["channel"])
        if channel is None or entry["channel"] not in used:
            continue
        days = platform_rules.ranges(channel, first, last)
        for rule in _rules_of(channel, "hours", days):
            if not entry["day_parts"] or hours.combine(entry["day_parts"], rule.value) != [hours.NEVER]:
                continue
            yield Missing(
                "matrix",
                _(
                    "The day-parts of “%(channel)s” leave no permitted hour: it may send from %(begins)s "
                    "to %(ends)s (%(source)s)."
                )
                % {
                    "channel": channel.name,
                    "begins": rule.value["from"],
                    "ends": rule.value["to"],
                    "source": said_by(rule.source, rule.valid_from),
                },
            )
        if (
            channel.observability != Observability.PERSON_TARGETED
            or segment is None
            or segment.counted is None
        ):
            continue
        for rule in _rules_of(channel, "smallest_audience", days):
            if segment.counted < int(rule.value):
                yield Missing(
                    "matrix",
                    _(
                        "“%(channel)s” serves no audience below %(n)d people (%(source)s), and the segment has %(has)d."
                    )
                    % {
                        "channel": channel.name,
                        "n": int(rule.value),
                        "source": said_by(rule.source, rule.valid_from),
                        "has": segment.counted,
                    },
                )


def _rules_of(channel: Channel, key: str, days: list[date]) -> list[PlatformRule]:
    """The rows of a key that hold on any of these days, each once."""
    found = [platform_rules.in_force(channel, key, day) for day in days]
    return list({row.pk: row for row in found if row is not None}.values())


def flight(document: Mapping[str, Any], now: datetime) -> tuple[date, date]:
    """The first and last day on which something may still go out, of the campaign's zone; today where no dates are
    given."""
    zone = hours.zone_info(document["zone"])
    starts_at, ends_at = (definition.as_moment(document[name]) for name in ("starts_at", "ends_at"))
    first = max(now, starts_at or now).astimezone(zone).date()
    return first, max(first, ends_at.astimezone(zone).date()) if ends_at else first


def said_by(source: str, since: date | None) -> str:
    """Who says so, and from when it holds."""
    source = rule_sources.in_words(source)
    if since is None:
        return source
    return _("%(source)s, holds from %(day)s") % {"source": source, "day": date_format(since)}


def _money(document: Mapping[str, Any], channels: Mapping[int, Channel]) -> Iterator[Missing]:
    priced = [channel for channel in channels.values() if channel.unit_price]
    if definition.ceiling(document) is None and priced:
        yield Missing(
            "matrix",
            _("No budget is set: it may cost as much as its touches do."),
            error=False,
        )
    total = definition.as_amount(document["budget"])
    parts = [definition.as_amount(entry["budget"]) or Decimal(0) for entry in document["channels"]]
    if total is not None and sum(parts) > total:
        yield Missing(
            "matrix",
            _("The channels' budgets together exceed the campaign's: the smaller one counts."),
            error=False,
        )


def _content(
    document: Mapping[str, Any], channels: Mapping[int, Channel], now: datetime
) -> Iterator[Missing]:
    used = {cell["channel"] for cell in document["matrix"]}
    ids = [entry["message"]["version_id"] for entry in document["channels"] if entry["message"]]
    versions = MessageVersion.objects.select_related("message").in_bulk([pk for pk in ids if pk])
    days = flight(document, now)
    for entry in document["channels"]:
        channel = channels.get(entry["channel"])
        if channel is None or entry["channel"] not in used:
            continue
        if not entry["message"]:
            if channel.medium in content.WITH_WORDS:
                text = _("Choose the message for channel “%(name)s”.") % {"name": channel.name}
                yield Missing("content", text, error=content.needs_words(channel))
            continue
        version = versions.get(entry["message"]["version_id"] or 0)
        if version is None:
            yield Missing("content", _("Message “%(name)s” has no words yet.") % entry["message"])
            continue
        yield from _message(version, version.message, channel, days)


def _message(
    version: MessageVersion, message: Message, channel: Channel, days: tuple[date, date]
) -> Iterator[Missing]:
    if message.archived_at:
        yield Missing(
            "content", _("Message “%(name)s” is archived: choose another one.") % {"name": message.name}
        )
    if message.medium != channel.medium or message.brand_id != channel.brand_id:
        yield Missing(
            "content",
            _("Message “%(message)s” is of another medium or brand than channel “%(channel)s”.")
            % {"message": message.name, "channel": channel.name},
        )
        return
    for problem in content.check(version, channel, *days):
        text = problem.text
        if problem.source:
            text = f"{text} ({said_by(problem.source, problem.since)})"
        yield Missing(
            "content",
            _("“%(message)s” on “%(channel)s”, variant %(variant)s: %(problem)s")
            % {
                "message": message.name,
                "channel": channel.name,
                "variant": problem.variant or "–",
                "problem": text,
            },
            error=problem.error,
        )


def _rules(document: Mapping[str, Any]) -> Iterator[Missing]:
    shares = sum((Decimal(arm["share"]) for arm in document["arms"]), Decimal(0))
    if shares > 1:
        yield Missing("rules", _("The arms' shares sum to more than 100%."))
    if not Decimal(document["holdout_share"]):
        yield Missing("rules", _("Nobody is held out: its lift cannot be measured afterwards."), error=False)
    if document["silence_hours"] is None:
        multiple = sum(1 for cell in document["matrix"] if cell["touches"] > 1)
        if multiple:
            yield Missing(
                "rules",
                _("No silence rule: people who never react get every touch of the matrix."),
                error=False,
            )


def summary(found: list[Missing]) -> str:
    count = len(blocking(found))
    if not count:
        return _("Nothing is missing.")
    return ngettext("%(n)d thing is missing", "%(n)d things are missing", count) % {"n": count}

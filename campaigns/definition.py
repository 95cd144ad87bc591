"""A campaign's definition as one document: what the editor edits, the API speaks and an approval approves.

The document is plain JSON. Moments are ISO 8601 in UTC, amounts are decimal texts with four places. Names
stand beside ids (``{"id": 3, "name": "Members of June"}``), so that an old document can still be read.

    brand, name, kind, cadence (see campaigns.cadence), occasion {id, name, kind, rule, lead_days, segment},
    offer {id, name, kind, value, codes, code, cost, valid_from, valid_to}, goal, segment {id, name, rule},
    starts_at, ends_at, zone, currency, budget, objective, priority, person_cap, holdout_share, joiner_share,
    margin_rate, conversion_value, silence_hours, silent_touches, exit_on [response kind], attribution_days,
    revenue_basis,
    phases   [{id, name, starts_at, ends_at, round_days}]                     in order
    channels [{channel, name, medium, budget, daily_limit, day_parts, silence_hours,
               message {id, name, version, version_id, digest}}]              in order
    matrix   [{phase (index), channel (id), stage, touches, min_gap_hours}]   cells that are not 0
    arms     [{name, share, cap}]

``read`` takes it from the tables and ``write`` puts it there. Rules about what may be submitted are in
:mod:`campaigns.readiness`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from audiences.models import Brand, Segment
from audiences.vocabulary import Stage
from campaigns import cadence, content, occasions
from campaigns.models import (
    Arm,
    Campaign,
    ChannelPlan,
    FrequencyTarget,
    Message,
    Occasion,
    Offer,
    Phase,
)
from campaigns.rounds import spans_in
from channels.models import Channel

Document = dict[str, Any]

PLAIN = (
    "name",
    "kind",
    "cadence",
    "goal",
    "zone",
    "currency",
    "objective",
    "priority",
    "person_cap",
    "silence_hours",
    "silent_touches",
    "exit_on",
    "attribution_days",
    "revenue_basis",
)
AMOUNTS = ("budget", "holdout_share", "joiner_share", "margin_rate", "conversion_value")
MOMENTS = ("starts_at", "ends_at")
PLACES = Decimal("0.0001")


class DefinitionError(ValueError):
    """A document that cannot be a campaign; the text says what to do."""


def amount(value: Decimal | str | int | float | None) -> str | None:
    """``Decimal("12.5")`` → ``"12.5000"``; None stays None."""
    return None if value is None else format(Decimal(str(value)).quantize(PLACES), "f")


def moment(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).isoformat(timespec="seconds")


def as_moment(text: str | None) -> datetime | None:
    """Raises :class:`DefinitionError` for what is no moment with a zone."""
    if text is None:
        return None
    found = parse_datetime(text)
    if found is None or found.tzinfo is None:
        raise DefinitionError(
            _("“%(text)s” is not a moment: write it like 2026-03-01T09:00:00+08:00.") % {"text": text}
        )
    return found


def as_amount(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def read(campaign: Campaign) -> Document:
    """The definition as the tables hold it."""
    document: Document = {"brand": campaign.brand.code}
    document |= {name: getattr(campaign, name) for name in PLAIN}
    document["exit_on"] = sorted(campaign.exit_on)
    document |= {name: amount(getattr(campaign, name)) for name in AMOUNTS}
    document |= {name: moment(getattr(campaign, name)) for name in MOMENTS}
    document["segment"] = segment_entry(campaign.segment)
    document["occasion"] = occasions.entry(campaign.occasion)
    document["offer"] = offer_entry(campaign.offer)
    phases = list(campaign.phases.order_by("position", "id"))
    index = {phase.pk: n for n, phase in enumerate(phases)}
    document["phases"] = [
        {
            "id": phase.pk,
            "name": phase.name,
            "starts_at": moment(phase.starts_at),
            "ends_at": moment(phase.ends_at),
            "round_days": phase.round_days,
        }
        for phase in phases
    ]
    plans = list(campaign.channel_plans.select_related("channel", "message").order_by("position", "id"))
    document["channels"] = [
        {
            **channel_entry(plan.channel),
            "budget": amount(plan.budget),
            "daily_limit": plan.daily_limit,
            "day_parts": plan.day_parts,
            "silence_hours": plan.silence_hours,
            "message": message_entry(plan.message),
        }
        for plan in plans
    ]
    order = {plan.pk: n for n, plan in enumerate(plans)}
    stages = {stage: n for n, stage in enumerate(Stage.values)}
    cells = FrequencyTarget.objects.filter(channel_plan__campaign=campaign, touches__gt=0).select_related(
        "channel_plan"
    )
    document["matrix"] = [
        {
            "phase": index[cell.phase_id],
            "channel": cell.channel_plan.channel_id,
            "stage": cell.stage,
            "touches": cell.touches,
            "min_gap_hours": cell.min_gap_hours,
        }
        for cell in sorted(
            cells, key=lambda cell: (index[cell.phase_id], stages[cell.stage], order[cell.channel_plan_id])
        )
    ]
    document["arms"] = [
        {"name": arm.name, "share": amount(arm.share), "cap": arm.cap} for arm in campaign.arms.order_by("id")
    ]
    return document


def segment_entry(segment: Segment | None) -> Document | None:
    """The rule goes along: a segment that is changed after submission is another audience."""
    return None if segment is None else {"id": segment.pk, "name": segment.name, "rule": segment.rule}


def offer_entry(offer: Offer | None) -> Document | None:
    """The terms go along; its stock does not: what runs out is seen when it has run out."""
    if offer is None:
        return None
    return {
        "id": offer.pk,
        "name": offer.name,
        "kind": offer.kind,
        "value": offer.value,
        "codes": offer.codes,
        "code": offer.code,
        "cost": amount(offer.cost),
        "valid_from": moment(offer.valid_from),
        "valid_to": moment(offer.valid_to),
    }


def channel_entry(channel: Channel) -> Document:
    return {"channel": channel.pk, "name": channel.name, "medium": channel.medium}


def message_entry(message: Message | None, version_id: int | None = None) -> Document | None:
    """A version of a message (the newest, unless told) with a digest of its words."""
    if message is None:
        return None
    version = message.versions.filter(pk=version_id).first() if version_id else None
    version = version or content.newest(message)
    return {
        "id": message.pk,
        "name": message.name,
        "version": version.number if version else None,
        "version_id": version.pk if version else None,
        "digest": content.digest(version) if version else "",
    }


def fingerprint(document: Mapping[str, Any]) -> str:
    """64 hex digits that change when anything changes that an approval or a plan rests on.

    Names and goals are for people: they, and the ids of phases, are left out.
    """
    bare = {key: value for key, value in document.items() if key not in ("name", "goal")}
    for name in ("cadence", "occasion", "offer"):  # documents from before there were any stay what they were
        if not bare.get(name):
            bare.pop(name, None)
    if bare.get("segment"):
        bare["segment"] = {key: bare["segment"].get(key) for key in ("id", "rule")}
    bare["phases"] = [{k: v for k, v in phase.items() if k not in ("id", "name")} for phase in bare["phases"]]
    bare["channels"] = [
        {
            **{k: v for k, v in entry.items() if k not in ("name", "medium", "message")},
            "message": (entry.get("message") or {}).get("digest"),
            "message_version": (entry.get("message") or {}).get("version_id"),
        }
        for entry in bare["channels"]
    ]
    text = json.dumps(bare, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def write(campaign: Campaign, document: Mapping[str, Any]) -> None:
    """Put a document into the tables, so that ``read`` gives it back.

    Phases are matched by id (those without one are new), channel plans by channel. A phase that has rounds
    was approved and cannot be left out. Raises :class:`DefinitionError`.
    """
    with transaction.atomic():
        _write_campaign(campaign, document)
        phases = _write_phases(campaign, document["phases"])
        plans = _write_channels(campaign, document["channels"])
        _write_matrix(campaign, document["matrix"], phases, plans)
        _write_arms(campaign, document["arms"])


def _write_campaign(campaign: Campaign, document: Mapping[str, Any]) -> None:
    brand = Brand.objects.filter(code=document["brand"]).first()
    if brand is None:
        raise DefinitionError(_("There is no brand “%(code)s”.") % {"code": document["brand"]})
    segment = None
    if document.get("segment"):
        segment = Segment.objects.filter(pk=document["segment"]["id"]).first()
        if segment is None:
            raise DefinitionError(_("There is no segment %(id)s.") % {"id": document["segment"]["id"]})
    campaign.brand, campaign.segment = brand, segment
    campaign.occasion = _referred(Occasion, document.get("occasion"), _("There is no occasion %(id)s."))
    campaign.offer = _referred(Offer, document.get("offer"), _("There is no offer %(id)s."))
    document = {"cadence": {}, **document}
    for name in PLAIN:
        setattr(campaign, name, document[name])
    for name in AMOUNTS:
        setattr(campaign, name, as_amount(document[name]))
    for name in MOMENTS:
        setattr(campaign, name, as_moment(document[name]))
    if campaign.starts_at and campaign.ends_at and campaign.ends_at <= campaign.starts_at:
        raise DefinitionError(_("The campaign must end after it starts."))
    campaign.save()


def _referred(model: Any, entry: Mapping[str, Any] | None, missing: str) -> Any:
    if not entry:
        return None
    found = model.objects.filter(pk=entry["id"]).first()
    if found is None:
        raise DefinitionError(missing % {"id": entry["id"]})
    return found


def _write_phases(campaign: Campaign, entries: Sequence[Mapping[str, Any]]) -> list[Phase]:
    known = {phase.pk: phase for phase in campaign.phases.all()}
    kept = {entry["id"] for entry in entries if entry.get("id") in known}
    for pk, phase in known.items():
        if pk in kept:
            continue
        if phase.rounds.exists():
            raise DefinitionError(
                _("Phase “%(name)s” was approved and cannot be removed; end it earlier instead.")
                % {"name": phase.name}
            )
        phase.delete()
    # Positions are unique at once: move what stays out of the way first.
    for pk in kept:
        campaign.phases.filter(pk=pk).update(position=-known[pk].position - 1)
    written = []
    for position, entry in enumerate(entries):
        starts_at, ends_at = as_moment(entry["starts_at"]), as_moment(entry["ends_at"])
        if starts_at is None or ends_at is None or ends_at <= starts_at:
            raise DefinitionError(_("Phase “%(name)s” must end after it starts.") % {"name": entry["name"]})
        phase = known[entry["id"]] if entry.get("id") in kept else Phase(campaign=campaign)
        phase.position, phase.name = position, entry["name"]
        phase.starts_at, phase.ends_at, phase.round_days = starts_at, ends_at, entry.get("round_days")
        phase.save()
        written.append(phase)
    return written


def _write_channels(campaign: Campaign, entries: Sequence[Mapping[str, Any]]) -> dict[int, ChannelPlan]:
    wanted = [entry["channel"] for entry in entries]
    if len(set(wanted)) != len(wanted):
        raise DefinitionError(_("A channel stands in the campaign twice."))
    channels = Channel.objects.in_bulk(wanted)
    known = {plan.channel_id: plan for plan in campaign.channel_plans.all()}
    for channel_id, plan in known.items():
        if channel_id not in wanted:
            plan.delete()
    written = {}
    for position, entry in enumerate(entries):
        if entry["channel"] not in channels:
            raise DefinitionError(_("There is no channel %(id)s.") % {"id": entry["channel"]})
        message = (entry.get("message") or {}).get("id")
        if message is not None and not Message.objects.filter(pk=message).exists():
            raise DefinitionError(_("There is no message %(id)s.") % {"id": message})
        plan = known.get(entry["channel"]) or ChannelPlan(
            campaign=campaign, channel=channels[entry["channel"]]
        )
        plan.position = position
        plan.budget = as_amount(entry.get("budget"))
        plan.daily_limit = entry.get("daily_limit")
        plan.day_parts = entry.get("day_parts") or []
        plan.silence_hours = entry.get("silence_hours")
        plan.message_id = message
        plan.save()
        written[plan.channel_id] = plan
    return written


def _write_matrix(
    campaign: Campaign,
    cells: Sequence[Mapping[str, Any]],
    phases: Sequence[Phase],
    plans: Mapping[int, ChannelPlan],
) -> None:
    targets = []
    for cell in cells:
        if not 0 <= cell["phase"] < len(phases) or cell["channel"] not in plans:
            raise DefinitionError(_("The matrix names a phase or a channel that the campaign does not have."))
        if cell["touches"]:
            targets.append(
                FrequencyTarget(
                    channel_plan=plans[cell["channel"]],
                    phase=phases[cell["phase"]],
                    stage=cell["stage"],
                    touches=cell["touches"],
                    min_gap_hours=cell["min_gap_hours"],
                )
            )
    FrequencyTarget.objects.filter(channel_plan__campaign=campaign).delete()
    FrequencyTarget.objects.bulk_create(targets)


def _write_arms(campaign: Campaign, entries: Sequence[Mapping[str, Any]]) -> None:
    names = [entry["name"] for entry in entries]
    if len(set(names)) != len(names):
        raise DefinitionError(_("Two arms have the same name."))
    known = {arm.name: arm for arm in campaign.arms.all()}
    campaign.arms.exclude(name__in=names).delete()
    for entry in entries:
        arm = known.get(entry["name"]) or Arm(campaign=campaign, name=entry["name"])
        arm.share, arm.cap = as_amount(entry["share"]) or Decimal(0), entry.get("cap")
        arm.save()


def blank(name: str, brand: Brand, *, currency: str, zone: str) -> Document:
    """A new campaign before anything is known but its name."""
    fresh = Campaign(name=name, brand=brand, currency=currency, zone=zone)
    document: Document = {"brand": brand.code, "segment": None, "occasion": None, "offer": None}
    document |= {field: getattr(fresh, field) for field in PLAIN}
    document |= {field: amount(getattr(fresh, field)) for field in AMOUNTS}
    return document | {
        "starts_at": None,
        "ends_at": None,
        "phases": [],
        "channels": [],
        "matrix": [],
        "arms": [],
    }


def seed_of(campaign_id: int) -> int:
    """A number below 2⁶² that nobody can choose, since it hangs on the installation's key."""
    keyed = hashlib.sha256(f"seed {campaign_id} {settings.HASH_KEY}".encode()).digest()
    return int.from_bytes(keyed[:8], "big") >> 2


def with_flight(document: Document, starts_at: datetime | None, ends_at: datetime | None) -> Document:
    """Move the flight. The first phase starts and the last one ends with it; those in between stay."""
    changed = document | {"starts_at": moment(starts_at), "ends_at": moment(ends_at)}
    if starts_at is None or ends_at is None or ends_at <= starts_at:
        return changed
    phases = [dict(phase) for phase in document["phases"]]
    if not phases:
        phases = [{"id": None, "name": _("Phase 1"), "starts_at": None, "ends_at": None, "round_days": None}]
    phases[0]["starts_at"] = moment(starts_at)
    phases[-1]["ends_at"] = moment(ends_at)
    return changed | {"phases": phases}


def with_runs(document: Document) -> Document:
    """Of a recurring campaign: the end that follows from its runs. Of others: the document as it is."""
    starts_at = as_moment(document["starts_at"])
    if starts_at is None or not cadence.is_recurring(document):
        return document
    own = document["cadence"]
    if not own.get("times") and not own.get("until"):
        return document
    return with_flight(document, starts_at, cadence.ends(own, starts_at, document["zone"]))


def rounds_of(phase: Mapping[str, Any], document: Mapping[str, Any]) -> int:
    """How many rounds a phase has: one, as many windows or runs as begin in it, or times it opens for a person."""
    starts_at, ends_at = as_moment(phase["starts_at"]), as_moment(phase["ends_at"])
    if starts_at is None or ends_at is None:
        return 1
    begin = as_moment(document["starts_at"])
    return len(spans_in(document, starts_at, ends_at, phase.get("round_days"), begin))


def ceiling(document: Mapping[str, Any]) -> Decimal | None:
    """The most it may spend: its budget, or the sum of its channels' budgets; None: unlimited."""
    if document["budget"] is not None:
        return as_amount(document["budget"])
    budgets = [as_amount(entry.get("budget")) for entry in document["channels"]]
    return None if None in budgets or not budgets else sum((b for b in budgets if b is not None), Decimal(0))

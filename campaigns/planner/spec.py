"""What is to be planned: channels, rounds and targets, read from a campaign's definition.

A *cell* is a channel in a round; it is the column of every array of people × cells. Touches of a cell have
ordinals 1…n, with n by the person's stage.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import numpy as np
from django.utils.translation import gettext as _

from audiences.models import Segment
from audiences.vocabulary import Purpose, Stage
from campaigns import cadence as cadences
from campaigns import content, definition, rounds
from campaigns.models import Campaign, Round
from campaigns.planner.errors import PlanError
from campaigns.queries.plan import Approved, Committed, Place
from campaigns.rounds import RoundSpan
from channels.models import Channel
from channels.vocabulary import Guarantee, Observability

STAGES: tuple[str, ...] = tuple(Stage.values)
MOST_CELLS = 400  # channels × rounds; more would be a year of daily rounds over several channels


@dataclass(frozen=True, slots=True)
class PlannedChannel:
    """A channel of the campaign, as the planner sees it. Money in the campaign's currency."""

    id: int
    name: str
    medium: str
    brand_id: int
    channel: Channel
    purpose: str  # of the consent it needs
    stopped: bool
    wants_words: bool
    message_version_id: int | None
    budget: Decimal | None
    daily_limit: int | None  # of this campaign
    day_parts: Sequence[Mapping[str, Any]]
    silence_hours: int | None
    sees_reactions: bool  # silence can be judged


@dataclass(frozen=True, slots=True)
class Cell:
    """A channel (by index) in a round, with the targets and gaps of the stages (by index in STAGES)."""

    channel: int
    round: int
    phase: int
    starts_at: dt.datetime
    ends_at: dt.datetime
    touches: tuple[int, ...]
    gap_hours: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PlannedArm:
    name: str
    share: float
    cap: int | None


@dataclass(frozen=True, slots=True)
class Spec:
    """A campaign to plan. ``document`` is the definition it was read from."""

    campaign: Campaign
    document: Mapping[str, Any]
    segment: Segment
    now: dt.datetime
    channels: tuple[PlannedChannel, ...]
    cells: tuple[Cell, ...]
    arms: tuple[PlannedArm, ...]
    budget: Decimal | None
    person_cap: int | None
    holdout_share: float
    objective: str
    margin_rate: float
    conversion_value: float
    silence_hours: int | None
    silent_touches: int
    seed: int
    currency: str
    ends_at: dt.datetime
    targets: np.ndarray = field(repr=False)  # stages × cells, int16

    @property
    def begins(self) -> dt.datetime:
        """When the first touch may be due."""
        return max(self.now, min((cell.starts_at for cell in self.cells), default=self.now))

    def approved(self) -> list[Approved]:
        """How many touches of each channel, round and stage there may be."""
        rounds_of_cells: dict[int, list[int]] = {}
        if cadences.is_triggered(self.document):  # planned for one time, and the others hold their money too
            known = [span.number for span in round_spans(self.campaign, self.document)]
            rounds_of_cells = {cell.round: known for cell in self.cells}
        return [
            Approved(self.channels[cell.channel].id, number, stage, n)
            for cell in self.cells
            for number in rounds_of_cells.get(cell.round, [cell.round])
            for stage, n in zip(STAGES, cell.touches, strict=True)
            if n
        ]

    def starts(self, cell: Cell) -> dt.datetime:
        return max(self.now, cell.starts_at)


def read(
    campaign: Campaign,
    now: dt.datetime,
    document: Mapping[str, Any] | None = None,
    window: "Window | None" = None,
) -> Spec:
    """The spec of a campaign, or of another definition of it; of a triggered one as it opens for some people.

    Raises :class:`PlanError`.
    """
    document = definition.read(campaign) if document is None else document
    if not document["segment"]:
        raise PlanError(_("Choose whom the campaign is for: it has no segment."))
    segment = Segment.objects.filter(pk=document["segment"]["id"]).first()
    if segment is None:
        raise PlanError(_("The campaign's segment no longer exists: choose another one."))
    channels = _channels(campaign, document)
    cells = _cells(campaign, document, channels, window)
    ends_at = definition.as_moment(document["ends_at"])
    if ends_at is None:
        raise PlanError(_("Say when the campaign starts and when it ends."))
    targets = np.array([cell.touches for cell in cells], dtype=np.int16).reshape(len(cells), len(STAGES)).T
    return Spec(
        campaign=campaign,
        document=document,
        segment=segment,
        now=now,
        channels=channels,
        cells=cells,
        arms=tuple(PlannedArm(arm["name"], float(arm["share"]), arm["cap"]) for arm in document["arms"]),
        budget=definition.as_amount(document["budget"]),
        person_cap=document["person_cap"],
        holdout_share=float(document["holdout_share"]),
        objective=document["objective"],
        margin_rate=float(document["margin_rate"]),
        conversion_value=float(document["conversion_value"]),
        silence_hours=document["silence_hours"],
        silent_touches=max(1, document["silent_touches"] or 1),
        seed=campaign.seed,
        currency=document["currency"],
        ends_at=ends_at,
        targets=np.ascontiguousarray(targets),
    )


def less_committed(spec: Spec, committed: Mapping[Place, Committed]) -> Spec:
    """The spec with what is left of its budgets. ``committed`` is spent or held, by channel, round and stage."""
    of_channel: dict[int, Decimal] = {}
    for (channel_id, _round, _stage), kept in committed.items():
        of_channel[channel_id] = of_channel.get(channel_id, Decimal(0)) + kept.money

    def left(budget: Decimal | None, taken: Decimal) -> Decimal | None:
        return None if budget is None else max(Decimal(0), budget - taken)

    return _with_budgets(
        spec,
        left(spec.budget, sum(of_channel.values(), Decimal(0))),
        [left(channel.budget, of_channel.get(channel.id, Decimal(0))) for channel in spec.channels],
    )


def less_joiners(spec: Spec) -> Spec:
    """The spec without the share of each budget that is kept for those who join late, to the 0.0001."""
    kept = Decimal(spec.document.get("joiner_share") or 0)

    def left(budget: Decimal | None) -> Decimal | None:
        return None if budget is None else (budget * (1 - kept)).quantize(definition.PLACES)

    return _with_budgets(spec, left(spec.budget), [left(channel.budget) for channel in spec.channels])


def _with_budgets(spec: Spec, budget: Decimal | None, of_channels: Sequence[Decimal | None]) -> Spec:
    channels = (replace(channel, budget=own) for channel, own in zip(spec.channels, of_channels, strict=True))
    return replace(spec, budget=budget, channels=tuple(channels))


def _channels(campaign: Campaign, document: Mapping[str, Any]) -> tuple[PlannedChannel, ...]:
    """The channels that reach persons: a placement (a keyword, a KOL's post) has no person-level touches."""
    used = {cell["channel"] for cell in document["matrix"] if cell["touches"]}
    known = Channel.objects.select_related("brand").in_bulk(used)
    found = []
    for entry in document["channels"]:
        channel = known.get(entry["channel"])
        if channel is None or channel.observability == Observability.PLACEMENT:
            continue
        if channel.currency != document["currency"] and channel.unit_price:
            raise PlanError(
                _(
                    "Channel “%(name)s” is priced in %(theirs)s, the campaign's money is %(ours)s: let both be the same."
                )
                % {"name": channel.name, "theirs": channel.currency, "ours": document["currency"]}
            )
        pushed = channel.observability == Observability.PERSON_TARGETED
        message = entry.get("message") or {}
        found.append(
            PlannedChannel(
                id=channel.pk,
                name=channel.name,
                medium=channel.medium,
                brand_id=channel.brand_id,
                channel=channel,
                purpose=Purpose.UPLOAD if pushed else Purpose.CONTACT,
                # What is only paused is planned: it waits, and goes once it is resumed.
                stopped=channel.state in (Channel.State.STOPPED, Channel.State.ARCHIVED),
                wants_words=channel.medium in content.WITH_WORDS and channel.adapter != "manual",
                message_version_id=message.get("version_id"),
                budget=definition.as_amount(entry["budget"]),
                daily_limit=entry["daily_limit"],
                day_parts=entry["day_parts"] or [],
                silence_hours=entry["silence_hours"] or document["silence_hours"],
                sees_reactions=not pushed and channel.guarantee != Guarantee.AGGREGATE,
            )
        )
    return tuple(found)


def _cells(
    campaign: Campaign,
    document: Mapping[str, Any],
    channels: Sequence[PlannedChannel],
    window: "Window | None",
) -> tuple[Cell, ...]:
    spans = round_spans(campaign, document)
    if cadences.is_triggered(document):
        spans = _opened(spans, window)
    if not spans:
        raise PlanError(_("Add a phase: the matrix says how often whom to contact in it."))
    matrix: dict[tuple[int, int], dict[str, tuple[int, int]]] = {}
    for entry in document["matrix"]:
        row = matrix.setdefault((entry["phase"], entry["channel"]), {})
        row[entry["stage"]] = (entry["touches"], entry["min_gap_hours"])
    found = []
    for span in sorted(spans, key=lambda span: (span.starts_at, span.number)):
        for index, channel in enumerate(channels):
            row = matrix.get((span.phase, channel.id), {})
            touches = tuple(row.get(stage, (0, 0))[0] for stage in STAGES)
            if any(touches):
                gaps = tuple(row.get(stage, (0, 0))[1] for stage in STAGES)
                found.append(
                    Cell(index, span.number, span.phase, span.starts_at, span.ends_at, touches, gaps)
                )
    if len(found) > MOST_CELLS:
        raise PlanError(
            _(
                "The matrix has %(n)d rounds × channels, and %(most)d can be planned at once: make the rounds longer."
            )
            % {"n": len(found), "most": MOST_CELLS}
        )
    return tuple(found)


def round_spans(campaign: Campaign, document: Mapping[str, Any]) -> list[RoundSpan]:
    """The rounds of a definition under the numbers they have, or will have once it is approved."""
    phases = []
    for phase in document["phases"]:
        begins, ends = definition.as_moment(phase["starts_at"]), definition.as_moment(phase["ends_at"])
        if begins is None or ends is None:
            raise PlanError(_("Phase “%(name)s” has no dates yet.") % {"name": phase["name"]})
        flight = definition.as_moment(document["starts_at"])
        phases.append((phase.get("id"), rounds.spans_in(document, begins, ends, phase["round_days"], flight)))
    known = Round.objects.filter(campaign=campaign).values_list("phase_id", "number")
    return rounds.number(phases, known)


@dataclass(frozen=True, slots=True)
class Window:
    """A triggered campaign open for some people: for the n-th time, half open in time."""

    turn: int  # from 1
    starts_at: dt.datetime
    ends_at: dt.datetime


def _opened(spans: Sequence[RoundSpan], window: Window | None) -> list[RoundSpan]:
    """The one round a triggered campaign is planned for: the first one over the whole flight, or a window's."""
    if not spans:
        return []
    if window is None:
        return [spans[0]]
    if window.turn > len(spans):
        return []
    own = spans[window.turn - 1]
    return [replace(own, starts_at=window.starts_at, ends_at=min(window.ends_at, own.ends_at))]

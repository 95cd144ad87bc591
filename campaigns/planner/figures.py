"""A plan's figures: what is stored of an outcome, whole and by round, channel and stage."""

from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from campaigns.models import Plan, PlanCell
from campaigns.planner.causes import CODE, NAMES
from campaigns.planner.spec import STAGES
from campaigns.planner.work import Outcome

Touches = NDArray[Any]


def values(outcome: Outcome) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each touch: the chance that it is sent, and the conversions expected of it (a person's worth in it)."""
    placed, people, model = outcome.schedule, outcome.people, outcome.model
    channel = np.array([cell.channel for cell in outcome.spec.cells], dtype=np.int64)[placed.cell]
    stage = people.stage[placed.person].astype(np.int64)
    ordinal = np.minimum(placed.ordinal, model.going.shape[2]) - 1
    going = model.going[channel, stage, ordinal]
    return going, going * model.conversion[channel, stage, ordinal] * people.worth()[placed.person]


def fill(plan: Plan, outcome: Outcome) -> list[PlanCell]:
    """Put an outcome's figures into a plan; its cells, not yet saved."""
    spec, people, placed, wanted = outcome.spec, outcome.people, outcome.schedule, outcome.targets
    going, conversions = values(outcome)
    channel = np.array([cell.channel for cell in spec.cells], dtype=np.int64)
    greatest = (
        np.array([float(cost.greatest) for cost in outcome.costs])[channel] if len(channel) else np.zeros(0)
    )
    expected = (
        np.array([float(cost.expected) for cost in outcome.costs])[channel] if len(channel) else np.zeros(0)
    )
    revenue = conversions * spec.conversion_value
    worth = revenue * spec.margin_rate - going * expected[placed.cell]

    plan.audience = len(people)
    plan.held_out = int(people.held_out.sum())
    plan.target = int(wanted.target.sum(dtype=np.int64))
    plan.touches = int(outcome.planned.sum(dtype=np.int64))
    plan.reach = int((outcome.planned.sum(axis=1, dtype=np.int64) > 0).sum())
    has_target = wanted.target.sum(axis=1, dtype=np.int64) > 0
    plan.full_reach = int((has_target & (outcome.planned >= wanted.target).all(axis=1)).sum())
    plan.expected_cost = _money(float((going * expected[placed.cell]).sum()))
    plan.greatest_cost = _money(float(greatest[placed.cell].sum()))
    gone = sum((kept.money for kept in outcome.committed.values()), Decimal(0))
    plan.expected_cost, plan.greatest_cost = plan.expected_cost + gone, plan.greatest_cost + gone
    plan.expected_revenue = _money(float(revenue.sum()))
    plan.gaps = _gaps(wanted.target.astype(np.int64) - outcome.planned, outcome.cause)

    plan.before = _before(outcome)

    cells = []
    stage_of = people.stage[placed.person]
    day_of = outcome.calendar.day_of(placed.due) if len(placed) else np.zeros(0, dtype=np.int64)
    for column, cell in enumerate(spec.cells):
        own = placed.cell == column
        for stage, name in enumerate(STAGES):
            of_stage = (people.stage == stage) & ~people.held_out
            if not cell.touches[stage] or not of_stage.any():
                continue
            mine = own & (stage_of == stage)
            planned = outcome.planned[of_stage, column]
            target = wanted.target[of_stage, column]
            days, counts = np.unique(day_of[mine], return_counts=True)
            place = (spec.channels[cell.channel].id, cell.round, name)
            before = outcome.committed[place].money if place in outcome.committed else Decimal(0)
            cells.append(
                PlanCell(
                    plan=plan,
                    round=cell.round,
                    channel_id=spec.channels[cell.channel].id,
                    stage=name,
                    people=int(of_stage.sum()),
                    eligible=int((wanted.possible[of_stage, column] > 0).sum()),
                    reach=int((planned > 0).sum()),
                    target=int(target.sum(dtype=np.int64)),
                    touches=int(planned.sum(dtype=np.int64)),
                    expected_cost=before + _money(float(going[mine].sum() * expected[column])),
                    greatest_cost=before + _money(float(mine.sum() * greatest[column])),
                    value=float(worth[mine].sum()),
                    gaps=_gaps(target.astype(np.int64) - planned, outcome.cause[of_stage, column]),
                    day_touches={
                        outcome.calendar.days[int(day)].isoformat(): int(count)
                        for day, count in zip(days, counts, strict=True)
                    },
                )
            )
    return cells


def _before(outcome: Outcome) -> dict[str, dict[str, Any]]:
    """What members have before a change, by channel; and what stays of rounds and channels that it takes out."""
    channels = outcome.spec.channels
    planned = {(channels[cell.channel].id, cell.round) for cell in outcome.spec.cells}
    found: dict[str, dict[str, Any]] = {}
    for channel_id, one in sorted(outcome.standing.items()):
        left = [
            kept
            for (channel, round_, _stage), kept in outcome.committed.items()
            if channel == channel_id and (channel, round_) not in planned
        ]
        found[str(channel_id)] = {
            "target": one.target,
            "touches": one.touches,
            "cost": str(one.cost),
            "stays": sum(kept.touches for kept in left),
            "stays_cost": str(sum((kept.money for kept in left), Decimal(0))),
        }
    return found


def _gaps(short: NDArray[np.int64], cause: NDArray[np.uint8]) -> dict[str, int]:
    """Cause → touches short."""
    counts = np.bincount(cause.ravel(), weights=short.ravel(), minlength=len(CODE))
    return {str(NAMES[code]): int(counts[code]) for code in range(1, len(NAMES)) if counts[code]}


def _money(value: float) -> Decimal:
    return Decimal(repr(round(value, 4)))

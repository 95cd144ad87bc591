"""Who gets how many touches of which cell, within budgets, caps and capacities."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from campaigns.planner.calendar import Calendar
from campaigns.planner.causes import CODE
from campaigns.planner.cost import TouchCost
from campaigns.planner.limits import Contacts, Limit
from campaigns.planner.people import People
from campaigns.planner.response_model import ResponseModel
from campaigns.planner.spec import Spec
from campaigns.planner.targets import Targets
from campaigns.vocabulary import Cause


@dataclass(frozen=True, slots=True)
class Choice:
    """People × cells of touches to place, and why a possible one was not chosen."""

    counts: NDArray[np.uint8]
    cause: NDArray[np.uint8]
    method: str
    value: float = 0.0
    bound: float | None = None
    gap: float | None = None
    prices: list[dict[str, Any]] = field(default_factory=list)


def choose(
    spec: Spec,
    people: People,
    targets: Targets,
    calendar: Calendar,
    costs: Sequence[TouchCost],
    model: ResponseModel,
    limits: Sequence[Limit],
    contacts: Contacts,
) -> Choice:
    """People in the order of their stable rank get all they may, as long as the money lasts."""
    counts = targets.possible.copy()
    cause = np.zeros(counts.shape, dtype=np.uint8)
    if spec.person_cap is not None:
        left = np.full(len(people), spec.person_cap, dtype=np.int64)
        kept = np.zeros(counts.shape, dtype=np.uint8)
        for ordinal in range(1, int(counts.max(initial=0)) + 1):
            for cell in range(counts.shape[1]):
                gets = (counts[:, cell] >= ordinal) & (left > 0)
                kept[gets, cell] += 1
                left[gets] -= 1
        cause[kept < counts] = CODE[Cause.CAP]
        counts = kept
    channel = np.array([cell.channel for cell in spec.cells], dtype=np.int64)
    price = np.array([float(costs[c].greatest) for c in channel])
    order = np.argsort(people.rank, kind="stable")
    limits_of = [(np.flatnonzero(channel == n), one.budget) for n, one in enumerate(spec.channels)]
    limits_of.append((np.arange(len(channel)), spec.budget))
    for cells, budget in limits_of:
        if budget is None:
            continue
        spent = np.cumsum((counts[:, cells] @ price[cells])[order])
        out = order[spent > float(budget) + 1e-9]
        costly = cells[price[cells] > 0]
        rows = np.ix_(out, costly)
        cause[rows] = np.where(counts[rows] > 0, CODE[Cause.BUDGET], cause[rows])
        counts[rows] = 0
    return Choice(counts, cause, "by rank")

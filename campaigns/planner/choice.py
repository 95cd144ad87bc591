"""Who gets how many touches of which cell: the certified answer to one of two objectives.

*Most value*: the expected margin less the expected cost of all touches is greatest. *Coverage first*: as many
people as possible get their full target before anybody gets a part of it; what is then left goes where it is
worth most.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from campaigns.models import Campaign
from campaigns.planner import problem, recover, solve
from campaigns.planner.calendar import Calendar
from campaigns.planner.causes import CODE
from campaigns.planner.cost import TouchCost
from campaigns.planner.given import Given
from campaigns.planner.instance import Counts, Floats, Instance
from campaigns.planner.limits import Contacts, Limit
from campaigns.planner.people import People
from campaigns.planner.problem import Modelled
from campaigns.planner.recover import Crowd
from campaigns.planner.response_model import ResponseModel
from campaigns.planner.solve import AllOrNothing, ByTouch, Solution
from campaigns.planner.spec import Spec
from campaigns.planner.targets import Targets
from campaigns.vocabulary import Cause

# Of equally many people fully reached the plan that is worth more wins; never at the price of a person.
TIE = 1e-4


@dataclass(frozen=True, slots=True)
class Phase:
    """One optimisation: what was maximised, its prices and bound, and whom it was for (by row)."""

    of: str  # people, or value
    problem: ByTouch | AllOrNothing
    solution: Solution
    fixed: float = 0.0  # value decided before, which the bound includes


@dataclass(frozen=True, slots=True)
class Choice:
    """People × cells of touches to place, and why a possible one was not chosen."""

    counts: Counts
    cause: NDArray[np.uint8]
    modelled: Modelled
    phases: tuple[Phase, ...] = field(default_factory=tuple)
    whole: Counts | None = None  # rows × cells: the full target, in coverage

    @property
    def method(self) -> str:
        return "column generation, certified"


def choose(
    spec: Spec,
    people: People,
    targets: Targets,
    calendar: Calendar,
    costs: Sequence[TouchCost],
    model: ResponseModel,
    limits: Sequence[Limit],
    contacts: Contacts,
    given: Given,
) -> Choice:
    """The choice for a campaign's objective."""
    modelled = problem.build(spec, people, targets, calendar, costs, model, limits, contacts, given)
    everybody = recover.crowd(modelled.row, people.rank, modelled.instance.rows)
    if spec.objective == Campaign.Objective.COVERAGE:
        return _most_people(modelled, everybody, targets, given)
    return _most_value(modelled, everybody)


def _most_value(modelled: Modelled, everybody: Crowd) -> Choice:
    by_touch = ByTouch(modelled.instance)
    solution = solve.solve(by_touch)
    counts = recover.recover(by_touch, solution, everybody)
    return Choice(
        counts,
        _causes(modelled.instance, modelled, solution.prices, everybody, counts),
        modelled,
        (Phase("value", by_touch, solution),),
    )


def _most_people(modelled: Modelled, everybody: Crowd, targets: Targets, given: Given) -> Choice:
    # Whatever can be had is wanted here: what a touch costs counts in the budgets, not in its worth.
    instance = replace(modelled.instance, loss=np.zeros_like(modelled.instance.loss))
    whole = recover.best_within_groups(instance)
    complete = np.zeros(instance.rows, dtype=bool)
    complete[modelled.row] = targets.within_reach(given)
    complete &= whole.any(axis=1) & ~_held_back(instance)
    worth = _value_of(instance, whole)
    value = np.where(complete, 1.0 + TIE * worth / max(1e-12, float(worth.max(initial=0.0))), 0.0)
    first = AllOrNothing(instance, np.where(complete[:, None], whole, 0).astype(np.uint8), value)
    covered = solve.solve(first)
    counts = recover.recover(first, covered, everybody)

    reached = counts.any(axis=1)
    left = instance.amount - instance.used(counts)
    rest = np.flatnonzero(~reached)
    rows, row = np.unique(everybody.row[rest], return_inverse=True)
    second = ByTouch(
        replace(instance.take(rows), n=np.bincount(row, minlength=len(rows)), amount=np.maximum(0.0, left))
    )
    parts = solve.solve(second)
    others = Crowd(row.reshape(-1), everybody.place[rest])
    more = recover.recover(second, parts, others)
    counts[rest] = more
    # Those who are reached lack only what the campaign's own cap takes from everybody.
    cause = np.where(counts < targets.possible, CODE[Cause.CAP], 0).astype(np.uint8)
    cause[rest] = _causes(second.instance, modelled, parts.prices, others, more)
    return Choice(
        counts,
        cause,
        modelled,
        (Phase("people", first, covered), Phase("value", second, parts)),
        whole=whole,
    )


def _held_back(instance: Instance) -> NDArray[np.bool_]:
    """Rows whose contact policy or quota takes part of the target away; the campaign's own cap does not."""
    found = np.zeros(instance.rows, dtype=bool)
    for group in instance.groups:
        if group.cause != CODE[Cause.CAP]:
            found |= instance.possible[:, group.cells].sum(axis=1, dtype=np.int64) > group.cap
    return found


def _value_of(instance: Instance, counts: Counts) -> Floats:
    """What counts are worth, by row."""
    found = np.zeros(instance.rows)
    for rows in instance.blocks():
        held = counts[rows][:, instance.cell] >= instance.ordinal[None, :]
        found[rows] = np.where(held, instance.values(rows), 0.0).sum(axis=1)
    return found


def _causes(
    instance: Instance, modelled: Modelled, prices: Floats, people: Crowd, counts: Counts
) -> NDArray[np.uint8]:
    """People × cells: why the next possible touch of a cell was not chosen; 0 where there is none."""
    found = np.zeros(counts.shape, dtype=np.uint8)
    free = instance.amount - instance.used(counts)
    by_limit = prices[:, None] * instance.usage  # limits × items
    budget = np.array([one.kind == "budget" for one in modelled.resources], dtype=bool)
    short = free[:, None] < instance.usage - recover.SLACK  # limits × items: there is no room for one more
    for item in range(len(instance.cell)):
        cell, ordinal = int(instance.cell[item]), int(instance.ordinal[item])
        possible = instance.possible[people.row, cell]
        next_ = np.flatnonzero((counts[:, cell] == ordinal - 1) & (possible >= ordinal))
        if len(next_) == 0:
            continue
        rows = people.row[next_]
        kind = instance.kind[rows]
        value = instance.worth[rows] * instance.gain[kind, item] - instance.loss[kind, item]
        money, places = by_limit[budget, item].sum(), by_limit[~budget, item].sum()
        if money == places == 0:
            money, places = float(short[budget, item].any()), float(short[~budget, item].any())
        cause = np.full(len(next_), CODE[Cause.CAPACITY if places > money else Cause.BUDGET], dtype=np.uint8)
        if money == places == 0:
            cause[:] = CODE[Cause.PRICE]
        cause[value <= 0] = CODE[Cause.PRICE]
        for group in instance.groups:
            if group.cells[cell]:
                full = counts[next_][:, group.cells].sum(axis=1, dtype=np.int64) >= group.cap[rows]
                cause[full & (value > 0)] = group.cause
        found[next_, cell] = cause
    return found


def bounds(choice: Choice, planned: Counts) -> list[dict[str, Any]]:
    """The certificates: bound, value of what is planned in the end, and the gap between them."""
    found = []
    row = choice.modelled.row
    for phase in choice.phases:
        bound = phase.solution.bound
        if isinstance(phase.problem, AllOrNothing):
            whole = phase.problem.whole[row]
            reached = np.flatnonzero(whole.any(axis=1) & (planned >= whole).all(axis=1))
            value = float(phase.problem.value[row[reached]].sum())
        else:
            instance = choice.modelled.instance
            if len(choice.phases) > 1:
                instance = replace(instance, loss=np.zeros_like(instance.loss))
            rest = _rest(choice, row)
            value = instance.worths(
                instance.kind[row[rest]].astype(np.int64), instance.worth[row[rest]], planned[rest]
            )
        gap = 0.0 if bound <= 0 else max(0.0, (bound - value) / bound)
        found.append({"of": phase.of, "bound": bound, "value": value, "gap": gap})
    return found


def _rest(choice: Choice, row: NDArray[np.int64]) -> NDArray[np.int64]:
    """People the last phase was for."""
    first = choice.phases[0].problem
    if isinstance(first, AllOrNothing):
        whole = first.whole[row]
        return np.flatnonzero(~(whole.any(axis=1) & (choice.counts >= whole).all(axis=1)))
    return np.arange(len(row))

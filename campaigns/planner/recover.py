"""From prices and a mixture to a plan that keeps every limit exactly.

Each person takes the answer in whose share its stable rank among people of its kind falls; what is then over a
limit is dropped, least worth first, and what is left free is filled with the best that fits. Ordinals stay
without holes throughout.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from campaigns.planner.instance import Counts, Floats, Instance, select
from campaigns.planner.solve import AllOrNothing, Problem, Solution

Rows = NDArray[np.int64]
SLACK = 1e-14  # relative: rounding only. Budgets are counted in millionths, which floats add up exactly
LOOKS = 200  # how often a touch that does not fit is passed over to try those behind it


@dataclass(frozen=True, slots=True)
class Crowd:
    """People behind the rows of an instance: ``row[i]`` of each, and ``place`` in [0, 1) among its kind."""

    row: Rows
    place: Floats

    def __len__(self) -> int:
        return len(self.row)


def crowd(row: Rows, rank: Floats, rows: int) -> Crowd:
    """People by row, with even places: the k-th of n by rank stands at (k + r) / n, r the rank of the first."""
    order = np.lexsort((rank, row))
    size = np.bincount(row, minlength=rows)
    first = np.cumsum(size) - size
    sorted_rows = row[order]
    start = np.zeros(rows)
    some = size > 0
    start[some] = (rank[order[first[some]]] * size[some]) % 1.0
    place = np.empty(len(row))
    place[order] = (np.arange(len(row)) - first[sorted_rows] + start[sorted_rows]) / size[sorted_rows]
    return Crowd(row, place)


def assign(problem: Problem, solution: Solution, people: Crowd) -> Counts:
    """People × cells: everybody takes the answer in whose share its place falls."""
    instance = problem.instance
    counts = np.zeros((len(people), instance.cells), dtype=np.uint8)
    part = solution.parts[people.row]
    upto = np.cumsum(solution.shares, axis=0)
    taken = np.flatnonzero(solution.shares.max(axis=1) > 1e-12)
    before = np.zeros(solution.shares.shape[1])
    for answer in taken.tolist():
        until = upto[answer]
        here = (people.place >= before[part]) & (people.place < until[part])
        before = until
        chosen = np.flatnonzero(here)
        if len(chosen) == 0:
            continue
        rows = np.unique(people.row[chosen])
        answers = np.zeros((instance.rows, instance.cells), dtype=np.uint8)
        step = max(1, (1 << 21) // max(1, len(instance.cell)))
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            answers[some] = problem.answer(solution.answers[answer], some)[0]
        counts[chosen] = answers[people.row[chosen]]
    return counts


def recover(problem: Problem, solution: Solution, people: Crowd) -> Counts:
    """People × cells: the plan."""
    return mend(problem, solution, people, assign(problem, solution, people))


def mend(problem: Problem, solution: Solution, people: Crowd, counts: Counts) -> Counts:
    """Drop what is over a limit and fill what is left free. ``counts`` is changed in place."""
    if isinstance(problem, AllOrNothing):
        _drop_wholes(problem, solution.prices, people, counts)
        _fill_wholes(problem, solution.prices, people, counts)
    else:
        drop(problem.instance, solution.prices, people, counts)
        fill(problem.instance, solution.prices, people, counts)
    return counts


def over(instance: Instance, counts: Counts) -> Floats:
    """How far each limit is exceeded; 0 where it is kept."""
    used = instance.used(counts)
    return np.where(used > instance.amount * (1 + SLACK) + SLACK, used - instance.amount, 0.0)


def drop(instance: Instance, prices: Floats, people: Crowd, counts: Counts) -> None:
    """Take the touches of least reduced value off every limit that is exceeded."""
    for limit in range(len(instance.amount)):
        excess = over(instance, counts)[limit]
        if excess <= 0:
            continue
        items = np.flatnonzero(instance.usage[limit] > 0)
        who, what, worth = [], [], []
        each = prices @ instance.usage
        for item in items:
            holders = np.flatnonzero(counts[:, instance.cell[item]] >= instance.ordinal[item])
            rows = people.row[holders]
            kind = instance.kind[rows]
            value = instance.worth[rows] * instance.gain[kind, item] - instance.loss[kind, item] - each[item]
            who.append(holders)
            what.append(np.full(len(holders), item))
            worth.append(value / instance.usage[limit, item])
        person, item_of, least = np.concatenate(who), np.concatenate(what), np.concatenate(worth)
        # Of equal ones the later ordinal goes first, then the higher place.
        order = np.lexsort((-people.place[person], -instance.ordinal[item_of], least))
        freed = np.cumsum(instance.usage[limit, item_of[order]])
        gone = order[: int(np.searchsorted(freed, excess * (1 - SLACK) - SLACK)) + 1]
        # Should a lower ordinal be among them before a higher one, the higher goes along.
        lowest = np.full((len(people), instance.cells), 255, dtype=np.uint8)
        np.minimum.at(
            lowest,
            (person[gone], instance.cell[item_of[gone]]),
            (instance.ordinal[item_of[gone]] - 1).astype(np.uint8),
        )
        np.minimum(counts, lowest, out=counts)


def fill(instance: Instance, prices: Floats, people: Crowd, counts: Counts, passes: int = 60) -> None:
    """Give what is left of the limits to the best further touches that fit, one a person and pass."""
    each = prices @ instance.usage
    free = instance.amount - instance.used(counts)
    closed = np.zeros(len(instance.cell), dtype=bool)
    for _pass in range(passes):
        fits = (instance.usage <= (free + SLACK * np.maximum(1.0, instance.amount))[:, None]).all(
            axis=0
        ) & ~closed
        who, what, worth = [], [], []
        for item in np.flatnonzero(fits):
            cell, ordinal = instance.cell[item], instance.ordinal[item]
            next_ = np.flatnonzero(
                (counts[:, cell] == ordinal - 1) & (instance.possible[people.row, cell] >= ordinal)
            )
            if len(next_) == 0:
                continue
            rows = people.row[next_]
            kind = instance.kind[rows]
            value = instance.worth[rows] * instance.gain[kind, item] - instance.loss[kind, item]
            good = value > 0
            who.append(next_[good])
            what.append(np.full(int(good.sum()), item))
            worth.append(value[good] - each[item])
        if not who:
            return
        person, item_of, gain = np.concatenate(who), np.concatenate(what), np.concatenate(worth)
        room = _room(instance, people, counts, person, item_of)
        person, item_of, gain = person[room], item_of[room], gain[room]
        if len(person) == 0:
            return
        order = np.lexsort((people.place[person], instance.ordinal[item_of], -gain))
        _first, index = np.unique(person[order], return_index=True)
        order = order[np.sort(index)]
        taken = order[_fitting(instance.usage[:, item_of[order]], free)]
        if len(taken) == 0:
            return
        counts[person[taken], instance.cell[item_of[taken]]] += 1
        free = instance.amount - instance.used(counts)


def _room(
    instance: Instance, people: Crowd, counts: Counts, person: Rows, item_of: Rows
) -> NDArray[np.bool_]:
    """Whether the groups of each person let one more touch of that item through."""
    found = np.ones(len(person), dtype=bool)
    for group in instance.groups:
        concerned = group.cells[instance.cell[item_of]]
        if concerned.any():
            held = counts[person[concerned]][:, group.cells].sum(axis=1, dtype=np.int64)
            found[concerned] &= held < group.cap[people.row[person[concerned]]]
    return found


def _fitting(usage: Floats, free: Floats) -> NDArray[np.int64]:
    """Of candidates in order of preference (limits × candidates) those that fit one after the other.

    One that does not fit is passed over; those behind it may still fit.
    """
    kept = np.arange(usage.shape[1])
    taken: list[NDArray[np.int64]] = []
    left = free + SLACK * np.maximum(1.0, np.abs(free))
    for _turn in range(LOOKS):
        if len(kept) == 0:
            break
        total = np.cumsum(usage[:, kept], axis=1)
        broken = (total > left[:, None]).any(axis=0)
        stop = int(np.argmax(broken)) if broken.any() else len(kept)
        taken.append(kept[:stop])
        if stop == len(kept):
            break
        left = left - (total[:, stop - 1] if stop else 0)
        kept = kept[stop + 1 :]
        kept = kept[(usage[:, kept] <= left[:, None]).all(axis=0)]
    return np.concatenate(taken) if taken else np.empty(0, dtype=np.int64)


def _drop_wholes(problem: AllOrNothing, prices: Floats, people: Crowd, counts: Counts) -> None:
    """Take everything from the people whose whole is worth least, until every limit is kept."""
    instance = problem.instance
    usage = _usage_of_wholes(problem)
    reduced = problem.value - problem.costs(prices, slice(None))
    for limit in range(len(instance.amount)):
        excess = over(instance, counts)[limit]
        if excess <= 0:
            continue
        holders = np.flatnonzero((counts.any(axis=1)) & (usage[people.row, limit] > 0))
        rows = people.row[holders]
        order = holders[np.lexsort((-people.place[holders], reduced[rows] / usage[rows, limit]))]
        freed = np.cumsum(usage[people.row[order], limit])
        gone = order[: int(np.searchsorted(freed, excess * (1 - SLACK) - SLACK)) + 1]
        counts[gone] = 0


def _fill_wholes(problem: AllOrNothing, prices: Floats, people: Crowd, counts: Counts) -> None:
    """Give the best further people their whole while it fits."""
    instance = problem.instance
    usage = _usage_of_wholes(problem)
    reduced = problem.value - problem.costs(prices, slice(None))
    free = instance.amount - instance.used(counts)
    fit = (usage <= free[None, :] + SLACK * np.maximum(1.0, instance.amount)[None, :]).all(axis=1)
    wanted: NDArray[np.bool_] = fit & (problem.value > 0) & problem.whole.any(axis=1)
    others = np.flatnonzero(~counts.any(axis=1) & wanted[people.row])
    order = others[np.lexsort((people.place[others], -reduced[people.row[others]]))]
    taken = order[_fitting(usage[people.row[order]].T, free)]
    counts[taken] = problem.whole[people.row[taken]]


def _usage_of_wholes(problem: AllOrNothing) -> Floats:
    """Rows × limits: what each row's whole takes."""
    instance = problem.instance
    found = np.zeros((instance.rows, len(instance.amount)))
    for item in range(len(instance.cell)):
        has = problem.whole[:, instance.cell[item]] >= instance.ordinal[item]
        found += has[:, None] * instance.usage[None, :, item]
    return found


def best_within_groups(instance: Instance) -> Counts:
    """Everything possible; where a group's cap lies below it, what is worth most within the cap."""
    found = instance.possible.copy()
    for rows in instance.blocks():
        values = instance.values(rows)
        # All of it counts as worth having here, in the order of value.
        lifted = values - values.min(initial=0.0) + 1.0
        found[rows] = instance.counted(select(instance, rows, lifted))
    return found

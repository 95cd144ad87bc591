"""The price of every limit, and with it a proof: no plan is worth more than the bound.

For any prices λ ≥ 0 the bound D(λ) = λ·b + Σ max over each person's choices of Σ(v − λ·a) is at least the value of
the best plan. It is minimised by column generation: answers to prices tried so far are mixed by a linear
program (HiGHS), whose own prices are tried next, drawn towards the best ones so far. Its mixture is what the
plan is made of (:mod:`campaigns.planner.recover`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from campaigns.planner.instance import Counts, Floats, Instance, select

SAMPLE = 40_000  # rows on which prices are found; more are only measured
LARGE = 120_000  # rows from which on a sample is drawn
ITERATIONS = 200
ON_ALL = 8  # evaluations on all rows after the sample
ENOUGH = 1e-7  # relative distance of bound and mixture at which the prices are good
DRAWN = 0.4  # share of the best prices so far in the next ones tried
PARTS = 24  # groups of classes that may mix answers in shares of their own


@dataclass(frozen=True, slots=True)
class ByTouch:
    """Any number of touches of each cell, without holes, within the groups."""

    instance: Instance

    def answer(self, prices: Floats, rows: slice | NDArray[np.int64]) -> tuple[Counts, Floats, Floats]:
        values = self.instance.values(rows)
        reduced = values - (prices @ self.instance.usage)[None, :]
        chosen = select(self.instance, rows, reduced)
        return (
            self.instance.counted(chosen),
            np.where(chosen, values, 0.0).sum(axis=1),
            np.where(chosen, reduced, 0.0).sum(axis=1),
        )

    def take(self, rows: NDArray[np.int64], weights: NDArray[np.int64]) -> "ByTouch":
        return ByTouch(_weighted(self.instance, rows, weights))


@dataclass(frozen=True, slots=True)
class AllOrNothing:
    """Everything of ``whole`` (rows × cells) for ``value``, or nothing."""

    instance: Instance
    whole: Counts
    value: Floats

    def costs(self, prices: Floats, rows: slice | NDArray[np.int64]) -> Floats:
        """What the whole takes at these prices, by row."""
        each = prices @ self.instance.usage
        found = np.zeros(len(self.whole[rows]))
        for item in np.flatnonzero(each):
            found += each[item] * (
                self.whole[rows][:, self.instance.cell[item]] >= self.instance.ordinal[item]
            )
        return found

    def answer(self, prices: Floats, rows: slice | NDArray[np.int64]) -> tuple[Counts, Floats, Floats]:
        reduced = self.value[rows] - self.costs(prices, rows)
        chosen = reduced > 0
        return (
            np.where(chosen[:, None], self.whole[rows], 0).astype(np.uint8),
            np.where(chosen, self.value[rows], 0.0),
            np.where(chosen, reduced, 0.0),
        )

    def take(self, rows: NDArray[np.int64], weights: NDArray[np.int64]) -> "AllOrNothing":
        return AllOrNothing(_weighted(self.instance, rows, weights), self.whole[rows], self.value[rows])


Problem = ByTouch | AllOrNothing
"""What somebody may choose: ``answer(prices, rows)`` gives the best counts (rows × cells), their value, and it reduced

by the prices; ``take(rows, weights)`` the same for some rows.
"""


def _weighted(instance: Instance, rows: NDArray[np.int64], weights: NDArray[np.int64]) -> Instance:
    found = instance.take(rows)
    return Instance(
        weights, found.worth, found.kind, found.possible, found.cell, found.ordinal, found.gain, found.loss,
        found.usage, found.amount, found.groups,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The answers of all rows to one price vector, added up by part."""

    prices: Floats
    bound: float
    value: Floats  # parts
    used: Floats  # parts × limits


@dataclass(frozen=True, slots=True)
class Solution:
    """The best prices, the bound they prove, and the mixture: answers with the share of each part that takes it.

    ``shares`` is answers × parts and sums to 1 over the answers.
    """

    prices: Floats
    bound: float
    relaxed: float  # value of the mixture: the bound cannot be lower
    answers: Sequence[Floats]
    shares: Floats
    parts: NDArray[np.int16]  # of each row
    evaluations: int


def parts_of(instance: Instance) -> NDArray[np.int16]:
    """Rows in groups that mix in shares of their own: by class, as many as there is room for."""
    return (instance.kind % PARTS).astype(np.int16)


def evaluate(problem: Problem, prices: Floats, parts: NDArray[np.int16]) -> Evaluation:
    """D(λ) and what the answers take. The bound holds whatever the prices are."""
    instance = problem.instance
    count = int(parts.max(initial=0)) + 1
    value = np.zeros(count)
    used = np.zeros((count, len(instance.amount)))
    total = float(prices @ instance.amount)
    for rows in instance.blocks():
        counts, values, reduced = problem.answer(prices, rows)
        n = instance.n[rows].astype(np.float64)
        total += float(reduced @ n)
        value += np.bincount(parts[rows], weights=values * n, minlength=count)
        for item in range(len(instance.cell)):
            if instance.usage[:, item].any():
                takers = np.bincount(
                    parts[rows],
                    weights=n * (counts[:, instance.cell[item]] >= instance.ordinal[item]),
                    minlength=count,
                )
                used += takers[:, None] * instance.usage[None, :, item]
    return Evaluation(prices, total, value, used)


def solve(problem: Problem) -> Solution:
    """Prices, bound and mixture. Deterministic: the same problem has the same solution."""
    parts = parts_of(problem.instance)
    if problem.instance.rows <= LARGE:
        return _generate(problem, parts, [np.zeros(len(problem.instance.amount))], ITERATIONS)
    rows = np.linspace(0, problem.instance.rows - 1, SAMPLE).astype(np.int64)
    scale = problem.instance.n.sum() / max(1, problem.instance.n[rows].sum())
    weights = np.maximum(1, np.round(problem.instance.n[rows] * scale)).astype(np.int64)
    sampled = _generate(
        problem.take(rows, weights), parts[rows], [np.zeros(len(problem.instance.amount))], ITERATIONS
    )
    wanted = np.argsort(-sampled.shares.sum(axis=1), kind="stable")[: len(problem.instance.amount) + 2]
    starts = [sampled.prices, *(sampled.answers[n] for n in wanted if sampled.shares[n].sum() > 0)]
    return _generate(problem, parts, starts, len(starts) + ON_ALL)


def _generate(
    problem: Problem, parts: NDArray[np.int16], starts: Sequence[Floats], iterations: int
) -> Solution:
    instance = problem.instance
    known: list[Evaluation] = []
    best: Evaluation | None = None
    waiting = list(starts)
    mixture, relaxed = np.zeros((0, 0)), -np.inf
    for _turn in range(max(iterations, len(starts))):
        tried = evaluate(problem, waiting.pop(0), parts)
        known.append(tried)
        if best is None or tried.bound < best.bound:
            best = tried
        if waiting:
            continue
        prices, mixture, relaxed = _mix(known, instance.amount)
        if best.bound - relaxed <= ENOUGH * max(1.0, abs(best.bound)):
            break
        drawn = DRAWN * best.prices + (1 - DRAWN) * prices
        # When being drawn leads nowhere new, the program's own prices do.
        fresh = all(np.abs(drawn - one.prices).max(initial=0) > 1e-12 for one in known[-2:])
        waiting.append(drawn if fresh and _turn % 4 != 3 else prices)
    assert best is not None  # noqa: S101  (there is always a start)
    if len(mixture) != len(known):
        _prices, mixture, relaxed = _mix(known, instance.amount)
    return Solution(
        best.prices, best.bound, relaxed, [one.prices for one in known], mixture, parts, len(known)
    )


def _mix(known: Sequence[Evaluation], amount: Floats) -> tuple[Floats, Floats, float]:
    """The best mixture of answers that keeps all limits: its prices, shares (answers × parts) and value.

    Taking nothing is always one more answer, so there is a mixture.
    """
    from scipy.optimize import linprog  # here: what never plans need not load it

    parts = len(known[0].value)
    value = np.stack([one.value for one in known])  # answers × parts
    used = np.stack([one.used for one in known])  # answers × parts × limits
    money = max(1e-12, float(value.max(initial=0)))
    size = np.maximum(amount, used.max(axis=(0, 1), initial=0))
    size[size <= 0] = 1.0
    columns = len(known) * parts
    rows = used.reshape(columns, -1).T / size[:, None]
    convex = np.tile(np.eye(parts), (1, len(known)))
    done = linprog(
        -value.reshape(columns) / money,
        A_ub=np.vstack([rows, convex]),
        b_ub=np.concatenate([amount / size, np.ones(parts)]),
        bounds=(0, None),
        method="highs-ds",
    )
    if done.status != 0:
        raise ArithmeticError(f"the mixture of answers was not found: {done.message}")
    prices = np.maximum(0.0, -done.ineqlin.marginals[: len(amount)]) * money / size
    return prices, done.x.reshape(len(known), parts), float(-done.fun) * money

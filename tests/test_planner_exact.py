"""The planner against an exact solver, and what must hold of every plan."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from campaigns.planner import recover, solve
from campaigns.planner.causes import CODE
from campaigns.planner.instance import Group, Instance
from campaigns.planner.solve import AllOrNothing, ByTouch
from campaigns.vocabulary import Cause

SEEDS = range(20)


def instance(
    n: int, seed: int, *, channels: int = 4, ordinals: int = 4, tight: float = 0.5, rounds: int = 1
) -> Instance:
    """Everybody with values of their own, a cap of their own, a total, a limit a channel and two of places."""
    chance = np.random.default_rng(seed)
    cells = channels * rounds
    cell = np.repeat(np.arange(cells), ordinals).astype(np.int16)
    ordinal = np.tile(np.arange(1, ordinals + 1), cells).astype(np.int16)
    falls = chance.uniform(0.3, 0.95, (n, cells, ordinals - 1))
    decay = np.cumprod(np.concatenate([np.ones((n, cells, 1)), falls], axis=2), axis=2)
    gain = (chance.gamma(1.5, 1.0, (n, cells))[:, :, None] * decay).reshape(n, -1)
    loss = np.tile(np.repeat(chance.uniform(0, 0.1, cells), ordinals), (n, 1)) * decay.reshape(n, -1)
    possible = (chance.integers(0, ordinals + 1, (n, cells)) * (chance.random((n, cells)) < 0.8)).astype(
        np.uint8
    )
    channel = cell % channels
    price = chance.uniform(0.05, 0.5, channels)[channel]
    usage = np.stack(
        [
            price,
            *(np.where(channel == c, price, 0) for c in range(channels)),
            *((channel == c) * 1.0 for c in (0, 1)),
        ]
    )
    groups = []
    if rounds > 1:
        for number in range(rounds):
            within = np.arange(cells) // channels == number
            groups.append(Group(within, chance.integers(1, 4, n).astype(np.uint8), CODE[Cause.PRESSURE]))
    groups.append(
        Group(np.ones(cells, dtype=bool), chance.integers(1, 6, n).astype(np.uint8), CODE[Cause.CAP])
    )
    found = Instance(
        n=np.ones(n, dtype=np.int64), worth=np.ones(n), kind=np.arange(n, dtype=np.int16), possible=possible, cell=cell,
        ordinal=ordinal, gain=gain, loss=loss, usage=usage, amount=np.zeros(len(usage)), groups=groups,
    )  # fmt: skip
    wanted = found.used(recover.best_within_groups(found))
    return replace(found, amount=wanted * tight * chance.uniform(0.8, 1.3, len(usage)))


def plan(problem, salt: int = 0):
    """Solution, counts and their value."""
    found = problem.instance
    solution = solve.solve(problem)
    people = recover.crowd(np.arange(found.rows), np.random.default_rng(salt).random(found.rows), found.rows)
    counts = recover.recover(problem, solution, people)
    if isinstance(problem, AllOrNothing):
        return solution, counts, float(problem.value[counts.any(axis=1)].sum())
    return solution, counts, found.worths(found.kind.astype(np.int64), found.worth, counts)


def check(found: Instance, counts: np.ndarray) -> None:
    """Nothing beyond what is possible, a group's cap or a limit."""
    assert (counts <= found.possible).all()
    for group in found.groups:
        assert (counts[:, group.cells].sum(axis=1) <= group.cap).all()
    assert (found.used(counts) <= found.amount * (1 + 1e-8) + 1e-8).all()


def exactly(found: Instance) -> tuple[float, float]:
    """Value of the best plan a mixed-integer solver found within its gap, and the bound it proved."""
    n, items = found.rows, len(found.cell)
    values = found.values(slice(None)).ravel()
    rows, columns, data, low, high = [], [], [], [], []

    def constrain(places: np.ndarray, weights: np.ndarray, upper: float) -> None:
        rows.append(np.full(len(places), len(high)))
        columns.append(places)
        data.append(weights)
        low.append(-np.inf)
        high.append(upper)

    at = np.arange(n * items).reshape(n, items)
    for limit in range(len(found.amount)):
        users = np.flatnonzero(found.usage[limit])
        constrain(at[:, users].ravel(), np.tile(found.usage[limit, users], n), float(found.amount[limit]))
    for group in found.groups:
        own = group.items(found.cell)
        for row in range(n):
            constrain(at[row, own], np.ones(len(own)), float(group.cap[row]))
    for item in np.flatnonzero(found.ordinal > 1):
        for row in range(n):
            constrain(at[row, [item, item - 1]], np.array([1.0, -1.0]), 0.0)
    from scipy.sparse import csr_array

    matrix = csr_array(
        (np.concatenate(data), (np.concatenate(rows), np.concatenate(columns))), shape=(len(high), n * items)
    )
    done = milp(
        -values, integrality=np.ones(n * items), bounds=Bounds(0, found.open(slice(None)).ravel().astype(float)),
        constraints=LinearConstraint(matrix, low, high), options={"time_limit": 20, "mip_rel_gap": 2e-3},
    )  # fmt: skip
    return -float(done.fun), -float(done.mip_dual_bound)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [50, 200, 1000])
def test_our_plan_and_bound_enclose_what_an_exact_solver_finds(n: int, seed: int) -> None:
    found = instance(n, seed)
    solution, counts, value = plan(ByTouch(found))
    check(found, counts)
    best, proven = exactly(found)
    assert value <= proven * (1 + 1e-6)
    assert best <= solution.bound * (1 + 1e-6)
    gap = (solution.bound - value) / solution.bound
    assert gap < {50: 0.05, 200: 0.01, 1000: 0.002}[n]
    assert value >= best * (1 - {50: 0.05, 200: 0.01, 1000: 0.002}[n])


@pytest.mark.parametrize("seed", range(5))
def test_caps_a_round_and_over_all_rounds_are_priced_exactly(seed: int) -> None:
    found = instance(200, seed, channels=3, ordinals=3, rounds=3)
    solution, counts, value = plan(ByTouch(found))
    check(found, counts)
    best, proven = exactly(found)
    assert value <= proven * (1 + 1e-6)
    assert best <= solution.bound * (1 + 1e-6)
    assert (solution.bound - value) / solution.bound < 0.01


@pytest.mark.parametrize("seed", range(5))
def test_coverage_reaches_as_many_as_an_exact_solver(seed: int) -> None:
    found = instance(300, seed)
    whole = recover.best_within_groups(found)
    some = whole.any(axis=1)
    solution, counts, value = plan(AllOrNothing(found, whole, some.astype(float)))
    check(found, counts)
    assert {tuple(row) for row in counts} <= {tuple(row) for row in whole} | {(0,) * found.cells}
    takes = np.stack([found.used(whole[[row]]) for row in range(found.rows)])
    done = milp(
        -some.astype(float), integrality=np.ones(300), bounds=Bounds(0, 1),
        constraints=LinearConstraint(takes.T, -np.inf, found.amount), options={"time_limit": 20},
    )  # fmt: skip
    best = round(-done.fun)
    assert best <= solution.bound + 1e-6
    assert best - 3 <= value <= best


instances = st.builds(
    instance,
    st.integers(1, 60),
    st.integers(0, 10_000),
    channels=st.integers(2, 4),
    ordinals=st.integers(2, 5),
    tight=st.floats(0, 1.5),
    rounds=st.integers(1, 3),
)
quickly = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quickly
@given(instances)
def test_every_plan_keeps_every_limit_and_its_bound(found: Instance) -> None:
    solution, counts, value = plan(ByTouch(found))
    check(found, counts)
    assert value <= solution.bound * (1 + 1e-7) + 1e-7


@quickly
@given(instances, st.floats(1.0, 2.0), st.data())
def test_more_of_a_limit_never_lowers_the_bound(found: Instance, factor: float, data) -> None:
    which = data.draw(st.integers(0, len(found.amount) - 1))
    amount = found.amount.copy()
    amount[which] = amount[which] * factor + 0.5
    before = solve.solve(ByTouch(found))
    after = solve.solve(ByTouch(replace(found, amount=amount)))
    assert after.bound >= before.relaxed - 1e-6 * max(1, before.bound)
    assert after.bound >= before.bound - 1e-5 * max(1, before.bound)


@quickly
@given(instances)
def test_any_prices_at_all_prove_a_bound(found: Instance) -> None:
    problem = ByTouch(found)
    _solution, _counts, value = plan(problem)
    parts = solve.parts_of(found)
    for scale in (0.0, 0.1, 3.0):
        prices = np.random.default_rng(1).random(len(found.amount)) * scale
        assert solve.evaluate(problem, prices, parts).bound >= value - 1e-7


@quickly
@given(instances)
def test_the_same_problem_has_the_same_plan(found: Instance) -> None:
    first, second = plan(ByTouch(found)), plan(ByTouch(found))
    assert (first[1] == second[1]).all()
    assert first[0].bound == second[0].bound


def test_people_put_together_and_one_by_one_have_the_same_bound() -> None:
    one_by_one = instance(120, 3)
    kinds = np.arange(120) % 6
    alone = replace(
        one_by_one, kind=kinds.astype(np.int16), possible=one_by_one.possible[kinds],
        groups=[Group(g.cells, g.cap[kinds], g.cause) for g in one_by_one.groups],
    )  # fmt: skip
    together = replace(
        alone, n=np.full(6, 20), worth=np.ones(6), kind=np.arange(6, dtype=np.int16), possible=alone.possible[:6],
        groups=[Group(g.cells, g.cap[:6], g.cause) for g in alone.groups],
    )  # fmt: skip
    assert solve.solve(ByTouch(alone)).bound == pytest.approx(solve.solve(ByTouch(together)).bound, rel=1e-6)


def test_a_large_problem_is_solved_on_a_sample_and_proven_on_all(monkeypatch) -> None:
    found = instance(3000, 5)
    exact = solve.solve(ByTouch(found))
    monkeypatch.setattr(solve, "LARGE", 1000)
    monkeypatch.setattr(solve, "SAMPLE", 600)
    solution, counts, value = plan(ByTouch(found))
    check(found, counts)
    assert solution.bound >= exact.relaxed * (1 - 1e-9)
    assert (solution.bound - value) / solution.bound < 0.005

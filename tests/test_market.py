"""The simulated market: what an experiment finds is what the truth says, and chance is the same every time."""

import numpy as np
import pytest

from channels.sandbox.market import (
    Touches,
    Truth,
    added,
    base_orders,
    draw,
    leaving,
    propensity,
    react,
    responsiveness,
    simulate_history,
    true_lift,
)
from channels.sandbox.people import Person, Population, hashes_of, write_population

N = 60_000
PEOPLE = hashes_of(str(n) for n in range(N))


def touches(truth: Truth, medium: str, n: int, rows: np.ndarray) -> Touches:
    """``n`` touches, a day apart, for each of these people."""
    return Touches(
        person=np.repeat(rows, n), medium=np.full(len(rows) * n, truth.code(medium)),
        day=np.tile(np.arange(n, dtype=float), len(rows)),
    )  # fmt: skip


@pytest.mark.parametrize(("medium", "n"), [("sms", 1), ("sms", 4), ("email", 3), ("wecom", 2), ("social", 6)])
def test_an_experiment_finds_the_true_lift(medium: str, n: int) -> None:
    """Half are touched; the difference in orders a person lies within 3.3 standard errors of the truth."""
    truth = Truth(seed=11)
    treated = np.arange(0, N, 2)
    history = simulate_history(truth, PEOPLE, touches(truth, medium, n, treated), first_day=0, last_day=20)
    orders = np.bincount(history.orders.person, minlength=N)
    mine, others = orders[treated], np.delete(orders, treated)
    found = mine.mean() - others.mean()
    error = np.sqrt(mine.var() / len(mine) + others.var() / len(others))
    assert abs(found - true_lift(truth, {medium: n})["orders"]) < 3.3 * error


def test_the_truth_has_diminishing_returns_and_adds_up_over_media() -> None:
    truth = Truth()
    steps = added(truth, np.full(6, truth.code("sms")), np.arange(1, 7))
    assert (np.diff(steps) < 0).all()
    both = true_lift(truth, {"sms": 3, "email": 2})
    parts = [true_lift(truth, {medium: n}) for medium, n in (("sms", 3), ("email", 2))]
    assert both["orders"] == pytest.approx(sum(part["orders"] for part in parts))
    assert both["revenue"] == pytest.approx(both["orders"] * truth.average_order)
    curve = truth.curves["sms"]
    forever = true_lift(truth, {"sms": 200}, until_opt_out=False)["orders"]
    assert forever == pytest.approx(curve.ceiling)
    assert true_lift(truth, {"sms": 200})["orders"] < forever


def test_fatigue_grows_from_touch_to_touch_and_who_left_is_left_alone() -> None:
    truth = Truth(seed=5)
    history = simulate_history(
        truth, PEOPLE, touches(truth, "sms", 6, np.arange(N)), first_day=0, last_day=-1
    )
    left = history.responses.touch[history.responses.kind == "opt_out"]
    found = np.bincount(history.ordinal[left], minlength=7)[1:]
    reached = np.bincount(history.ordinal[history.sent], minlength=7)[1:]
    hazard = leaving(truth, np.full(6, truth.code("sms")), np.arange(1, 7))
    assert np.abs(found / reached - hazard).max() < 4 * np.sqrt(hazard.max() / reached.min())
    assert reached[0] == N
    assert (np.diff(reached) < 0).all()


def test_nobody_gets_a_touch_or_reacts_after_leaving() -> None:
    truth = Truth(seed=5)
    given = touches(truth, "sms", 6, np.arange(N))
    history = simulate_history(truth, PEOPLE, given, first_day=0, last_day=-1)
    last = np.full(N, 99)
    left = history.responses.touch[history.responses.kind == "opt_out"]
    last[given.person[left]] = history.ordinal[left]
    assert (history.sent == (history.ordinal <= last[given.person])).all()
    caused = history.orders.touch[history.orders.touch >= 0]
    assert history.sent[caused].all()
    assert history.sent[history.responses.touch].all()


def test_people_buy_without_being_asked_at_the_base_rate() -> None:
    truth = Truth(seed=3, base_rate=0.01)
    days = [len(base_orders(truth, PEOPLE, day)[0]) for day in range(30)]
    assert np.mean(days) / N == pytest.approx(0.01 * propensity(truth, PEOPLE).mean(), rel=0.03)
    rows, time, amount = base_orders(truth, PEOPLE, 0)
    assert ((time > 0) & (time < 1)).all()
    assert amount.mean() == pytest.approx(truth.average_order, rel=0.1)
    assert len(set(rows.tolist())) == len(rows)


def test_people_differ_around_a_mean_of_one() -> None:
    truth = Truth(seed=3)
    for values in (propensity(truth, PEOPLE), responsiveness(truth, PEOPLE, np.zeros(N, dtype=int))):
        assert values.mean() == pytest.approx(1, abs=0.02)
        assert values.std() > 0.4


def test_chance_is_the_same_whatever_comes_with_it_and_another_for_another_seed() -> None:
    truth = Truth(seed=9)
    media, ordinals = np.full(N, truth.code("email")), np.ones(N, dtype=int)
    whole = react(truth, PEOPLE, media, ordinals)
    order = np.random.default_rng(1).permutation(N)[:500]
    part = react(truth, PEOPLE[order], media[order], ordinals[order])
    for name in ("open", "click", "reply", "opt_out", "order", "amount"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[order])
    other = react(Truth(seed=10), PEOPLE, media, ordinals)
    both = ~np.isnan(whole.open) & ~np.isnan(other.open)
    share = truth.curves["email"].open
    assert both.mean() == pytest.approx(share * share, abs=0.03)


def test_draws_are_even_and_independent_of_each_other() -> None:
    first, second = draw(1, "order", PEOPLE, 2, 3), draw(1, "order", PEOPLE, 2, 4)
    for values in (first, second, draw(1, "click", PEOPLE, 2, 3)):
        counts = np.histogram(values, 20, (0, 1))[0]
        assert ((counts - N / 20) ** 2 / (N / 20)).sum() < 45  # chi-square, 19 degrees, p about 0.0007
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.015


def test_opens_come_before_clicks_and_most_caused_orders_after_one() -> None:
    truth = Truth(seed=2)
    found = react(truth, PEOPLE, np.full(N, truth.code("email")), np.ones(N, dtype=int))
    clicked = ~np.isnan(found.click)
    assert (found.open[clicked] < found.click[clicked]).all()
    bought = ~np.isnan(found.order)
    through = clicked & bought
    assert 0.6 < through.sum() / bought.sum() < 0.85
    assert ((found.click < found.order) | ~through).sum() > 0.99 * N


def test_ordinals_count_within_person_medium_and_context_by_day() -> None:
    truth = Truth()
    given = Touches(
        person=np.array([0, 0, 1, 0, 0]), medium=np.array([0, 0, 0, 1, 0]), day=np.array([5.0, 1.0, 1.0, 2.0, 9.0]),
        context=np.array([7, 7, 7, 7, 8]),
    )  # fmt: skip
    history = simulate_history(truth, PEOPLE[:2], given, first_day=0, last_day=-1, base=False)
    assert history.ordinal.tolist() == [2, 1, 1, 1, 1]
    nothing = Touches(*(np.zeros(0, dtype=int),) * 2, np.zeros(0))
    assert len(simulate_history(truth, PEOPLE[:2], nothing, first_day=0, last_day=-1).orders.person) == 0


def test_parameters_can_be_overridden_one_by_one() -> None:
    call = {"ceiling": 0.1, "speed": 1.0, "opt_out": 0.0}
    truth = Truth.of({"base_rate": 0.02, "curves": {"sms": {"click": 1.0}, "call": call}})
    assert (truth.base_rate, truth.curves["sms"].click, truth.curves["sms"].ceiling) == (0.02, 1.0, 0.045)
    assert truth.media[:4] == ("email", "sms", "social", "wecom"), "what was drawn before stays as it was"
    assert "call" in truth.media[4:]
    with pytest.raises(TypeError):
        Truth.of({"base_rates": 1})


def test_a_population_finds_one_person_over_all_channels(tmp_path) -> None:  # type: ignore[no-untyped-def]
    people = [Person("a", "+8613800138000", "A@b.c", "M1", "wm1", "staff1"), Person("b", member_number="M2")]
    path = tmp_path / "population.csv"
    assert write_population(path, people) == 2
    read = Population.read(path)
    assert read.people == people
    for name, value in (("phone", "+8613800138000"), ("email", "a@B.c"), ("wecom_external_id", "wm1")):
        assert read.find(name, value) == 0
    assert read.find("email", "") is None
    assert (read.hashes == hashes_of(["a", "b"])).all()
    path.write_text("key,phone\n1,2\n")
    with pytest.raises(ValueError, match="no column email"):
        Population.read(path)

"""Intervals against published examples and against simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports.lift import newcombe, sample_ratio_p, welch, wilson


def test_newcombe_gives_the_published_interval() -> None:
    # Newcombe 1998, table II, example (a), method 10: 56/70 − 48/80 → (0.0524, 0.3339).
    found = newcombe(56, 70, 48, 80)
    assert found.difference == pytest.approx(0.2)
    assert found.low == pytest.approx(0.0524, abs=5e-5)
    assert found.high == pytest.approx(0.3339, abs=5e-5)


def test_newcombe_holds_at_the_edges() -> None:
    # Example (e): 5/56 − 0/29 → (−0.0381, 0.1926).
    found = newcombe(5, 56, 0, 29)
    assert (round(found.low, 4), round(found.high, 4)) == (-0.0381, 0.1926)


def test_welch_agrees_with_scipy() -> None:
    random = np.random.default_rng(7)
    a, b = random.gamma(0.3, 90, 900), random.gamma(0.3, 60, 200)
    found = welch(a.sum(), (a**2).sum(), a.size, b.sum(), (b**2).sum(), b.size)
    interval = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert found.low == pytest.approx(interval.low)
    assert found.high == pytest.approx(interval.high)


def test_an_interval_of_no_effect_covers_zero_in_19_of_20() -> None:
    random = np.random.default_rng(11)
    covered = 0
    for _ in range(400):
        a, b = random.binomial(4000, 0.04), random.binomial(500, 0.04)
        found = newcombe(int(a), 4000, int(b), 500)
        covered += found.low <= 0 <= found.high
    assert 0.92 <= covered / 400 <= 0.985


def test_a_side_without_people_is_refused() -> None:
    with pytest.raises(ValueError, match="both sides"):
        newcombe(0, 0, 1, 10)


def test_a_broken_split_is_noticed() -> None:
    assert sample_ratio_p(9000, 1000, 0.1) > 0.9
    assert sample_ratio_p(9000, 800, 0.1) < 0.001


@given(n=st.integers(1, 10_000), share=st.floats(0, 1))
def test_a_wilson_interval_contains_its_rate(n: int, share: float) -> None:
    successes = math.floor(n * share)
    low, high = wilson(successes, n)
    assert low <= successes / n + 1e-12
    assert high >= successes / n - 1e-12

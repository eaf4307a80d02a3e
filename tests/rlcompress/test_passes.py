"""Passes over a text: the budget of each is exact, keep-sets shrink, and one order tells what all of them keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.passes import priorities_in_passes
from rlcompress.selection import budget_tokens, pass_rate, rank, select
from rlcompress.words import BoolArray, FloatArray, Status, Units


@st.composite
def texts(draw: st.DrawFn) -> Units:
    """Units of one character each, of any cost, some protected."""
    costs = draw(st.lists(st.integers(0, 4), min_size=1, max_size=14))
    protected = draw(st.lists(st.booleans(), min_size=len(costs), max_size=len(costs)))
    places = np.arange(len(costs))
    return Units("x" * len(costs), places, places + 1, np.array(costs), np.array(protected, np.bool_))


def noise(seed: int, t: int, n: int) -> FloatArray:
    return np.random.default_rng([seed, t]).normal(size=n).round(1)  # ties too


def walked(units: Units, seed: int, rate: float, passes: int) -> list[BoolArray]:
    """What each pass leaves, by definition: order the free units that are left, keep what fits, stop at the first."""
    kept = []
    alive_N = np.ones(len(units), np.bool_)
    for t in range(1, passes + 1):
        values_N = noise(seed, t, len(units))
        left = round(rate ** (t / passes) * units.costs_N.sum()) - units.costs_N[units.protected_N].sum()
        stays_N = units.protected_N.copy()
        for u in sorted(np.flatnonzero(alive_N & ~units.protected_N).tolist(), key=lambda u: (-values_N[u], u)):
            if units.costs_N[u] > left:
                break
            left -= units.costs_N[u]
            stays_N[u] = True
        kept.append(stays_N)
        alive_N = stays_N
    return kept


def scores_by_pass(units: Units, seed: int):
    """A scorer whose scores differ in every pass, and what it was asked about."""
    asked: list[BoolArray] = []

    def scores(alive: list[BoolArray]) -> list[FloatArray]:
        asked.append(alive[0].copy())
        return [noise(seed, len(asked), len(units))]

    return scores, asked


RATES = st.floats(0.0, 1.0)


@given(texts(), RATES, st.integers(1, 5), st.integers(0, 99))
def test_one_order_keeps_what_the_passes_keep(units: Units, rate: float, passes: int, seed: int) -> None:
    scores, asked = scores_by_pass(units, seed)
    (priorities_N,) = priorities_in_passes([units], scores, passes, rate)
    expected = walked(units, seed, rate, passes)
    np.testing.assert_array_equal(select(units, priorities_N, rate).kept_N, expected[-1])
    assert len(asked) == passes
    for seen_N, left_N in zip(asked[1:], expected, strict=False):
        np.testing.assert_array_equal(seen_N, left_N)


@given(texts(), st.integers(0, 40), st.integers(2, 5), st.integers(0, 99))
def test_a_budget_in_tokens_is_met_like_a_rate(units: Units, target: int, passes: int, seed: int) -> None:
    scores, _ = scores_by_pass(units, seed)
    (priorities_N,) = priorities_in_passes([units], scores, passes, target_tokens=target)
    compression = select(units, priorities_N, target_tokens=target)
    if compression.status is Status.OK:
        assert compression.kept_tokens <= target
    total = units.total_cost
    if target <= total and total:
        np.testing.assert_array_equal(compression.kept_N, walked(units, seed, target / total, passes)[-1])


@given(texts(), RATES, st.integers(1, 6), st.integers(0, 99))
def test_every_budget_is_exact_and_keep_sets_shrink(units: Units, rate: float, passes: int, seed: int) -> None:
    alive_N = np.ones(len(units), np.bool_)
    for t in range(1, passes + 1):
        values_N, now = noise(seed, t, len(units)), pass_rate(rate, t, passes)
        compression = select(units, values_N, now, alive_N=alive_N)
        ranking = rank(units, values_N, budget_tokens(units, now), alive_N)
        assert set(ranking.order_M) == set(np.flatnonzero(alive_N & ~units.protected_N))
        assert not (compression.kept_N & ~alive_N & ~units.protected_N).any(), "what is gone does not come back"
        slack = budget_tokens(units, now) - compression.kept_tokens
        if compression.status is Status.OK:
            following = ranking.order_M[ranking.kept : ranking.kept + 1]
            assert 0 <= slack < min(units.costs_N[following], default=np.inf)
        alive_N = compression.kept_N
    assert pass_rate(rate, passes, passes) == rate, "the last pass has the one budget, to the bit"


def test_one_pass_gives_the_scores_themselves() -> None:
    units = Units("abc", np.arange(3), np.arange(1, 4), np.ones(3, np.int64), np.zeros(3, np.bool_))
    (priorities_N,) = priorities_in_passes([units], lambda alive: [np.array([0.3, 1.0, -2.0])], 1)
    assert priorities_N.tolist() == [0.3, 1.0, -2.0]


def test_a_second_pass_may_change_its_mind_about_what_is_left() -> None:
    units = Units("abcd", np.arange(4), np.arange(1, 5), np.ones(4, np.int64), np.zeros(4, np.bool_))
    by_pass = iter([np.array([4.0, 3.0, 2.0, 1.0]), np.array([1.0, 2.0, 9.0, 9.0])])
    (priorities_N,) = priorities_in_passes([units], lambda alive: [next(by_pass)], 2, 0.25)
    assert priorities_N.tolist() == [-1.0, 0.0, -2.0, -3.0]
    assert select(units, priorities_N, 0.25).text == "b"


def test_more_passes_need_a_budget() -> None:
    units = Units("ab", np.arange(2), np.arange(1, 3), np.ones(2, np.int64), np.zeros(2, np.bool_))
    with pytest.raises(AssertionError, match="give rate or target_tokens"):
        priorities_in_passes([units], lambda alive: [np.zeros(2)], 2)

"""The alarm: raised by a planted policy that games its reward, silent on noise and on honest learning."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rlcompress.learning.alarms import (
    HELDOUT,
    LEAST,
    RETENTION,
    REWARD,
    WINDOW,
    alarms,
    paired,
    shift,
    spearman,
    trend,
    trends,
)
from rlcompress.measuring.stability import over_seeds, stability

numbers = st.lists(st.integers(-5, 5).map(float), min_size=2, max_size=12)


def rows(rewards, heldout, every: int = 5, metric: str = HELDOUT) -> list[dict[str, float]]:
    """A run's metrics: a reward each iteration, a validation every few of them."""
    found: list[dict[str, float]] = [{"step": 0, metric: float(heldout[0])}]
    for validation, (reward, measured) in enumerate(zip(rewards, heldout, strict=True)):
        for i in range(every):
            found.append({"step": validation * every + i + 1, REWARD: float(reward) + 0.01 * (i - 2)})
        found[-1][metric] = float(measured)
    return found


def ever_raised(run: list[dict[str, float]]) -> bool:
    """Asked after every validation, as a run asks."""
    ends = [i + 1 for i, row in enumerate(run) if HELDOUT in row]
    return any(found is not None and found.raised for found in (trends(run[:end]) for end in ends))


def gaming_run(rng: np.random.Generator, validations: int = 20, noise: float = 0.1):
    """Honest for eight validations; then the reward goes on rising by something that costs held-out text."""
    t = np.arange(validations)
    rewards = 0.1 * t + noise * rng.normal(size=validations)
    heldout = 3 - 0.1 * np.minimum(t, 8) + 0.1 * np.maximum(t - 8, 0) + noise * rng.normal(size=validations)
    return rows(rewards, heldout)


@given(numbers, st.integers(0, 2**32 - 1))
def test_spearman_equals_scipys(first, seed):
    second = np.random.default_rng(seed).permutation(first)
    expected = stats.spearmanr(first, second).statistic if len(set(first)) > 1 else 0.0
    assert spearman(np.asarray(first), second) == pytest.approx(expected)


@given(numbers)
def test_a_trend_is_signed_and_bounded(values):
    up = trend(np.asarray(values))
    assert -1 - 1e-12 <= up <= 1 + 1e-12
    assert trend(np.asarray(values)[::-1]) == pytest.approx(-up)
    assert trend(np.sort(values)) >= up - 1e-12


def test_planted_gaming_is_caught_in_nearly_every_run_and_not_before_it_begins():
    rng = np.random.default_rng(0)
    runs = [gaming_run(rng) for _ in range(100)]
    assert sum(map(ever_raised, runs)) >= 95
    before = [[row for row in run if row["step"] <= 45] for run in runs]
    assert sum(map(ever_raised, before)) <= 1


def test_false_alarms_on_noise_are_rare():
    """Twenty validations, asked after each: at most 1 run in 50 where both are noise, or both improve; 1 in 20 where
    the reward surely rises and the held-out metric is noise around a level.
    """
    rng = np.random.default_rng(1)
    t = np.arange(20)
    noise = [rows(rng.normal(size=20), rng.normal(size=20)) for _ in range(100)]
    honest = [rows(0.1 * t + 0.1 * rng.normal(size=20), 3 - 0.05 * t + 0.1 * rng.normal(size=20)) for _ in range(100)]
    level = [rows(0.1 * t + 0.1 * rng.normal(size=20), 3 + 0.1 * rng.normal(size=20)) for _ in range(100)]
    assert sum(map(ever_raised, noise)) <= 2
    assert sum(map(ever_raised, honest)) <= 2
    assert sum(map(ever_raised, level)) <= 5


def test_nothing_is_said_too_early_or_without_a_held_out_metric():
    t = np.arange(LEAST - 1.0)
    assert trends(rows(t, t)) is None
    assert trends([{"step": i, REWARD: float(i)} for i in range(100)]) is None
    assert trends([]) is None


def test_the_metric_says_which_way_is_better():
    t = np.arange(float(WINDOW))
    assert trends(rows(t, t)).raised, "more bits are worse"
    assert not trends(rows(t, -t)).raised
    assert trends(rows(t, -t, metric=RETENTION)).raised, "fewer answers are worse"
    assert not trends(rows(-t, t)).raised, "the reward falls too: that is no gaming"


def test_rewards_are_averaged_between_validations_and_gaps_left_out():
    run = [
        {"step": 0, HELDOUT: 9.0},
        {"step": 1, REWARD: 1.0},
        {"step": 2, REWARD: 3.0, HELDOUT: 5.0},
        {"step": 3, REWARD: math.nan},
        {"step": 4, HELDOUT: 4.0},
        {"step": 5, REWARD: 7.0, HELDOUT: 3.0},
    ]
    assert paired(run, HELDOUT) == [(2, 2.0, 5.0), (5, 7.0, 3.0)]


def test_a_shift_is_counted_in_standard_errors():
    values = np.asarray([0.0, 1, 0, 1, 0, 10, 11, 10, 11, 10])
    halves = values[:5], values[5:]
    squares = 0.0
    for half in halves:
        line = stats.linregress(np.arange(5), half)
        squares += float(((half - (line.intercept + line.slope * np.arange(5))) ** 2).sum())
    error = math.sqrt(2 * squares / 6 / 5)
    assert shift(values) == pytest.approx(10.0 / error)
    assert shift(np.zeros(10)) == 0.0


def test_an_alarm_that_was_logged_is_put_into_words():
    run = gaming_run(np.random.default_rng(3))
    assert alarms(run) == [], "nothing was logged"
    run[-1]["alarm/raised"] = 1.0
    (said,) = alarms(run)
    assert "reward rises" in said
    assert HELDOUT in said
    assert "to 100" in said


def test_stability_of_a_run():
    t = np.arange(40)
    run = rows(0.1 * t, 3 - 0.05 * t, every=1)
    steady = stability(run)
    assert steady.points == 40
    assert steady.trend == pytest.approx(1.0)
    assert steady.p < 1e-6
    assert steady.mean == pytest.approx(np.mean(0.1 * t[-10:]) - 0.02)
    assert steady.deviation == pytest.approx(0.0, abs=1e-9)
    assert steady.agreement == pytest.approx(1.0), "both improve, each in its own direction"
    assert stability(rows(0.1 * t, 3 + 0.05 * t, every=1)).agreement == pytest.approx(-1.0)
    assert stability(run[:3]) is None
    flat = stability([{"step": i, REWARD: 1.0} for i in range(8)])
    assert (flat.trend, flat.p) == (0.0, 1.0)
    assert math.isnan(flat.agreement)


def test_intervals_over_seeds_are_students():
    values = [0.5, 0.7, 0.9, math.nan]
    mean, low, high = over_seeds(values)
    expected = stats.t.interval(0.95, 2, loc=0.7, scale=stats.sem(values[:3]))
    assert (mean, low, high) == pytest.approx((0.7, *expected))
    assert over_seeds([0.4])[0] == 0.4
    assert math.isnan(over_seeds([0.4])[1])
    assert math.isnan(over_seeds([])[0])

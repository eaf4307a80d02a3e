"""The multiplier against a slow twin, its bounds, and a loop with a policy that follows late."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.config.schema import LagrangianConfig
from rlcompress.learning.lagrangian import Multiplier, updated


@given(st.lists(st.floats(-1, 1), max_size=30), st.floats(0, 2), st.floats(0, 5), st.floats(0.5, 10))
def test_equal_to_the_slow_twin_and_within_bounds(errors, step, damping, most):
    settings = LagrangianConfig(step=step, damping=damping, max=most)
    multiplier = Multiplier.starting_at(0.5)
    integral = 0.5
    for error in errors:
        multiplier = updated(multiplier, error, settings)
        integral = float(np.clip(integral + step * error, 0, most))
        assert multiplier.integral == pytest.approx(integral, abs=1e-12)
        assert multiplier.value == pytest.approx(float(np.clip(integral + damping * error, 0, most)), abs=1e-12)
    assert pickle.loads(pickle.dumps(multiplier)) == multiplier


def test_it_rises_where_too_much_is_kept_and_falls_where_too_little():
    settings, start = LagrangianConfig(), Multiplier.starting_at(1.0)
    assert updated(start, 0.2, settings).value > 1.0 > updated(start, -0.2, settings).value
    assert updated(start, 0.0, settings) == start


def kept_fractions(settings: LagrangianConfig, target: float, iterations: int = 400) -> np.ndarray:
    """A policy whose kept fraction moves a little each iteration to what its price asks for: 1 − price/2."""
    multiplier, rate, rates = Multiplier.starting_at(1.0), 0.8, []
    for _ in range(iterations):
        rates.append(rate)
        multiplier = updated(multiplier, rate - target, settings)
        rate += 0.05 * np.clip(1 - multiplier.value / 2 - rate, -0.5, 0.5)
    return np.array(rates)


@pytest.mark.parametrize("target", [0.2, 0.3, 0.6, 0.9])
def test_the_vetted_defaults_bring_a_late_follower_to_its_target(target):
    rates = kept_fractions(LagrangianConfig(), target)
    assert np.abs(rates[200:] - target).max() < 0.01


def test_damping_stops_the_swinging():
    swings = [np.abs(kept_fractions(LagrangianConfig(damping=d), 0.3)[50:150] - 0.3).max() for d in (0.0, 2.0)]
    assert swings[1] < swings[0] / 2


def test_a_long_way_leaves_nothing_to_unwind():
    """At its bound for long, it comes down with the first errors of the other sign."""
    settings = LagrangianConfig()
    multiplier = Multiplier.starting_at(1.0)
    for _ in range(1000):
        multiplier = updated(multiplier, 0.7, settings)
    assert multiplier.value == multiplier.integral == settings.max
    for _ in range(10):
        multiplier = updated(multiplier, -0.3, settings)
    assert multiplier.value < settings.max - 0.5

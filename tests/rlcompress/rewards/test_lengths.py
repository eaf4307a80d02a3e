"""How a length is paid for: equal to a numpy twin, continuous, best at the target, nothing to gain by padding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.rewards.lengths import around, kept_fraction, ramp, under_cap, up_to

SHARE = st.floats(0.0, 2.0)
TARGET, TOLERANCE, SLOPE = st.floats(0.05, 1.0), st.floats(0.0, 0.3), st.floats(0.01, 1.0)


def twin(rate_B, target, tolerance, slope):
    """Both terms of a batch, by interpolation between the corners."""
    corners = [0.0, tolerance, tolerance + slope, tolerance + slope + 10.0]
    fall = np.interp(np.stack([np.abs(rate_B - target), rate_B - target]), corners, [1.0, 1.0, 0.0, 0.0])
    return fall[0], fall[1]


@given(st.lists(SHARE, min_size=1, max_size=8), TARGET, TOLERANCE, SLOPE)
def test_equals_the_numpy_twin(rates, target, tolerance, slope):
    around_B, up_to_B = twin(np.asarray(rates), target, tolerance, slope)
    np.testing.assert_allclose([around(r, target, tolerance, slope) for r in rates], around_B, atol=1e-9)
    np.testing.assert_allclose([up_to(r, target, tolerance, slope) for r in rates], up_to_B, atol=1e-9)


@given(SHARE, SHARE, TARGET, TOLERANCE, SLOPE)
def test_no_edge_to_sit_on(first, second, target, tolerance, slope):
    for term in (around, up_to):
        apart = abs(term(first, target, tolerance, slope) - term(second, target, tolerance, slope))
        assert apart <= abs(first - second) / slope + 1e-9
        assert 0.0 <= term(first, target, tolerance, slope) <= term(target, target, tolerance, slope) == 1.0


@given(st.integers(1, 200), st.integers(0, 400), st.integers(0, 50))
def test_padding_never_pays(tokens_in, tokens_out, padding):
    shorter, longer = kept_fraction(tokens_in, tokens_out), kept_fraction(tokens_in, tokens_out + padding)
    assert up_to(longer, 0.5, 0.05, 0.2) <= up_to(shorter, 0.5, 0.05, 0.2)
    assert under_cap(shorter, 0.9) or not under_cap(longer, 0.9)


def test_a_copy_is_paid_nothing():
    copy = kept_fraction(60, 60)
    assert around(copy, 0.6, 0.05, 0.2) == up_to(copy, 0.6, 0.05, 0.2) == 0.0
    assert not under_cap(copy, 0.9)
    assert kept_fraction(0, 0) == 1.0
    assert (ramp(0.0, 0.1, 0.2), ramp(0.15, 0.1, 0.2), ramp(0.3, 0.1, 0.2)) == (0.0, pytest.approx(0.5), 1.0)

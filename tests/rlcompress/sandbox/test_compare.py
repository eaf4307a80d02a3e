"""Our comparison is Python's own for honest values, and no wider than its tolerance."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.sandbox.compare import equal
from rlcompress.sandbox.inside import decode, encode
from tests.rlcompress.sandbox.test_inside import values


def contains_float(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(contains_float, value))
    if isinstance(value, dict):
        return any(map(contains_float, value.values()))
    return isinstance(value, float)


def without_nan(value: Any) -> bool:
    return "nan" not in repr(value).lower()


@given(values, values)
def test_without_floats_it_is_pythons(mine: Any, other: Any) -> None:
    if not contains_float(other):
        assert equal(mine, other) == (mine == other)
    assert equal(mine, mine) or not without_nan(mine)


@given(values)
def test_what_python_calls_equal_is_equal(value: Any) -> None:
    other = decode(encode(value, 1 << 20))
    if value == other:
        assert equal(value, other)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300))
def test_the_tolerance(number: float) -> None:
    assert equal(number * (1 + 1e-12), number)
    assert not equal(number * (1 + 1e-6) + math.copysign(1e-6, number), number)
    assert equal([{"a": (number * (1 + 1e-12),)}], [{"a": (number,)}])


@pytest.mark.parametrize(
    ("mine", "other", "same"),
    [
        (1, True, True),  # as Python has it
        (1.0, 1, True),
        (True, 1.0, True),
        ([1], (1,), False),
        ({1}, frozenset({1}), True),
        ("1", 1, False),
        (0.1 + 0.2, 0.3, True),
        ([0.1 + 0.2], [0.3], True),
        (0.3000001, 0.3, False),
        (float("nan"), float("nan"), False),
        (float("inf"), float("inf"), True),
        (1e300, float("inf"), False),
        (10**400, 1.0, False),
        ("0.3", 0.3, False),
        (None, 0.0, False),
        ([1.0, 2.0], [1.0], False),
        ({"a": 1.0}, {"b": 1.0}, False),
    ],
)
def test_cases(mine: object, other: object, same: bool) -> None:
    assert equal(mine, other) is same

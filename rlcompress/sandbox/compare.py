"""Equality of plain data as Python's own `==` has it, and a tolerance where a float is expected.

Both sides are built-in types here, decoded by us: no method of a candidate can answer. Types count as they do in an
assert of MBPP: 1 == 1.0 == True, but a list is no tuple. A float may miss the expected one by `RELATIVE` or `ABSOLUTE`:
sums in another order are right too.
"""

from __future__ import annotations

import math
from typing import Any

RELATIVE = 1e-9
ABSOLUTE = 1e-12


def equal(value: Any, expected: Any) -> bool:
    """Whether `value == expected`, floats within the tolerance, alone or in lists, tuples and dicts."""
    if isinstance(expected, float):
        return _number(value) and (value == expected or close(value, expected, rel_tol=RELATIVE, abs_tol=ABSOLUTE))
    if isinstance(expected, (list, tuple)):
        if type(value) is not type(expected) or len(value) != len(expected):
            return False
        return all(equal(mine, other) for mine, other in zip(value, expected, strict=True))
    if isinstance(expected, dict):
        if not isinstance(value, dict) or value.keys() != expected.keys():
            return False
        return all(equal(value[key], other) for key, other in expected.items())
    return bool(value == expected)


def close(value: Any, expected: Any, *, rel_tol: float = 1e-9, abs_tol: float = 0.0) -> bool:
    """`math.isclose`, False where it would raise."""
    if not (_number(value) and _number(expected)):
        return False
    try:
        return math.isclose(value, expected, rel_tol=rel_tol, abs_tol=abs_tol)
    except OverflowError:
        return False


def _number(value: Any) -> bool:
    return isinstance(value, (bool, int, float))

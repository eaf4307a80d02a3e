"""Plain data crosses the channel exactly, and nothing else does."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, namedtuple
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.sandbox.inside import DEPTH, MEMBERS, NotPlain, decode, encode

CAP = 1 << 20
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**400), max_value=10**400)
    | st.floats()
    | st.complex_numbers()
    | st.text(alphabet=st.characters())
    | st.text(alphabet=st.characters(categories=("Cs",)))
    | st.binary()
)
hashable = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3), max_leaves=8
)
values = st.recursive(
    hashable | st.sets(hashable, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(hashable, inner, max_size=4)
    ),
    max_leaves=20,
)


def shown(value: Any) -> str:
    """Types, order, signs of zeros and NaNs included; sets by their sorted members."""
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__}{sorted(map(shown, value))}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}{[shown(member) for member in value]}"
    if isinstance(value, dict):
        return f"dict{[(shown(key), shown(member)) for key, member in value.items()]}"
    return f"{type(value).__name__} {value.hex() if isinstance(value, float) else ascii(value)}"


@given(values)
def test_plain_data_survives_exactly(value: Any) -> None:
    assert shown(decode(encode(value, CAP))) == shown(value)


@given(st.binary(max_size=200))
def test_bytes_of_a_stranger_are_data_or_refused(data: bytes) -> None:
    try:
        value = decode(data)
    except NotPlain:
        return
    decode(encode(value, CAP))


@given(values, st.data())
def test_broken_data_is_refused_or_other_data(value: Any, data: st.DataObject) -> None:
    written = encode(value, CAP)
    cut = data.draw(st.integers(0, len(written) - 1))
    with pytest.raises(NotPlain):
        decode(written[:cut])
    with pytest.raises(NotPlain):
        decode(written + b"n\0\0\0\0")


def test_an_integer_too_long_to_print_crosses() -> None:
    assert decode(encode(7**9000, CAP)) == 7**9000


class Colour(IntEnum):
    RED = 3


class Equal(int):
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Counter("abca"), {"a": 2, "b": 1, "c": 1}),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (Point(1, [2]), (1, [2])),
        (Colour.RED, 3),
        (Equal(4), 4),
    ],
)
def test_heirs_of_plain_types_go_as_what_they_inherit_from(value: object, plain: object) -> None:
    got = decode(encode(value, CAP))
    assert type(got) is type(plain)
    assert got == plain


class Liar:
    __class__ = int  # type: ignore[assignment]


circle: list[object] = []
circle.append(circle)
deep: object = 0
for _ in range(DEPTH + 1):
    deep = [deep]
doubled: object = 0
for _ in range(50):
    doubled = [doubled, doubled]


@pytest.mark.parametrize(
    "value",
    [object(), Liar(), map(str, [1]), {1: {2: print}}, range(3), circle, deep, doubled, 1 << 9 * CAP, "x" * CAP, int],
    ids=lambda value: type(value).__name__,
)
def test_all_else_is_refused(value: object) -> None:
    with pytest.raises(NotPlain):
        encode(value, CAP)


@pytest.mark.parametrize("make", [set, frozenset, dict.fromkeys])
def test_members_that_may_collide_are_bounded_on_both_sides(make: Any) -> None:
    decode(encode(make(range(MEMBERS)), CAP))
    with pytest.raises(NotPlain):
        encode(make(range(MEMBERS + 1)), CAP)
    few = encode(make(range(2)), CAP)
    with pytest.raises(NotPlain):
        decode(few[:1] + (MEMBERS + 1).to_bytes(4, "big") + few[5:] * MEMBERS)
    half = make(range(MEMBERS // 2 + 1))
    assert len(encode([half], CAP)) < CAP
    with pytest.raises(NotPlain):
        encode([half, half], CAP)
    one = encode(half, CAP)
    with pytest.raises(NotPlain):
        decode(b"l\0\0\0\2" + one + one)


def test_unhashable_keys_of_a_stranger_are_refused() -> None:
    empty_list, nothing = b"l\0\0\0\0", b"n\0\0\0\0"
    for data in (b"e\0\0\0\1" + empty_list, b"d\0\0\0\1" + empty_list + nothing):
        with pytest.raises(NotPlain):
            decode(data)


def test_infinities_and_zeros_keep_their_sign() -> None:
    got = decode(encode([math.inf, -math.inf, -0.0], CAP))
    assert repr(got) == "[inf, -inf, -0.0]"

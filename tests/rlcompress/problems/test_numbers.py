"""Numbers of a text, however written."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.problems.numbers import joined, mentions, numbers, visible

_ONES = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen
"""
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety"
ONES, TENS = _ONES.split(), _TENS.split()


def aloud(number: int) -> str:
    """A number in English words."""
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10] + (f"-{ONES[number % 10]}" if number % 10 else "")
    if number < 1000:
        return f"{ONES[number // 100]} hundred" + (f" and {aloud(number % 100)}" if number % 100 else "")
    if number < 10**6:
        return f"{aloud(number // 1000)} thousand" + (f" {aloud(number % 1000)}" if number % 1000 else "")
    return f"{aloud(number // 10**6)} million" + (f" {aloud(number % 10**6)}" if number % 10**6 else "")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("Tom has 12 apples and 3.5 pears.", ["12", "7/2"]),
        ("5-3 and -4", ["5", "3", "4"]),
        ("$1,234.50, not 1,23", ["2469/2", "1", "23"]),
        ("half, a third, a quarter, twice, a dozen", ["1/2", "1/3", "1/4", "2", "12"]),
        ("190th x190y 20%", ["190", "190", "20"]),
        ("１９０ and ١٩٠ and 1\u200b90", ["190", "190", "190"]),
        ("x²", ["2"]),
        ("½ cup", ["1/2"]),
        ("CXC men, mix and I", ["190"]),
        ("five six", ["5", "6"]),
        ("twenty and thirty", ["20", "30"]),
        ("one hundred and", ["100"]),
        ("no numbers at all", []),
    ],
)
def test_what_is_mentioned(text, values):
    assert [mention.value for mention in mentions(text)] == [Fraction(value) for value in values]


def test_a_ratio_is_itself_and_its_parts():
    assert numbers("1/2") == {Fraction(1, 2), Fraction(1), Fraction(2)}
    assert numbers("2 1/2") == {Fraction(5, 2), Fraction(2), Fraction(1)}
    assert Fraction(190) in numbers("380/2")
    assert numbers("3/0") == {Fraction(3), Fraction(0)}


@given(st.integers(0, 10**8))
def test_words_say_the_number(number):
    assert number in numbers(f"They have {aloud(number)} coins.")


@given(st.integers(0, 10**12))
def test_digits_say_the_number(number):
    assert numbers(f"({number:,})") == numbers(f"n={number}.") == {Fraction(number)}


@pytest.mark.parametrize("text", ["1 9 0", "1-9-0", "19, 0", "one nine zero", "one 90"])
def test_digits_written_apart(text):
    assert Fraction(190) in joined(text) | numbers(text)


def test_far_apart_is_not_joined():
    assert joined("19 apples and 0 pears") == frozenset()


def test_what_is_not_seen_is_left_out():
    assert visible("a\u200bb\u0301 ｃ") == "ab c"


@given(st.text(max_size=60))
def test_no_text_makes_it_fail(text):
    assert {m.value for m in mentions(text)} <= numbers(text)
    assert all(value.denominator == 1 for value in joined(text))

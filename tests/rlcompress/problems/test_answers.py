"""Extraction of answers: the strict form, the forms that are counted apart, and what is no answer."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.problems.answers import Form, extract, gold_value, strict_number

STRICT = {
    "#### 42": "42",
    "####42": "42",
    "so 3 and 5\n#### 42": "42",
    "#### 42\n": "42",
    "#### 42.": "42",
    "#### 42.0": "42",
    "#### 042": "42",
    "#### 1,234": "1234",
    "#### 1,234.50": "2469/2",
    "#### 109,200,000": "109200000",
    "#### 1,00,000": "100000",
    "#### -5": "-5",
    "#### −5": "-5",
    "#### +5": "5",
    "#### $5": "5",
    "#### $-5": "-5",
    "#### -$5": "-5",
    "#### $ 5.25": "21/4",
    "#### €12": "12",
    "#### 12€": "12",
    "#### 12%": "12",
    "#### 12 apples": "12",
    "#### 12 km/h": "12",
    "#### .5": "1/2",
    "#### 1/2": "1/2",
    "#### 1 / 2": "1/2",
    "#### 3 1/2 cups": "7/2",
    "#### -3/4": "-3/4",
    "#### **42**": "42",
    "#### 42\nor so\n#### 42.00": "42",
}
NOT_STRICT = {
    "#### 42 or 43": Form.AMBIGUOUS,
    "#### 42\n#### 43": Form.AMBIGUOUS,
    "#### 42 #### 43": Form.AMBIGUOUS,
    "#### 5 dollars and 50 cents": Form.AMBIGUOUS,
    "#### 10:30": Form.AMBIGUOUS,
    "#### 1e5": Form.AMBIGUOUS,
    "#### 3,5": Form.AMBIGUOUS,
    "#### 12,34": Form.AMBIGUOUS,
    "#### 1/0": Form.AMBIGUOUS,
    "#### --5": Form.AMBIGUOUS,
    "#### -$-5": Form.AMBIGUOUS,
    "#### x = 5": Form.AMBIGUOUS,
    "#### 1.2.3": Form.AMBIGUOUS,
    "####": Form.MISSING,
    "42 ####": Form.MISSING,
    "#### forty-two": Form.MISSING,
    "": Form.MISSING,
    "no number here": Form.MISSING,
}
FALLBACKS = {
    "The answer is 7.": ("7", Form.SAID),
    "The answer is: $1,234.": ("1234", Form.SAID),
    "Final answer -3 of 10": ("-3", Form.SAID),
    "The answer is 3. No, the answer is 4. I had 9.": ("4", Form.SAID),
    "we see \\boxed{12} and 13": ("12", Form.BOXED),
    "we get 3, then 8 apples": ("8", Form.LAST),
    "42": ("42", Form.LAST),
    "5 - 3": ("3", Form.LAST),
    "5-3": ("3", Form.LAST),
    "it fell to -3": ("-3", Form.LAST),
    "3/4 of it": ("3/4", Form.LAST),
    "model2 says 3": ("3", Form.LAST),
    "costs $1,200.50 in all": ("2401/2", Form.LAST),
}


@pytest.mark.parametrize(("text", "value"), STRICT.items())
def test_the_strict_form(text, value):
    answer = extract(text)
    assert (answer.value, answer.form, answer.strict) == (Fraction(value), Form.STRICT, True)


@pytest.mark.parametrize(("text", "form"), NOT_STRICT.items())
def test_what_is_no_answer(text, form):
    answer = extract(text)
    assert (answer.value, answer.form) == (None, form)


@pytest.mark.parametrize(("text", "found"), FALLBACKS.items())
def test_other_forms_are_counted_apart(text, found):
    value, form = found
    answer = extract(text)
    assert (answer.value, answer.form, answer.strict) == (Fraction(value), form, False)


def test_hedging_with_many_numbers_is_no_strict_answer():
    """X10: whoever lists every number has answered with none of them."""
    hedged = " ".join(map(str, range(100)))
    assert not extract(hedged).strict
    assert extract(f"#### {hedged}").value is None
    assert extract("\n".join(f"#### {n}" for n in range(100))).value is None
    assert extract(f"#### 41\n{hedged} 42").value == 41


@given(st.integers(-(10**12), 10**12), st.integers(0, 99))
def test_separators_and_trailing_zeros_change_no_value(whole, cents):
    expected = Fraction(f"{whole}.{cents:02}")
    for text in (
        f"{whole}.{cents:02}",
        f"{whole:,}.{cents:02}",
        f"{whole:,}.{cents:02}00",
        f"${whole:,}.{cents:02} each",
    ):
        assert strict_number(text) == expected


@given(st.text(max_size=80))
def test_no_text_makes_it_fail(text):
    assert extract(text).form in Form
    assert extract(f"#### {text}").form in (Form.STRICT, Form.AMBIGUOUS, Form.MISSING)


def test_equality_is_exact():
    assert extract("#### 0.1").value == Fraction(1, 10)
    assert extract("#### 0.300000000000001").value != Fraction(3, 10)
    assert extract("#### 12345678901234567890").value == 12345678901234567890


def test_gold_answers_as_solution_or_number():
    assert gold_value("3+4 = <<3+4=7>>7\n#### 7") == 7
    assert gold_value("7") == 7
    assert gold_value("seven, or 8") is None


def test_every_published_answer(real_data):
    rows = [json.loads(line) for line in (real_data / "gsm8k" / "train.jsonl").read_text().strip().split("\n")]
    assert len(rows) == 7473
    for row in rows:
        answer = extract(row["answer"])
        assert answer.strict
        assert answer.value == int(row["answer"].split("#### ")[1].replace(",", ""))

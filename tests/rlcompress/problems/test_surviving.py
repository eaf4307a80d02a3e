"""What is still there of a prompt: numbers by value, and the question."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from rlcompress.problems.problem import question_of
from rlcompress.problems.surviving import number_change, question_stays

ORIGINAL = "Tom had a dozen eggs. Mr. Low ate half of them and 1.5 pies for $3. How many eggs does Tom have left?"


def fractions(*values: str) -> set[Fraction]:
    return {Fraction(value) for value in values}


@pytest.mark.parametrize(
    ("rewrite", "lost", "new"),
    [
        (ORIGINAL, [], []),
        ("Tom 12 eggs. Low ate 1/2, 1 1/2 pies $3.00. Eggs left?", [], []),
        ("Tom 12 eggs - half. Eggs left?", ["3/2", "3"], []),
        ("Tom 12 eggs, 6 eaten, half, 1.5, 3. Eggs left?", [], ["6"]),
        ("12/3, half, 1.5", [], []),
        ("12/4, half, 1.5, 3", [], ["4"]),
        ("", ["12", "1/2", "3/2", "3"], []),
        ("1 2, half, 1.5, 3", ["12"], ["1", "2"]),
    ],
)
def test_numbers_are_compared_by_value(rewrite, lost, new):
    change = number_change(ORIGINAL, rewrite)
    assert change.lost == fractions(*lost)
    assert change.new - fractions("1", "2") == fractions(*new) - fractions("1", "2")
    assert change.survived == fractions("12", "1/2", "3/2", "3") - fractions(*lost)


@pytest.mark.parametrize(
    ("rewrite", "stays"),
    [
        (ORIGINAL, True),
        ("Tom 12 eggs, half eaten. Eggs left?", True),
        ("Tom 12 eggs\nhow many left", True),
        ("Tom 12 eggs, half eaten.", False),
        ("Tom 12 eggs, half eaten. How many pies?", False),
        ("Tom 12 eggs left. How?", False),
        ("?", False),
        ("", False),
    ],
)
def test_the_question_stays(rewrite, stays):
    assert question_stays(ORIGINAL, rewrite) is stays


def test_the_question_of_a_text():
    assert question_of(ORIGINAL) == "How many eggs does Tom have left?"
    assert question_of("How old is Al? Bo is 3 years older than Mr. Al.") == "How old is Al?"
    assert question_of("Find 3 apples. Give the sum.") == "Give the sum."
    assert question_of(" ") == ""


def test_a_prompt_that_asks_without_a_question_mark():
    original = "Al has 3 pens. Give the sum of the pens and 4 cups."
    assert question_stays(original, "Al 3 pens. Sum of pens, 4 cups.")
    assert not question_stays(original, "Al is here.")


def test_every_published_prompt_keeps_its_own_question_and_numbers(real_data):
    for line in (real_data / "gsm8k" / "train.jsonl").read_text().strip().split("\n")[::10]:
        text = json.loads(line)["question"]
        assert question_stays(text, text), text
        change = number_change(text, text)
        assert not change.lost, text
        assert not change.new, text

"""Problems out of prepared rows."""

from __future__ import annotations

from fractions import Fraction

import pytest

from rlcompress.errors import UserError
from rlcompress.problems.generated import generated_problems
from rlcompress.problems.problem import WordProblem, problem_of
from rlcompress.words import Example


def test_a_row_carries_all_that_is_needed():
    for problem in generated_problems(5):
        again = problem_of(problem.example())
        assert (again.text, again.answer, again.results) == (problem.text, problem.answer, problem.results)
        assert again.question == problem.question
        assert again.clauses == ()
        assert again.template == problem.template != ""
        assert again.example() == problem.example()


def test_a_row_that_is_its_own_group_has_no_template():
    assert problem_of(Example("a#1", "How many?", answer="3", group="a#1")).template == ""
    assert problem_of(Example("a#1", "How many?", answer="3", group="a")).template == "a"


def test_a_row_with_its_question_apart_and_a_plain_answer():
    problem = problem_of(Example("a#1", "Tom has 3 cups.", question="How many cups?", answer="$1,003"))
    assert problem.text == "Tom has 3 cups. How many cups?"
    assert problem.results == (Fraction(1003),)


@pytest.mark.parametrize("answer", [None, "forty", "#### 3 or 4"])
def test_a_row_without_a_number_is_named(answer):
    with pytest.raises(UserError, match=r"a#1: .*#### 42"):
        problem_of(Example("a#1", "How many?", answer=answer))


def test_a_problem_needs_a_text():
    with pytest.raises(ValueError, match="no text"):
        WordProblem("a", "  ", "#### 3", "here")

"""The evaluator by rule: it solves what is generated, whatever the register, and is wrong where it should be."""

from __future__ import annotations

import pytest

from rlcompress.judges.clauses import ClauseEvaluator, solve
from rlcompress.problems.generated import PROBLEM_SPLITS, generated_problems
from rlcompress.problems.lexicon import REGISTERS
from rlcompress.problems.shortening import LEVELS, shorten
from rlcompress.rewards.solving import Outcome, correct
from rlcompress.words import Solve


@pytest.mark.parametrize("split", PROBLEM_SPLITS)
def test_it_solves_originals_in_every_register_step_by_step(split):
    for problem in generated_problems(40, split, registers=REGISTERS, distractors=(0, 3)):
        assert solve(problem.text) == problem.solution


@pytest.mark.parametrize("level", LEVELS)
def test_it_solves_what_the_rules_shorten(level):
    for problem in generated_problems(40, seed=1):
        assert solve(shorten(problem.text, level)) == problem.solution


def test_a_lost_clause_is_a_wrong_answer_and_no_clause_is_none():
    problem = next(p for p in generated_problems(40) if p.template.count("-") == 2)
    needed = [clause for clause in problem.clauses if clause.needed and clause.kind != "question"]
    without = " ".join(clause.text for clause in problem.clauses if clause is not needed[1])
    assert solve(without)
    assert correct(Outcome.read(solve(without)), problem.answer) == 0.0
    assert solve(problem.question) == solve("") == ""


def test_verdicts():
    right, wrong, unasked = ClauseEvaluator().judge(
        [Solve("Tom: 80 apples. + 110.", "190"), Solve("Tom: 80 apples. + 110.", "80"), Solve("7 shared by 0 friends.")]
    )
    assert right.detail["said"] == "<<80+110=190>>190\n#### 190"
    assert right.score < wrong.score
    assert (right.tokens, unasked.tokens) == (3, 0)
    assert unasked.detail["said"] == "#### 7"
    assert solve("Tom: 7. 0 friends share.") == "<<7/0=0>>0\n#### 0"

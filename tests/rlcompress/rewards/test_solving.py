"""Outcomes of an evaluator: relative to the original, agreement, steps; a failure is NaN and never 0."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction

import pytest

from rlcompress.problems.answers import Form
from rlcompress.rewards.solving import (
    Outcome,
    answer_agreement,
    correct,
    reasoning_similarity,
    relative_correctness,
    tally,
)
from rlcompress.words import Judgement, Status

GOLD = Fraction(19)
RIGHT = Outcome.read("<<80+110=190>>190\n<<190/10=19>>19\n#### 19")
WRONG = Outcome.read("<<80+110=190>>190\n<<190-10=180>>180\n#### 180")
LOOSE = Outcome.read("so it is 19")
SILENT = Outcome.read("I do not know")
FAILED = Outcome.of(Judgement.failed("out of memory"))


def test_a_verdict_is_read():
    assert Outcome.of(Judgement(1.0, detail={"said": "<<4+5=9>>9\n#### 9"})) == Outcome.read("<<4+5=9>>9\n#### 9")
    assert RIGHT.answer.value == GOLD
    assert RIGHT.steps == (190, 19)
    assert FAILED.status is Status.JUDGE_FAILED
    assert pickle.loads(pickle.dumps([RIGHT, FAILED])) == [RIGHT, FAILED]


def test_only_the_strict_form_counts_unless_others_are_allowed():
    assert (correct(RIGHT, GOLD), correct(WRONG, GOLD), correct(LOOSE, GOLD), correct(SILENT, GOLD)) == (1, 0, 0, 0)
    assert correct(LOOSE, GOLD, {Form.STRICT, Form.LAST}) == 1


@pytest.mark.parametrize(
    ("after", "before", "worth"), [(RIGHT, RIGHT, 0.5), (WRONG, RIGHT, 0.0), (RIGHT, WRONG, 1.0), (WRONG, WRONG, 0.5)]
)
def test_relative_to_the_original(after, before, worth):
    assert relative_correctness(after, before, GOLD) == worth


def test_what_cannot_be_solved_decides_nothing():
    worth = {relative_correctness(after, WRONG, Fraction(7)) for after in (RIGHT, WRONG, LOOSE, SILENT)}
    assert worth == {0.5}


def test_agreement_whether_right_or_wrong():
    assert answer_agreement(WRONG, WRONG) == 1.0
    assert answer_agreement(LOOSE, RIGHT) == 1.0
    assert answer_agreement(WRONG, RIGHT) == 0.0
    assert answer_agreement(SILENT, SILENT) == 0.0


def test_steps_are_compared_as_often_as_both_have_them():
    assert reasoning_similarity(RIGHT, RIGHT) == 1.0
    assert reasoning_similarity(WRONG, RIGHT) == 0.5
    echo = Outcome.read("<<1+189=190>>" * 9 + "#### 19")
    assert reasoning_similarity(echo, RIGHT) == pytest.approx(2 * 1 / (9 + 2))
    assert reasoning_similarity(LOOSE, RIGHT) == 0.0
    assert reasoning_similarity(LOOSE, Outcome.read("#### 19")) == 1.0


@pytest.mark.parametrize(("after", "before"), [(FAILED, RIGHT), (RIGHT, FAILED), (FAILED, FAILED)])
def test_a_failed_evaluator_is_never_a_zero(after, before):
    assert math.isnan(relative_correctness(after, before, GOLD))
    assert math.isnan(answer_agreement(after, before))
    assert math.isnan(reasoning_similarity(after, before))


def test_the_tally_counts_forms_and_failures_apart():
    counted = tally([RIGHT, WRONG, LOOSE, SILENT, FAILED], [GOLD] * 5)
    assert (counted.asked, counted.failed, counted.right, counted.right_in_other_forms) == (5, 1, 1, 1)
    assert counted.forms == {"last": 1, "missing": 1, "strict": 2}
    assert counted.accuracy == 0.25
    assert math.isnan(tally([FAILED], [GOLD]).accuracy)

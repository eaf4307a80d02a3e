"""pass@k equals the share of all draws that hold a correct program; what was not judged is in no figure."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.coding.outcomes import ErrorClass
from rlcompress.measuring.programs import corpus_figures, pass_at_k, problem_figures
from tests.rlcompress.coding.verdicts import verdict


def enumerated(samples: int, correct: int, k: int) -> float:
    """Every draw of k programs, looked at."""
    draws = list(combinations(range(samples), k))
    return sum(any(program < correct for program in draw) for draw in draws) / len(draws)


@pytest.mark.parametrize("samples", range(1, 9))
def test_pass_at_k_is_the_share_of_all_draws(samples: int) -> None:
    for correct in range(samples + 1):
        for k in range(1, samples + 1):
            assert pass_at_k(samples, correct, k) == pytest.approx(enumerated(samples, correct, k), abs=1e-12)


def test_known_answers() -> None:
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)
    assert pass_at_k(200, 1, 100) == pytest.approx(0.5)
    assert pass_at_k(5, 0, 5) == 0.0
    assert pass_at_k(5, 1, 5) == 1.0


@given(st.integers(1, 100_000), st.data())
def test_large_numbers_neither_overflow_nor_leave_their_range(samples: int, data: st.DataObject) -> None:
    correct, k = data.draw(st.integers(0, samples)), data.draw(st.integers(1, samples))
    value = pass_at_k(samples, correct, k)
    assert 0.0 <= value <= 1.0
    if correct < samples:
        assert pass_at_k(samples, correct + 1, k) >= value
    exact = 1 - math.comb(samples - correct, k) / math.comb(samples, k) if samples <= 500 else value
    assert value == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize(("samples", "correct", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 4), (3, 1, 0), (0, 0, 1)])
def test_what_cannot_be(samples: int, correct: int, k: int) -> None:
    with pytest.raises(ValueError, match="pass@"):
        pass_at_k(samples, correct, k)


def test_figures_of_a_problem_leave_out_what_was_not_judged() -> None:
    attempts = [verdict("passed", "passed"), verdict("passed", "failed"), verdict("sandbox_error"), verdict("timeout")]
    figures = problem_figures(attempts)
    assert (figures.attempts, figures.judged, figures.correct) == (4, 3, 1)
    assert figures.soft == pytest.approx((1 + 0.5 + 0) / 3)
    assert figures.seconds == 0.5
    assert figures.pass_at(1) == pytest.approx(1 / 3)
    assert math.isnan(figures.pass_at(4)), "only three were judged"
    assert figures.errors[ErrorClass.SANDBOX] == 1


def test_a_corpus_is_the_mean_over_problems() -> None:
    easy = problem_figures([verdict("passed"), verdict("passed")])
    hard = problem_figures([verdict("failed"), verdict("passed")])
    lost = problem_figures([verdict("sandbox_error")])
    figures = corpus_figures([easy, hard, lost], ks=(1, 2, 3))
    assert figures["pass@1"] == 0.75
    assert figures["pass@2"] == 1.0
    assert math.isnan(figures["pass@3"])
    assert (figures["problems@1"], figures["problems@3"]) == (2, 0)
    assert (figures["attempts"], figures["judged"], figures["error/sandbox"]) == (5, 4, 1)
    assert (figures["soft_pass"], figures["seconds"]) == (0.75, 0.5)
    assert math.isnan(corpus_figures([lost])["pass@1"])

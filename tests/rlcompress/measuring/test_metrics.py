"""What is measured of one text."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.measuring import metrics
from rlcompress.text.units import unit_starts
from rlcompress.words import Compression, Judgement, Units


def compression(text: str, kept: list[bool], costs: list[int] | None = None) -> Compression:
    starts_N = unit_starts(text)
    ends_N = np.append(starts_N[1:], len(text))
    costs_N = np.asarray(costs or [1] * len(starts_N), np.int64)
    units = Units(text, starts_N, ends_N, costs_N, np.zeros(len(starts_N), np.bool_))
    return Compression(units, np.asarray(kept, np.bool_), 0.5)


def test_distortion_is_bits_per_original_token_and_accuracy_per_dropped_token():
    judgement = Judgement(score=30.0, tokens=10, dropped=4, hits=1)
    assert metrics.distortion_bits(judgement) == 3.0
    assert metrics.token_accuracy(judgement) == 0.25


def test_a_failed_judgement_is_no_zero():
    failed = Judgement.failed("timeout")
    assert math.isnan(metrics.distortion_bits(failed))
    assert math.isnan(metrics.token_accuracy(failed))
    assert all(math.isnan(value) for value in metrics.judgement_quantities(failed).values())


def test_nothing_dropped_has_no_accuracy():
    assert math.isnan(metrics.token_accuracy(Judgement(score=0.0, tokens=10)))


@pytest.mark.parametrize(
    ("answer", "kept", "retained", "contiguous"),
    [
        ("New York", "in new york, 1910", True, True),
        ("New York", "York is not New", True, False),
        ("New York", "in York", False, False),
        ("1910", "between 1910-1970", True, True),
        ("1,234.5", "exactly 1,234.5 times", True, True),
        ("the U.S.", "The U.S. army", True, True),
        ("Angeles", "a Los Angeles-based band", True, True),
        ("art", "party", False, False),  # a word, not a substring
        ("“Straße”", "STRASSE", True, True),  # case folding
        ("東京", "首都は東京です", True, True),  # no spaces: graphemes are the words
        ("東京", "首都は東です", False, False),
    ],
)
def test_answers(answer: str, kept: str, retained: bool, contiguous: bool):
    assert metrics.answer_retention(answer, kept) is retained
    assert metrics.answer_span(answer, kept) is contiguous


@given(st.text(alphabet="ab ,.1é東", max_size=20), st.text(alphabet="ab ,.1é東", max_size=40))
def test_a_contiguous_answer_is_a_retained_one(answer: str, kept: str):
    assert not metrics.answer_span(answer, kept) or metrics.answer_retention(answer, kept)


@given(st.text(alphabet="ab ,.1é東", max_size=30))
def test_the_original_keeps_every_answer_that_it_holds(text: str):
    words = metrics.bare_words(text)
    if words:
        assert metrics.answer_span(" ".join(words[:2]), " ".join(words))
    assert metrics.answer_retention(text, text)


def test_quantities_of_a_compression():
    found = metrics.compression_quantities(compression("Paris is big", [True, False, False], [3, 1, 2]), "Paris")
    assert (found["kept_tokens"], found["source_tokens"]) == (3, 6)
    assert (found["answer_kept"], found["answer_contiguous"], found["answers"]) == (1, 1, 1)


@pytest.mark.parametrize("answer", [None, "", "?!"])
def test_rows_without_an_answer_do_not_count(answer: str | None):
    found = metrics.compression_quantities(compression("Paris is big", [True, True, True]), answer)
    assert (found["answer_kept"], found["answers"]) == (0, 0)


def test_every_metric_is_made_of_stored_quantities():
    for metric in metrics.METRICS.values():
        assert {metric.numerator, metric.denominator} <= {*metrics.QUANTITIES, *metrics.FURTHER}

"""BLEU and ROUGE against slow twins and numbers worked by hand."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.rewards import similarity
from rlcompress.text.ngrams import bleu, rouge_l, rouge_n, subsequence

words = st.lists(st.sampled_from("abcde"), max_size=9)


def slow_grams(text: list[str], n: int) -> list[list[str]]:
    return [text[i : i + n] for i in range(len(text) - n + 1)]


def slow_matched(reference: list[str], candidate: list[str], n: int) -> int:
    """Cross out, one by one, what the reference has."""
    left = slow_grams(reference, n)
    matched = 0
    for gram in slow_grams(candidate, n):
        if gram in left:
            left.remove(gram)
            matched += 1
    return matched


def slow_f1(matched: int, reference: int, candidate: int) -> float:
    if not matched:
        return 0.0
    precision, recall = matched / candidate, matched / reference
    return 2 * precision * recall / (precision + recall)


def slow_subsequence(first: list[str], second: list[str]) -> int:
    for size in range(min(len(first), len(second)), 0, -1):
        if set(itertools.combinations(first, size)) & set(itertools.combinations(second, size)):
            return size
    return 0


@given(words, words, st.sampled_from([1, 2, 3]))
def test_rouge_equals_its_slow_twin(reference, candidate, n):
    sizes = len(slow_grams(reference, n)), len(slow_grams(candidate, n))
    slow = slow_f1(slow_matched(reference, candidate, n), *sizes) if any(sizes) else float(reference == candidate)
    assert rouge_n(reference, candidate, n) == pytest.approx(slow)
    assert subsequence(reference, candidate) == slow_subsequence(reference, candidate)
    if reference or candidate:
        common = slow_subsequence(reference, candidate)
        assert rouge_l(reference, candidate) == pytest.approx(slow_f1(common, len(reference), len(candidate)))


@given(words, words)
def test_bleu_equals_its_slow_twin(reference, candidate):
    if not reference or not candidate:
        assert bleu(reference, candidate) == float(reference == candidate)
        return
    product, orders = 1.0, range(1, min(4, len(reference)) + 1)
    for n in orders:
        matched, total = slow_matched(reference, candidate, n), len(slow_grams(candidate, n))
        product *= matched / total if n == 1 else (matched + 1) / (total + 1)
    brevity = min(1.0, math.exp(1 - len(reference) / len(candidate)))
    assert bleu(reference, candidate) == pytest.approx(brevity * product ** (1 / len(orders)))


@given(words, words)
def test_ranges_and_what_is_trained_on(reference, candidate):
    for found in (bleu, rouge_l, lambda r, c: rouge_n(r, c, 1), lambda r, c: rouge_n(r, c, 2)):
        assert found(reference, reference) == pytest.approx(1.0)
        assert 0.0 <= found(reference, candidate) <= 1.0 + 1e-12
    assert similarity.rouge_l(reference, candidate) <= rouge_l(reference, candidate)
    assert rouge_n(reference, candidate, 1) == pytest.approx(similarity.f1(reference, candidate))


def test_numbers_worked_by_hand():
    reference, candidate = ["police", "killed", "the", "gunman"], ["the", "gunman", "police", "killed"]
    assert rouge_l(reference, candidate) == 0.5  # "police killed" or "the gunman"
    assert rouge_n(reference, candidate, 1) == 1.0
    assert rouge_n(reference, candidate, 2) == pytest.approx(2 / 3)  # 2 of 3 and 2 of 3
    # orders 4/4, (2+1)/(3+1), (0+1)/(2+1), (0+1)/(1+1)
    assert bleu(reference, candidate) == pytest.approx((0.75 / 3 / 2) ** 0.25)
    assert bleu(["the", "the", "cat"], ["the"] * 7) == pytest.approx((2 / 7 * 2 / 7 * 1 / 6) ** (1 / 3))
    assert bleu(["a", "b"], ["c"]) == 0.0


def test_a_later_word_counts_where_nobody_trains_on_it():
    assert rouge_l(["a", "b"], ["b", "a", "b"]) == pytest.approx(0.8)
    assert similarity.rouge_l(["a", "b"], ["b", "a", "b"]) == pytest.approx(0.4)


def test_long_texts_are_compared_at_once():
    """A row of the table is one number: 30,000 words take no 900 million steps."""
    text = [str(i % 977) for i in range(30_000)]
    assert subsequence(text, text[1:]) == 29_999

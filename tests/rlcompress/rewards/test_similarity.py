"""Similarities against slow twins, worked numbers, and the promise that padding does not pay."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.rewards.similarity import SIMILARITIES, bleu, counted, exact, excess, f1, rouge_l, similarity

words = st.lists(st.sampled_from("abcde"), max_size=9)


def slow_subsequence(first: list[str], second: list[str]) -> int:
    """The longest subsequence of `first` that is one of `second`, by trying all."""
    for size in range(min(len(first), len(second)), 0, -1):
        options = set(itertools.combinations(second, size))
        if any(candidate in options for candidate in itertools.combinations(first, size)):
            return size
    return 0


def slow_counted(reference: list[str], candidate: list[str]) -> list[str]:
    return [word for i, word in enumerate(candidate) if candidate[:i].count(word) < reference.count(word)]


def slow_bleu(reference: list[str], candidate: list[str]) -> float:
    if not reference or not candidate:
        return float(reference == candidate)
    told = slow_counted(reference, candidate)
    product, orders = 1.0, range(1, min(4, len(reference)) + 1)
    for n in orders:
        mine = [tuple(told[i : i + n]) for i in range(len(told) - n + 1)]
        theirs = [tuple(reference[i : i + n]) for i in range(len(reference) - n + 1)]
        matched = sum(min(mine.count(gram), theirs.count(gram)) for gram in set(mine))
        total = max(0, len(candidate) - n + 1)
        product *= matched / total if n == 1 else (matched + 1) / (total + 1)
    if product == 0:
        return 0.0
    brevity = 1.0 if len(told) >= len(reference) else math.exp(1 - len(reference) / len(told))
    return brevity * product ** (1 / len(orders))


def slow_harmonic(matched: int, reference: int, candidate: int) -> float:
    if not reference and not candidate:
        return 1.0
    if not matched:
        return 0.0
    precision, recall = matched / candidate, matched / reference
    return 2 * precision * recall / (precision + recall)


@given(words, words)
def test_each_equals_its_slow_twin(reference, candidate):
    told = slow_counted(reference, candidate)
    assert counted(reference, candidate) == told
    sizes = len(reference), len(candidate)
    assert f1(reference, candidate) == pytest.approx(
        slow_harmonic((Counter(reference) & Counter(candidate)).total(), *sizes)
    )
    assert rouge_l(reference, candidate) == pytest.approx(slow_harmonic(slow_subsequence(reference, told), *sizes))
    assert bleu(reference, candidate) == pytest.approx(slow_bleu(reference, candidate))
    assert exact(reference, candidate) == (reference == candidate)


def test_numbers_worked_by_hand():
    reference, candidate = ["the", "cat", "sat", "on", "the", "mat"], ["the", "cat", "on", "the", "mat"]
    assert rouge_l(reference, candidate) == pytest.approx(10 / 11)  # 5 of 6 and 5 of 5
    assert f1(["a", "b", "c", "d"], ["d", "b"]) == pytest.approx(4 / 6)
    # orders 5/5, (3+1)/(4+1), (1+1)/(3+1), (0+1)/(2+1); brevity exp(1 - 6/5)
    assert bleu(reference, candidate) == pytest.approx(math.exp(-0.2) * (1 * 0.8 * 0.5 / 3) ** 0.25)


@pytest.mark.parametrize("kind", SIMILARITIES)
@given(reference=words, candidate=words)
def test_range_and_identity(kind, reference, candidate):
    value = SIMILARITIES[kind](reference, candidate)
    assert 0.0 <= value <= 1.0 + 1e-12
    assert SIMILARITIES[kind](reference, reference) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", SIMILARITIES)
@given(reference=words, candidate=words, padding=st.lists(st.sampled_from("abcdexyz"), min_size=1, max_size=9))
def test_padding_and_echoing_never_pay(kind, reference, candidate, padding):
    """Words beyond the reference's own, whatever they are: strange ones, and its own once more."""
    left = Counter(reference) - Counter(candidate)
    more = [word for word in padding if not left[word]]
    before, after = (SIMILARITIES[kind](reference, text) for text in (candidate, candidate + more))
    assert after <= before + 1e-12 or (not reference and not candidate)
    if more and before > 0:
        assert after < before


def test_the_published_bleu_would_have_paid_for_padding():
    """With the brevity penalty on all words, two right words and eighteen wrong ones beat the two right ones."""
    reference, short = [f"w{i}" for i in range(20)], ["w0", "w1"]
    published = {size: math.exp(min(0.0, 1 - 20 / size)) * (2 / size) for size in (2, 20)}  # order 1
    assert published[20] > 10 * published[2]
    assert bleu(reference, short + ["pad"] * 18) < bleu(reference, short)


def test_punctuation_and_case_do_not_count():
    assert similarity("exact", "The Cat, sat!", "the cat sat") == 1.0
    assert similarity("exact", "The Cat, sat!", "the cats sat") == 0.0


@given(st.text(max_size=30), st.text(max_size=30))
def test_excess_is_the_share_that_fits(reference, candidate):
    share = excess(reference, candidate)
    assert 0.0 <= share <= 1.0
    assert excess(reference, reference) == 1.0


def test_excess_halves_for_a_text_of_twice_the_words():
    assert excess("a b c", "a b c a b c") == 0.5

"""The trigram model against dictionaries and against the axioms of probability."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.baselines.ngram import NgramModel

rows = st.lists(st.lists(st.integers(0, 4), max_size=12), min_size=1, max_size=5).filter(any)


def slow_bits(train: list[list[int]], ids: list[int]) -> list[float]:
    """Chen and Goodman's interpolated Kneser–Ney with dictionaries of sets."""
    size = 1 + max(max(row) for row in train if row)
    trigrams: dict[tuple[int, ...], int] = defaultdict(int)
    for row in train:
        padded = [size + 1, size + 1, *row]
        for i in range(2, len(padded)):
            trigrams[tuple(padded[i - 2 : i + 1])] += 1
    bigrams = {gram: len({t[0] for t in trigrams if t[1:] == gram}) for gram in {t[1:] for t in trigrams}}
    unigrams = {gram: len({b[0] for b in bigrams if b[1:] == gram}) for gram in {b[1:] for b in bigrams}}

    def probability(context: tuple[int, ...], token: int) -> float:
        level = (unigrams, bigrams, trigrams)[len(context)]
        lower = probability(context[1:], token) if context else 1 / (size + 1)
        after = {gram: count for gram, count in level.items() if gram[:-1] == context}
        if not after:
            return lower
        ones = sum(count == 1 for count in level.values())
        twos = sum(count == 2 for count in level.values())
        discount = ones / (ones + 2 * twos) if ones else 0.5
        own = max(after.get((*context, token), 0) - discount, 0)
        return (own + discount * len(after) * lower) / sum(after.values())

    padded = [size + 1, size + 1, *(min(i, size) for i in ids)]
    return [-np.log2(probability(tuple(padded[i - 2 : i]), padded[i])) for i in range(2, len(padded))]


@given(rows, st.lists(st.integers(0, 7), max_size=8))
def test_bits_equal_the_slow_twin(train: list[list[int]], ids: list[int]) -> None:
    model = NgramModel()
    model.fit([np.array(row, np.int64) for row in train])
    assert model.bits(np.array(ids, np.int64)).tolist() == pytest.approx(slow_bits(train, ids), abs=1e-9)


@given(rows, st.lists(st.integers(0, 6), max_size=3))
def test_probabilities_sum_to_one(train: list[list[int]], before: list[int]) -> None:
    model = NgramModel()
    model.fit([np.array(row, np.int64) for row in train])
    size = 1 + max(max(row) for row in train if row)
    total = sum(2.0 ** -model.bits(np.array([*before, token], np.int64))[-1] for token in range(size + 1))
    assert total == pytest.approx(1.0)


def test_a_known_context_helps() -> None:
    model = NgramModel()
    model.fit([np.tile([0, 1, 2, 3], 20)])
    regular = model.bits(np.array([0, 1, 2, 3, 0, 1]))
    assert regular[2:].max() < 0.2 < model.bits(np.array([0, 1, 3]))[2]


def test_fitting_on_nothing_stays_unfitted() -> None:
    model = NgramModel()
    model.fit([np.zeros(0, np.int64)])
    assert not model.fitted

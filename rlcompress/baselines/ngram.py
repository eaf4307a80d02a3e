"""A trigram language model over token ids with Kneser–Ney smoothing, in sorted arrays.

Chen and Goodman, "An empirical study of smoothing techniques for language modeling" (1999), interpolated form with one
discount a level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlcompress.words import FloatArray, IntArray


def _look_up(keys_K: IntArray, counts_K: IntArray, wanted_Q: IntArray) -> IntArray:
    """Counts [Q] of `wanted_Q` among the sorted `keys_K`; 0 where absent."""
    if not len(keys_K):
        return np.zeros(len(wanted_Q), np.int64)
    at_Q = np.minimum(np.searchsorted(keys_K, wanted_Q), len(keys_K) - 1)
    return np.where(keys_K[at_Q] == wanted_Q, counts_K[at_Q], 0)


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """Counts of one order: how often a token followed its context, and how many kinds of token did.

    A context is any number ≥ 0; the event (context, token) has the number context * base + token.
    """

    base: int
    events_K: IntArray  # sorted
    counts_K: IntArray
    contexts_C: IntArray  # sorted
    totals_C: IntArray
    kinds_C: IntArray
    discount: float

    @classmethod
    def of(cls, events: IntArray, counts: IntArray, base: int) -> Level:
        """From distinct sorted events and how often each was seen."""
        contexts_C, first_C = np.unique(events // base, return_index=True)
        ones, twos = int((counts == 1).sum()), int((counts == 2).sum())
        return cls(
            base,
            events,
            counts,
            contexts_C,
            np.add.reduceat(counts, first_C),
            np.add.reduceat(np.ones_like(counts), first_C),
            discount=ones / (ones + 2 * twos) if ones else 0.5,  # Ney, Essen and Kneser (1994)
        )

    def probability(self, contexts_Q: IntArray, tokens_Q: IntArray, lower_Q: FloatArray) -> FloatArray:
        """Discounted relative frequency; what the discounts freed is spread as the lower order says."""
        count_Q = _look_up(self.events_K, self.counts_K, contexts_Q * self.base + tokens_Q)
        total_Q = _look_up(self.contexts_C, self.totals_C, contexts_Q)
        kinds_Q = _look_up(self.contexts_C, self.kinds_C, contexts_Q)
        seen_Q = np.maximum(total_Q, 1)
        higher_Q = (np.maximum(count_Q - self.discount, 0.0) + self.discount * kinds_Q * lower_Q) / seen_Q
        probability_Q: FloatArray = np.where(total_Q > 0, higher_Q, lower_Q)
        return probability_Q


class NgramModel:
    """p(token | two tokens before it). Ids that training never saw share one id of their own."""

    def __init__(self) -> None:
        self._size = 0  # ids 0 .. size - 1 were seen, `size` stands for all others, `size + 1` for the start
        self._levels: list[Level] = []

    @property
    def fitted(self) -> bool:
        return bool(self._levels)

    def fit(self, ids: Sequence[IntArray]) -> None:
        """Count the trigrams of token id lists [T]; earlier counts are forgotten."""
        self._size = 1 + max((int(ids_T.max()) for ids_T in ids if len(ids_T)), default=-1)
        if not self._size:
            self._levels = []
            return
        base = self._size + 2
        trigrams, counts = np.unique(
            np.concatenate([(a * base + b) * base + c for a, b, c in map(self._windows, ids)]), return_counts=True
        )
        bigrams, kinds_before_bigram = np.unique(trigrams % (base * base), return_counts=True)
        unigrams, kinds_before = np.unique(bigrams % base, return_counts=True)
        self._levels = [
            Level.of(unigrams, kinds_before, base),
            Level.of(bigrams, kinds_before_bigram, base),
            Level.of(trigrams, counts, base),
        ]

    def bits(self, ids_T: IntArray) -> FloatArray:
        """−log2 p [T] of each token given what stands before it in this text."""
        assert self.fitted, "fit the model first"
        before_T, last_T, tokens_T = self._windows(ids_T)
        base = self._size + 2
        contexts = (np.zeros_like(tokens_T), last_T, before_T * base + last_T)
        probability_T = np.full(len(tokens_T), 1.0 / (self._size + 1))
        for level, contexts_T in zip(self._levels, contexts, strict=True):
            probability_T = level.probability(contexts_T, tokens_T, probability_T)
        bits_T: FloatArray = -np.log2(probability_T)
        return bits_T

    def _windows(self, ids_T: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """For each token: the one two before it, the one before it, itself."""
        tokens_T = np.minimum(np.asarray(ids_T, np.int64), self._size)
        start = self._size + 1
        padded = np.concatenate([[start, start], tokens_T]).astype(np.int64)
        return padded[:-2], padded[1:-1], tokens_T

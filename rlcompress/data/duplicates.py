"""Near-duplicates: texts that share most of their word 5-grams.

Two texts match when they share at least 60 % of the 5-grams of the shorter one, so a passage that stands inside a
longer one is found too (a Jaccard similarity of 0.6 implies it). The search is exact: by the prefix filter, texts that
share k of n elements share one of the n - k + 1 rarest, and rare 5-grams have short posting lists.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import regex
from numpy.typing import NDArray

_GRAM = 5
_SHARED = 0.6
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
_WORD = regex.compile(rf"[{_UNSPACED}]|[\w--[{_UNSPACED}]]+", regex.VERSION1)
# Odd random constants: a sum of word numbers times these is a gram's code, equal in every process.
_MIXERS = np.random.default_rng(5).integers(0, 2**63, _GRAM, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def shingles(texts: Sequence[str]) -> list[NDArray[np.uint64]]:
    """Codes [K] of the distinct word 5-grams of each text, punctuation and case ignored, the rarest first.

    A text of one to four words is one gram; one without words has none.
    """
    numbers: defaultdict[str, int] = defaultdict(lambda: len(numbers) + 1)
    grams: list[NDArray[np.uint64]] = []
    for text in texts:
        words_N = np.asarray([numbers[word] for word in _WORD.findall(text.casefold())], np.uint64)
        if 0 < len(words_N) < _GRAM:
            words_N = np.pad(words_N, (0, _GRAM - len(words_N)))
        windows = (
            np.lib.stride_tricks.sliding_window_view(words_N, _GRAM) if len(words_N) else words_N.reshape(0, _GRAM)
        )
        grams.append(np.unique((windows * _MIXERS).sum(1, dtype=np.uint64)))
    codes, counts = np.unique(np.concatenate([np.empty(0, np.uint64), *grams]), return_counts=True)
    return [g[np.argsort(counts[np.searchsorted(codes, g)], kind="stable")] for g in grams]


class NearDuplicates:
    """Finds, among the texts added so far, those that nearly equal another."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._grams = [gram_K.tolist() for gram_K in shingles(texts)]
        self._sets: dict[int, frozenset[int]] = {}
        self._all: defaultdict[int, list[int]] = defaultdict(list)
        self._rare: defaultdict[int, list[int]] = defaultdict(list)

    def matches(self, number: int) -> list[int]:
        """Numbers of the added texts that nearly equal text `number`, ascending."""
        grams = self._grams[number]
        longer = {n for gram in self._rarest(grams) for n in self._all.get(gram, ())}
        shorter = {n for gram in grams for n in self._rare.get(gram, ())}
        own = frozenset(grams)
        return sorted(
            n for n in longer | shorter if len(own & self._sets[n]) >= _needed(min(len(own), len(self._sets[n])))
        )

    def add(self, number: int) -> None:
        grams = self._grams[number]
        self._sets[number] = frozenset(grams)
        for gram in grams:
            self._all[gram].append(number)
        for gram in self._rarest(grams):
            self._rare[gram].append(number)

    @staticmethod
    def _rarest(grams: list[int]) -> list[int]:
        return grams[: len(grams) - _needed(len(grams)) + 1] if grams else []


def _needed(size: int) -> int:
    """Shared grams that make a pair whose smaller text has `size` of them; 1e-9 absorbs binary rounding."""
    return max(1, math.ceil(_SHARED * size - 1e-9))

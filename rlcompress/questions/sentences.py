"""Scores of a text's sentences against a question, and how they reach its units. All are functions of arrays.

S counts sentences of one text, N its units, D channels of an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np

from rlcompress.text.units import unit_starts
from rlcompress.words import FloatArray, IntArray, Units

EMBEDDING_SHARE, BM25_SHARE = 0.7, 0.3


class Embedder(Protocol):
    """A frozen sentence encoder."""

    @property
    def version(self) -> str:
        """Names the exact weights; part of every cache key."""
        ...

    def sentences(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors [S, D] of S texts; zeros for a text in which the encoder knows nothing."""
        ...

    def words(self, text: str, spans_N2: IntArray) -> FloatArray:
        """Unit vectors [N, D] of the words at rising, disjoint character spans [N, 2] of a text, read in context."""
        ...


def sentence_texts(text: str) -> list[str]:
    """The S sentences of a text: they tile it, each with its following white space. None for an empty text."""
    bounds = [*unit_starts(text, "sentence").tolist(), len(text)]
    return [text[a:b] for a, b in pairwise(bounds)]


def sentence_numbers(units: Units) -> IntArray:
    """Which sentence [N] of `sentence_texts(units.text)` each unit starts in."""
    starts_S = unit_starts(units.text, "sentence")
    return (np.searchsorted(starts_S, units.starts_N, side="right") - 1).astype(np.int64)


def cosines(vectors_SD: FloatArray, question_D: FloatArray) -> FloatArray:
    """Cosines [S] of unit vectors with that of a question; 0 where either is zero."""
    result: FloatArray = vectors_SD @ question_D
    return result


def scaled(scores_S: FloatArray) -> FloatArray:
    """Scores [S] of one text's sentences as shares of its best one's, in [0, 1].

    What is negative counts as 0, so that a text whose best sentence hardly matches has no huge negative shares; all
    are 0 where no sentence has a positive score.
    """
    positive_S = np.maximum(np.asarray(scores_S, np.float64), 0.0)
    best = positive_S.max(initial=0.0)
    return positive_S / best if best > 0 else positive_S


def mix(embedding_S: FloatArray, bm25_S: FloatArray) -> FloatArray:
    """0.7 · embedding + 0.3 · BM25 [S], each scaled to its best sentence here; in [0, 1]."""
    return EMBEDDING_SHARE * scaled(embedding_S) + BM25_SHARE * scaled(bm25_S)


def spread(scores_S: FloatArray, sentence_N: IntArray) -> FloatArray:
    """The score [N] of the sentence that each unit belongs to."""
    return np.asarray(scores_S, np.float64)[sentence_N]

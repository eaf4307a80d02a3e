"""A judge of word counts, without torch: for environments made alone and for fast tests.

D(S) is the bits of the dropped words, each predicted from the nearest kept word on its left, if that is close, else
from word frequency alone. It shows a policy what real judges show (rare words cost more, neighbours help), no more.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence

import numpy as np

from rlcompress.baselines.ngram import Level
from rlcompress.data.corpus import builtin_documents
from rlcompress.text.units import token_units, word_starts
from rlcompress.words import BoolArray, FloatArray, IntArray, Judgement, JudgeRequest

_REACH = 3  # words; a kept word farther to the left says nothing
_DOCUMENTS = 60


class WordTokenizer:
    """One token a word, case-folded; id 0 is any word that was not in the texts."""

    name = "words"

    def __init__(self, texts: Sequence[str]) -> None:
        words = sorted({word for text in texts for word in self._cut(text)[0]})
        self._ids = {word: i for i, word in enumerate(words, start=1)}

    @property
    def vocabulary(self) -> int:
        return len(self._ids) + 1

    @property
    def version(self) -> str:
        return hashlib.blake2b("\n".join(self._ids).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    def encode(self, text: str) -> tuple[IntArray, IntArray]:
        words, spans_T2 = self._cut(text)
        return np.array([self._ids.get(word, 0) for word in words], np.int64), spans_T2

    def _cut(self, text: str) -> tuple[list[str], IntArray]:
        starts_T = word_starts(text)
        spans_T2 = np.stack([starts_T, np.append(starts_T[1:], len(text))[: len(starts_T)]], axis=1)
        return [text[a:b].strip().casefold() for a, b in spans_T2.tolist()], spans_T2


class NgramJudge:
    """Word unigrams and bigrams with gaps, fitted on `texts`; a verdict takes microseconds."""

    def __init__(self, tokenizer: WordTokenizer, texts: Sequence[str]) -> None:
        self.tokenizer = tokenizer
        self._base = tokenizer.vocabulary
        rows = [tokenizer.encode(text)[0] for text in texts]
        pairs = [ids_T[:-gap] * self._base + ids_T[gap:] for ids_T in rows for gap in range(1, _REACH + 1)]
        self._words = Level.of(*np.unique(np.concatenate(rows), return_counts=True), self._base)
        self._pairs = Level.of(*np.unique(np.concatenate(pairs), return_counts=True), self._base)
        self._guess_V = self._guesses()
        self.version = self._hash()

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        return [self._judge(request) for request in requests]

    def _judge(self, request: JudgeRequest) -> Judgement:
        ids_T, spans_T2 = self.tokenizer.encode(request.source)
        owner_T = token_units(request.source, request.unit_starts_N, spans_T2)
        dropped_T = ~request.kept_N[owner_T]
        left_T = self._left_neighbours(ids_T, ~dropped_T)
        bits_T = np.where(dropped_T, -np.log2(self._probability(left_T, ids_T)), 0.0)
        return Judgement(
            score=float(bits_T.sum()),
            version=self.version,
            per_unit_N=np.bincount(owner_T, bits_T, minlength=len(request.kept_N)).astype(np.float64),
            tokens=len(ids_T),
            dropped=int(dropped_T.sum()),
            hits=int((dropped_T & (self._guess_V[left_T] == ids_T)).sum()),
        )

    def _left_neighbours(self, ids_T: IntArray, kept_T: BoolArray) -> IntArray:
        """Id [T] of the nearest kept word before each, 0 where none is within reach."""
        position_T = np.arange(len(ids_T))
        last_T = np.maximum.accumulate(np.where(kept_T, position_T, -_REACH - 1))
        before_T = np.append(-_REACH - 1, last_T)[:-1]
        near_T = position_T - before_T <= _REACH
        return np.where(near_T, ids_T[np.where(near_T, before_T, 0)], 0)

    def _probability(self, left_T: IntArray, ids_T: IntArray) -> FloatArray:
        frequency_T = self._words.probability(np.zeros_like(ids_T), ids_T, np.full(len(ids_T), 1.0 / self._base))
        return self._pairs.probability(left_T, ids_T, frequency_T)

    def _guesses(self) -> IntArray:
        """The most likely word [V] after each kept word; entry 0 is the most frequent word of all."""
        frequent = int(self._words.events_K[np.argmax(self._words.counts_K)])
        guess_V = np.full(self._base, frequent, np.int64)
        left_K, word_K = np.divmod(self._pairs.events_K, self._base)
        chance_K = self._probability(left_K, word_K)
        rising_K = np.lexsort((-word_K, chance_K))  # ties: the smaller id wins, as it is written last
        guess_V[left_K[rising_K]] = word_K[rising_K]
        every_V = np.arange(self._base)
        by_frequency_V = self._probability(every_V, np.full_like(every_V, frequent))
        return np.where(by_frequency_V > self._probability(every_V, guess_V), frequent, guess_V)

    def _hash(self) -> str:
        h = hashlib.blake2b(self.tokenizer.version.encode(), digest_size=8)
        for level in (self._words, self._pairs):
            h.update(level.events_K.tobytes())
            h.update(level.counts_K.tobytes())
        return f"ngram-{h.hexdigest()}"


@functools.cache
def default_ngram_judge() -> NgramJudge:
    """The judge of `gym.make(id)` alone, fitted once a process on the documentation topics of Python."""
    texts = [text for _, text in builtin_documents(_DOCUMENTS)]
    return NgramJudge(WordTokenizer(texts), texts)

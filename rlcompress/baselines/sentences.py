"""Baselines that keep the sentences that match the question: by BM25 (its stop words left out), by an encoder, by both.

Every unit has its sentence's score, ties by position, so a budget ends inside a sentence. Independent of the rate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rlcompress.baselines.method import questions_of
from rlcompress.errors import UserError
from rlcompress.questions.bm25 import asked_words, bm25
from rlcompress.questions.sentences import Embedder, cosines, mix, sentence_numbers, sentence_texts, spread
from rlcompress.text.bare import bare_words
from rlcompress.words import Example, FloatArray, Units

Score = Callable[[list[str], str, Embedder | None], FloatArray]


def by_bm25(sentences: list[str], question: str, embedder: Embedder | None) -> FloatArray:
    return bm25([bare_words(sentence) for sentence in sentences], asked_words(question))


def by_embedding(sentences: list[str], question: str, embedder: Embedder | None) -> FloatArray:
    assert embedder is not None
    return cosines(embedder.sentences(sentences), embedder.sentences([question])[0])


def by_mix(sentences: list[str], question: str, embedder: Embedder | None) -> FloatArray:
    return mix(by_embedding(sentences, question, embedder), by_bm25(sentences, question, embedder))


class SentenceMethod:
    """Ranks the sentences of each text by `score`, which all but BM25 take an encoder for."""

    stochastic = False
    keeps_all = False

    def __init__(self, name: str, score: Score, embedder: Embedder | None = None) -> None:
        self.name = name
        self._score = score
        self._embedder = embedder

    def passes_of(self, units: Units) -> int:
        return 0 if self._embedder is None else 1

    def priorities(
        self, units: Sequence[Units], examples: Sequence[Example], rate: float, seed: int
    ) -> list[FloatArray]:
        if self._embedder is None and self._score is not by_bm25:
            raise UserError(
                f"baseline {self.name} needs an encoder that is fitted or loaded with a run's configuration: "
                "evaluate a run, or leave it out"
            )
        asked = questions_of(self.name, examples)
        split = [sentence_texts(u.text) for u in units]
        if self._embedder is not None:  # all at once, so that the encoder reads in full batches
            self._embedder.sentences([*asked, *(sentence for sentences in split for sentence in sentences)])
        return [
            spread(self._score(sentences, question, self._embedder), sentence_numbers(u)) if sentences else np.zeros(0)
            for u, sentences, question in zip(units, split, asked, strict=True)
        ]

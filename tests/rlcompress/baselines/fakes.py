"""A language model that can be checked by hand, and everything that a baseline may be made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlcompress.baselines import Method, build_methods
from rlcompress.config.embedding import EmbedderConfig
from rlcompress.judges.ngram import NgramJudge, WordTokenizer
from rlcompress.models.embedder import TextEmbedder, build_embedder
from rlcompress.words import FloatArray, IntArray

TRAIN = [
    "the cat sat on the mat and the dog sat on the rug",
    "the dog and the cat saw the small bird on the mat",
    "a small cat and a small dog ran to the rug",
] * 4
TOKENIZER = WordTokenizer(TRAIN)
JUDGE = NgramJudge(TOKENIZER, TRAIN)
SEGMENT = 4


class Remembering:
    """A token costs 1 bit where it stood before, else 4, and a fraction by how much stands before it."""

    def __init__(self, tokenizer: WordTokenizer, window: int = 1000) -> None:
        self.tokenizer = tokenizer
        self.window = window
        self.calls: list[list[tuple[list[int], list[int]]]] = []

    def bits(self, texts: Sequence[str]) -> list[FloatArray]:
        return self.continuation_bits([(np.zeros(0, np.int64), self.tokenizer.encode(text)[0]) for text in texts])

    def continuation_bits(self, rows: Sequence[tuple[IntArray, IntArray]]) -> list[FloatArray]:
        self.calls.append([(prefix.tolist(), continuation.tolist()) for prefix, continuation in rows])
        return [self.one(*row) for row in self.calls[-1]]

    def one(self, prefix: list[int], continuation: list[int]) -> FloatArray:
        before = list(prefix)
        bits = []
        for token in continuation:
            bits.append((1.0 if token in before else 4.0) + 1.0 / (1 + len(before)))
            before.append(token)
        return np.array(bits)


def embedder() -> TextEmbedder:
    return build_embedder(EmbedderConfig(dimension=8), TRAIN)


def build(name: str) -> Method:
    """The baseline with all that it may ask."""
    return build_methods(
        [name],
        tokenizer=TOKENIZER,
        train_texts=TRAIN,
        judge=JUDGE,
        embedder=embedder,
        language_model=lambda: Remembering(TOKENIZER),
        segment=SEGMENT,
    )[0]

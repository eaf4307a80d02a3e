"""`builtin:lsa`: latent semantic analysis, fitted on training texts in seconds.

Deerwester, Dumais, Furnas, Landauer and Harshman, "Indexing by Latent Semantic Analysis" (1990): a matrix of sentences
by words, weighted by tf-idf (1 + ln tf, ln((1 + S) / (1 + df)) + 1, rows of length 1), is cut to its largest singular
values. A word's vector is its idf times its row of right singular vectors; a text's is the mean of its words'. Words
that stand in the same sentences come to lie near each other, so a sentence can match a question without sharing a word.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array
from scipy.sparse.linalg import svds

from rlcompress.config.embedding import EmbedderConfig
from rlcompress.errors import UserError
from rlcompress.questions.sentences import sentence_texts
from rlcompress.text.bare import bare_words
from rlcompress.text.units import word_starts
from rlcompress.words import FloatArray, IntArray

_WORDS, _VECTORS = "words.json", "words.safetensors"


class LatentSemantics:
    """Vectors [V, D] of the V known words; all others are nothing."""

    def __init__(self, words: Sequence[str], vectors_VD: FloatArray) -> None:
        self.words = list(words)
        # as they are saved, so that a loaded model says the same
        self.vectors_VD = np.ascontiguousarray(vectors_VD, np.float32)
        self._number = {word: v for v, word in enumerate(self.words)}

    @classmethod
    def fit(cls, texts: Sequence[str], config: EmbedderConfig) -> Self:
        """Learn from the sentences of training texts.

        Raises:
            UserError: they hold no word that stands in two sentences.
        """
        counts = [Counter(bare_words(sentence)) for text in texts for sentence in sentence_texts(text)]
        counts = [count for count in counts if count]
        df = Counter(word for count in counts for word in count)
        common = sorted((word for word in df if df[word] > 1), key=lambda word: (-df[word], word))
        words = sorted(common[: config.vocabulary])
        if not words:
            raise UserError("builtin:lsa is fitted on training texts and they share no words: give it more text")
        df_V = np.array([df[word] for word in words], np.float64)
        idf_V = np.log((1.0 + len(counts)) / (1.0 + df_V)) + 1.0
        return cls(words, idf_V[:, None] * _components(_matrix(counts, words, idf_V), config.dimension))

    @property
    def dimension(self) -> int:
        return int(self.vectors_VD.shape[1])

    @property
    def version(self) -> str:
        h = hashlib.blake2b(json.dumps([self.words, self.vectors_VD.shape]).encode(), digest_size=8)
        h.update(self.vectors_VD.tobytes())
        return f"lsa@{h.hexdigest()}"

    def sentences(self, texts: Sequence[str]) -> FloatArray:
        """Means [S, D] of the vectors of each text's words."""
        return np.stack([self._mean(bare_words(text)) for text in texts])

    def _mean(self, words: Sequence[str]) -> FloatArray:
        known = [self._number[word] for word in words if word in self._number]
        total_D: FloatArray = self.vectors_VD[known].astype(np.float64).sum(0)
        return total_D / max(1, len(words))

    def states(self, text: str) -> tuple[FloatArray, IntArray]:
        """Vectors [T, D] of the words of a text and their character spans [T, 2]."""
        bounds_T2 = np.array(list(pairwise([*word_starts(text).tolist(), len(text)])), np.int64).reshape(-1, 2)
        states = [self._mean([text[a:b].strip().casefold()]) for a, b in bounds_T2.tolist()]
        return np.array(states).reshape(len(bounds_T2), self.dimension), bounds_T2

    def save(self, folder: Path) -> None:
        (folder / _WORDS).write_text(json.dumps(self.words, ensure_ascii=False), encoding="utf-8")
        save_file({"vectors_VD": self.vectors_VD}, str(folder / _VECTORS))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What `save` wrote; UserError where it is missing or damaged."""
        try:
            words = json.loads((folder / _WORDS).read_text(encoding="utf-8"))
            return cls(words, load_file(str(folder / _VECTORS))["vectors_VD"])
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise UserError(f"the encoder in {folder} is damaged ({error}): fit it again") from error


def _matrix(counts: Sequence[Counter[str]], words: Sequence[str], idf_V: FloatArray) -> csr_array:
    """tf-idf [S, V] with rows of length 1 (or 0)."""
    number = {word: v for v, word in enumerate(words)}
    row: list[int] = []
    column: list[int] = []
    value: list[float] = []
    for s, count in enumerate(counts):
        known = [(number[word], 1.0 + np.log(tf)) for word, tf in count.items() if word in number]
        weights = np.array([tf * idf_V[v] for v, tf in known])
        row += [s] * len(known)
        column += [v for v, _ in known]
        value += (weights / np.linalg.norm(weights)).tolist() if known else []
    return csr_array((value, (row, column)), shape=(len(counts), len(words)))


def _components(matrix_SV: csr_array, dimension: int) -> FloatArray:
    """Right singular vectors [V, D] by falling singular value; the largest entry of each is positive."""
    smaller = min(matrix_SV.shape)
    if smaller <= dimension + 1:
        _, values, right_DV = np.linalg.svd(matrix_SV.toarray(), full_matrices=False)
    else:
        start = np.ones(smaller) / np.sqrt(smaller)  # ARPACK draws one by chance otherwise
        _, values, right_DV = svds(matrix_SV, k=dimension, v0=start)
    order = np.argsort(-values, kind="stable")[:dimension]
    right_DV = right_DV[order][values[order] > 1e-9 * values.max()]
    largest_D = right_DV[np.arange(len(right_DV)), np.abs(right_DV).argmax(1)]
    components_VD: FloatArray = (right_DV * np.sign(largest_D)[:, None]).T
    return components_VD

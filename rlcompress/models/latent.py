"""`builtin:lsa`: latent semantic analysis, fitted on training texts in seconds.

Deerwester, Dumais, Furnas, Landauer and Harshman, "Indexing by Latent Semantic Analysis" (1990): a matrix of sentences
by words, weighted by tf-idf (1 + ln tf, ln((1 + S) / (1 + df)) + 1, rows of length 1), is cut to its largest singular
values. A word's vector is its idf times its row of right singular vectors; a text's is the mean of its words'. Words
that stand in the same sentences come to lie near each other, so a sentence can match a question without sharing a word.

Half of what the cut loses of a word is kept in a direction of the word's own, and all of a word that training never
saw: random signs, nearly orthogonal to those of any other word (Sahlgren, "An Introduction to Random Indexing", 2005).
So the same rare name in question and sentence brings them together, which the cut alone forgets.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from rlcompress.config.embedding import EmbedderConfig
from rlcompress.errors import UserError
from rlcompress.questions.sentences import sentence_texts
from rlcompress.text.bare import bare_words
from rlcompress.text.units import word_starts
from rlcompress.words import FloatArray, IntArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_WORDS, _VECTORS = "words.json", "words.safetensors"
_OWN = 0.5  # share of what the cut loses that stays in a word's own direction


class LatentSemantics:
    """Vectors [V, D] of the V known words; each other word has a direction of its own, of length `unknown`."""

    def __init__(self, words: Sequence[str], vectors_VD: FloatArray, unknown: float) -> None:
        self.words = list(words)
        self.unknown = unknown
        # as they are saved, so that a loaded model says the same
        self.vectors_VD = np.ascontiguousarray(vectors_VD, np.float32)
        self._number = {word: v for v, word in enumerate(self.words)}

    @classmethod
    def fit(cls, texts: Sequence[str], config: EmbedderConfig) -> Self:
        """Learn from the sentences of training texts.

        Raises:
            UserError: they hold no word that stands in two sentences.
        """
        counts = [Counter(bare_words(sentence)) for text in dict.fromkeys(texts) for sentence in sentence_texts(text)]
        counts = [count for count in counts if count]
        df = Counter(word for count in counts for word in count)
        common = sorted((word for word in df if df[word] > 1), key=lambda word: (-df[word], word))
        words = sorted(common[: config.vocabulary])
        if not words:
            raise UserError("builtin:lsa is fitted on training texts and they share no words: give it more text")
        df_V = np.array([df[word] for word in words], np.float64)
        idf_V = np.log((1.0 + len(counts)) / (1.0 + df_V)) + 1.0
        latent_VD = idf_V[:, None] * _components(_matrix(counts, words, idf_V), config.dimension)
        lost_V = np.sqrt(np.maximum(idf_V**2 - (latent_VD**2).sum(1), 0.0))
        own_VD = np.stack([own_direction(word, latent_VD.shape[1]) for word in words])
        unseen = float(np.log(1.0 + len(counts)) + 1.0)
        return cls(words, latent_VD + _OWN * lost_V[:, None] * own_VD, unseen)

    @property
    def dimension(self) -> int:
        return int(self.vectors_VD.shape[1])

    @property
    def version(self) -> str:
        h = hashlib.blake2b(json.dumps([self.words, self.vectors_VD.shape, self.unknown]).encode(), digest_size=8)
        h.update(self.vectors_VD.tobytes())
        return f"lsa@{h.hexdigest()}"

    def sentences(self, texts: Sequence[str]) -> FloatArray:
        """Means [S, D] of the vectors of each text's words."""
        return np.stack([self._mean(bare_words(text)) for text in texts])

    def _mean(self, words: Sequence[str]) -> FloatArray:
        total_D: FloatArray = sum((self._vector(word) for word in words), np.zeros(self.dimension))
        return total_D / max(1, len(words))

    def _vector(self, word: str) -> FloatArray:
        if word in self._number:
            known_D: FloatArray = self.vectors_VD[self._number[word]].astype(np.float64)
            return known_D
        return self.unknown * own_direction(word, self.dimension)

    def states(self, text: str) -> tuple[FloatArray, IntArray]:
        """Vectors [T, D] of the words of a text and their character spans [T, 2]."""
        bounds_T2 = np.array(list(pairwise([*word_starts(text).tolist(), len(text)])), np.int64).reshape(-1, 2)
        states = [self._mean(bare_words(text[a:b])) for a, b in bounds_T2.tolist()]
        return np.array(states).reshape(len(bounds_T2), self.dimension), bounds_T2

    def save(self, folder: Path) -> None:
        (folder / _WORDS).write_text(json.dumps(self.words, ensure_ascii=False), encoding="utf-8")
        save_file({"vectors_VD": self.vectors_VD, "unknown": np.array([self.unknown])}, str(folder / _VECTORS))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What `save` wrote; UserError where it is missing or damaged."""
        try:
            words = json.loads((folder / _WORDS).read_text(encoding="utf-8"))
            arrays = load_file(str(folder / _VECTORS))
            # without a length, as earlier versions wrote it, unknown words are nothing
            return cls(words, arrays["vectors_VD"], float(arrays["unknown"][0]) if "unknown" in arrays else 0.0)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise UserError(f"the encoder in {folder} is damaged ({error}): fit it again") from error


def own_direction(word: str, dimension: int) -> FloatArray:
    """Random signs [D] of norm 1 from the word's hash: the same in every process and version."""
    bits = np.unpackbits(
        np.frombuffer(hashlib.shake_128(word.encode("utf-8", "surrogatepass")).digest(-(-dimension // 8)), np.uint8)
    )
    signs_D: FloatArray = (2.0 * bits[:dimension] - 1.0) / np.sqrt(dimension)
    return signs_D


def _matrix(counts: Sequence[Counter[str]], words: Sequence[str], idf_V: FloatArray) -> csr_array:
    """tf-idf [S, V] with rows of length 1 (or 0)."""
    from scipy.sparse import csr_array  # late: only fitting needs it, and what is served never fits

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
    from scipy.sparse.linalg import svds

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

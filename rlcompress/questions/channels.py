"""What a question tells of each word of a text: input channels of a query-aware policy, and its prior.

All of it follows from question and text (and, of the encoder, from what that was trained on): no channel knows an
answer. C counts channels, Q the question's words.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import snowballstemmer
from numpy.typing import NDArray

from rlcompress.questions.bm25 import asked_words, bm25
from rlcompress.questions.sentences import Embedder, cosines, mix, scaled, sentence_numbers, sentence_texts, spread
from rlcompress.questions.shapes import ANSWERING, QUESTION_KINDS, WORD_SHAPES, answering, question_kind, word_shapes
from rlcompress.questions.store import ArrayStore
from rlcompress.text.bare import bare_words
from rlcompress.text.stop_words import STOP_WORDS
from rlcompress.text.units import word_starts
from rlcompress.words import BoolArray, FloatArray, IntArray, Units

_REACHES = (2.0, 6.0, 20.0)  # words over which nearness to a word of the question falls to 1/e
_WITHIN = (5, 15)  # words on each side, among which different words of the question are counted
_BLURS = (9, 21)  # words, over which similarities are averaged
_PRIOR_SLOPE = 12.0  # brings a share of the best sentence to the scale of Gumbel noise
_REMEMBERED = 4096  # pairs of a text and a question
_REVISION = "2"  # of what the channels mean: what was stored under another is not read

_LEXICAL = ("in question", "stem in question", "content in question", *(f"near {reach:g}" for reach in _REACHES))
_SENTENCE = ("bm25", "bm25 of stems", "similar", "cosine", "below best", "rank bm25", "rank similar", "rank mix")
_PLACE = ("sentence length", "place in sentence", "place in text")
_SIMILAR = ("to a word", "to the question", *(f"to a word, {blur} words" for blur in _BLURS))
_KINDS = tuple(f"asks {kind}" for kind in QUESTION_KINDS)
_ANSWERS = tuple(f"{shape} for {kind}" for kind, shape in ANSWERING)
CHANNELS: tuple[str, ...] = (
    *("asked", "stop word", "length", *WORD_SHAPES, *_PLACE),  # the first three lines hold without a question too
    *_LEXICAL,
    *(f"within {reach}" for reach in _WITHIN),
    *_SENTENCE,
    *_SIMILAR,
    *_KINDS,
    *_ANSWERS,
)
_OWN = 3 + len(WORD_SHAPES) + len(_PLACE)


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """Of one text: channels [N, C], the sentence [N] of each unit, and the prior [N], or None without a question."""

    channels_NC: NDArray[np.float32]
    sentence_N: IntArray
    prior_N: NDArray[np.float32] | None


class QuestionChannels:
    """Channels of texts and questions, with one encoder behind them.

    Recent pairs of a text and a question are remembered, and with a `store` all are, from one run to the next.
    """

    def __init__(self, embedder: Embedder, store: ArrayStore | None = None) -> None:
        self.embedder = embedder
        self.store = store
        self._recent: OrderedDict[tuple[str, str, str], Told] = OrderedDict()

    def __call__(self, units: Units, question: str | None) -> Told:
        """What `question` tells of the units of a text."""
        key = (units.text, units.starts_N.tobytes().hex(), question or "")
        told = self._recent.get(key)
        if told is None:
            told = self._recent[key] = self._stored(units, question, key)
            if len(self._recent) > _REMEMBERED:
                self._recent.popitem(last=False)
        return told

    def prepare(self, texts: Sequence[Units], questions: Sequence[str | None]) -> None:
        """Let the encoder read many sentences at once, where it would read those of each text by themselves."""
        asked = [question for question in questions if question]
        sentences = [sentence for text in {units.text for units in texts} for sentence in sentence_texts(text)]
        self.embedder.sentences(sorted({*asked, *sentences}))
        for units, question in zip(texts, questions, strict=True):
            self(units, question)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_recent": OrderedDict()}  # a cache is not worth its transport

    def _stored(self, units: Units, question: str | None, key: tuple[str, str, str]) -> Told:
        if self.store is None:
            return self._tell(units, question)
        key_of_all = (_REVISION, self.embedder.version, *key)
        array = self.store.get(*key_of_all)
        if array is None:
            told = self._tell(units, question)
            prior_N = np.zeros(len(units), np.float32) if told.prior_N is None else told.prior_N
            self.store.put(np.column_stack([told.channels_NC, prior_N]), *key_of_all)
            return told
        asked = bool(len(array)) and bool(array[0, 0])
        return Told(array[:, :-1], _sentences(units), array[:, -1] if asked else None)

    def _tell(self, units: Units, question: str | None) -> Told:
        N = len(units)
        sentence_N = _sentences(units)
        words = [word.strip() for word in units.words()]
        channels_NC = np.zeros((N, len(CHANNELS)))
        prior_N = None
        if N:
            shapes_NF = word_shapes(words, sentence_N)
            own = [_flags(word.casefold() in STOP_WORDS for word in words), np.array([len(w) / 10.0 for w in words])]
            channels_NC[:, 1:_OWN] = np.column_stack([*own, shapes_NF, _places(sentence_N)])
            if question and bare_words(question):
                channels_NC[:, 0] = 1.0
                channels_NC[:, _OWN:], prior_N = self._asked(units, words, sentence_N, shapes_NF, question)
        return Told(channels_NC.astype(np.float32), sentence_N, None if prior_N is None else prior_N.astype(np.float32))

    def _asked(
        self, units: Units, words: list[str], sentence_N: IntArray, shapes_NF: FloatArray, question: str
    ) -> tuple[FloatArray, FloatArray]:
        asked, content = bare_words(question), set(map(stem, asked_words(question)))
        bare = [(bare_words(word) or [""])[0] for word in words]
        stems = [stem(word) for word in bare]
        known = frozenset(asked), frozenset(map(stem, asked))
        hits_N = _flags(one in content for one in stems)
        lexical = [_flags(word in known[0] for word in bare), _flags(one in known[1] for one in stems), hits_N]
        distance_N = _distances(hits_N > 0)
        near = [np.exp(-distance_N / reach) for reach in _REACHES]
        within = [_distinct(stems, content, reach) for reach in _WITHIN]
        vector_D = self.embedder.sentences([question])[0]
        sentences = self._sentences(units, question, vector_D)
        similar = self._similar(units, question, vector_D)
        kind_K = question_kind(question)
        kinds = [np.full(len(words), flag) for flag in kind_K]
        columns = [*lexical, *near, *within, *(spread(s, sentence_N) for s in sentences), *similar, *kinds]
        prior_N = _PRIOR_SLOPE * spread(sentences[_SENTENCE.index("below best")], sentence_N)
        return np.column_stack([*columns, answering(kind_K, shapes_NF)]), prior_N

    def _sentences(self, units: Units, question: str, vector_D: FloatArray) -> list[FloatArray]:
        """Columns [S] of `_SENTENCE`."""
        texts = sentence_texts(units.text)
        plain = [bare_words(text) for text in texts]
        cosine_S = cosines(self.embedder.sentences(texts), vector_D)
        words = asked_words(question)
        lexical_S = bm25(plain, words)
        stemmed_S = bm25([list(map(stem, one)) for one in plain], list(map(stem, words)))
        mixed_S = mix(cosine_S, lexical_S)
        ranked = [_reciprocal_ranks(scores_S) for scores_S in (lexical_S, cosine_S, mixed_S)]
        below_best_S = mixed_S - mixed_S.max(initial=0.0)
        return [scaled(lexical_S), scaled(stemmed_S), scaled(cosine_S), cosine_S, below_best_S, *ranked]

    def _similar(self, units: Units, question: str, vector_D: FloatArray) -> list[FloatArray]:
        """Columns [N] of `_SIMILAR`, from the encoder's states of the words in their context."""
        spans_N2 = np.column_stack([units.starts_N, units.ends_N])
        states_ND = self.embedder.words(units.text, spans_N2)
        bounds = [*word_starts(question).tolist(), len(question)]
        told = [(a, b) for a, b in pairwise(bounds) if _telling(question[a:b])] or [(0, len(question))]
        asked_QD = self.embedder.words(question, np.array(told, np.int64))
        best_N = (states_ND @ asked_QD.T).max(1)
        return [best_N, states_ND @ vector_D, *(_blurred(best_N, width) for width in _BLURS)]


def _sentences(units: Units) -> IntArray:
    return sentence_numbers(units) if len(units) else np.zeros(0, np.int64)


@functools.lru_cache(50_000)
def stem(word: str) -> str:
    """The English Snowball stem (Porter 2001), of a case-folded word."""
    stemmed: str = snowballstemmer.stemmer("english").stemWord(word)
    return stemmed


def _telling(word: str) -> bool:
    bare = bare_words(word)
    return bool(bare) and bare[0] not in STOP_WORDS


def _flags(values: object) -> FloatArray:
    return np.fromiter(values, np.float64)  # type: ignore[call-overload, no-any-return]


def _places(sentence_N: IntArray) -> FloatArray:
    """Columns [N, 3] of `_PLACE`; length is log2 of the words / 5, places run from 0 to 1."""
    N = len(sentence_N)
    size_S = np.bincount(sentence_N)
    first_S = np.searchsorted(sentence_N, np.arange(len(size_S)))
    position_N = np.arange(N)
    inside_N = (position_N - first_S[sentence_N]) / np.maximum(1, size_S[sentence_N] - 1)
    return np.column_stack([np.log2(size_S[sentence_N]) / 5.0, inside_N, position_N / max(1, N - 1)])


def _distances(hits_N: BoolArray) -> FloatArray:
    """Words to the nearest hit [N]; infinite where there is none at all."""
    places = np.flatnonzero(hits_N)
    if not len(places):
        return np.full(len(hits_N), np.inf)
    position_N = np.arange(len(hits_N))
    after_N = np.searchsorted(places, position_N)
    right_N = np.abs(places[np.minimum(after_N, len(places) - 1)] - position_N)
    left_N = np.abs(places[np.maximum(after_N - 1, 0)] - position_N)
    distance_N: FloatArray = np.minimum(left_N, right_N).astype(np.float64)
    return distance_N


def _distinct(stems: list[str], content: set[str], reach: int) -> FloatArray:
    """Share [N] of the question's different content words that stand within `reach` words."""
    near_N = np.zeros(len(stems))
    for word in content:
        near_N += _distances(np.array([one == word for one in stems], np.bool_)) <= reach
    return near_N / len(content)


def _reciprocal_ranks(scores_S: FloatArray) -> FloatArray:
    """1 / rank [S], the best first, ties by position; 0 where nothing scores."""
    ranks_S = np.empty(len(scores_S))
    ranks_S[np.argsort(-scores_S, kind="stable")] = 1.0 / np.arange(1, len(scores_S) + 1)
    return ranks_S if np.any(scores_S) else np.zeros(len(scores_S))


def _blurred(values_N: FloatArray, width: int) -> FloatArray:
    """Mean [N] over a window of so many words, shorter at the ends."""
    total = np.concatenate([[0.0], np.cumsum(values_N)])
    position_N = np.arange(len(values_N))
    low_N = np.maximum(position_N - width // 2, 0)
    high_N = np.minimum(position_N + width // 2 + 1, len(values_N))
    mean_N: FloatArray = (total[high_N] - total[low_N]) / (high_N - low_N)
    return mean_N

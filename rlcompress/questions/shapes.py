"""What kind of question is asked, and what kind of word could answer it: flags from surface form alone."""

from __future__ import annotations

import functools

import numpy as np
import regex

from rlcompress.words import FloatArray

_MONTHS = "january february march april may june july august september october november december"
_NUMBER_WORDS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion dozen half first second
third fourth fifth once twice both
"""
MONTHS, NUMBER_WORDS = frozenset(_MONTHS.split()), frozenset(_NUMBER_WORDS.split())
_WORD = regex.compile(r"[\p{L}\p{N}]+")
_YEAR = regex.compile(r"1[0-9]{3}|20[0-9]{2}")
_NUMBER = regex.compile(r"[\p{Sc}]?\p{Nd}[\p{Nd}.,:/]*(?:st|nd|rd|th|s)?")

# The cue that stands first in the question names its kind; of two at one place, the one that is listed first.
QUESTION_KINDS: dict[str, tuple[str, ...]] = {
    "how many": ("how many",),
    "how much": ("how much", "how long", "how old", "how far", "how often"),
    "when": ("when", "what year", "what date", "which year", "what century", "what decade", "what day"),
    "who": ("who", "whom", "whose"),
    "where": ("where", "what city", "what country", "which country", "which city", "what place", "what location"),
    "name": ("what is the name", "what was the name", "what is the first name", "what is the last name", "what name"),
    "why": ("why",),
    "how": ("how",),
    "which": ("which",),
    "what": ("what",),
    "is": ("is", "are", "was", "were", "did", "does", "do", "can", "has", "have", "had"),
    "other": (),
}
WORD_SHAPES = ("capital", "capitals", "digit", "number", "year", "month", "number word", "mark", "opens sentence")
# Which shapes answer which kinds of question, as products of two flags.
ANSWERING: tuple[tuple[str, str], ...] = (
    ("who", "capital"),
    ("name", "capital"),
    ("where", "capital"),
    ("when", "year"),
    ("when", "digit"),
    ("when", "month"),
    ("how many", "number"),
    ("how many", "number word"),
    ("how much", "digit"),
    ("which", "capital"),
    ("what", "capital"),
)


def question_kind(question: str) -> FloatArray:
    """One-hot [K] over `QUESTION_KINDS`, by the words of the question; the last kind is any other."""
    asked = f" {' '.join(_WORD.findall(question.casefold()))} "
    places = [(asked.find(f" {cue} "), k) for k, cues in enumerate(QUESTION_KINDS.values()) for cue in cues]
    one_hot_K = np.zeros(len(QUESTION_KINDS))
    one_hot_K[min([(place, k) for place, k in places if place >= 0], default=(0, -1))[1]] = 1.0
    return one_hot_K


@functools.lru_cache(50_000)
def word_shape(word: str) -> tuple[float, ...]:
    """Flags of `WORD_SHAPES` but the last, for a word without the white space around it."""
    folded = word.casefold()
    letters = [c for c in word if c.isalpha()]
    flags = (
        bool(letters) and letters[0].isupper(),
        len(letters) > 1 and all(c.isupper() for c in letters),
        any(c.isdigit() for c in word),
        _NUMBER.fullmatch(word) is not None,
        _YEAR.fullmatch(word) is not None,
        folded in MONTHS,
        folded in NUMBER_WORDS,
        not any(c.isalnum() for c in word),
    )
    return tuple(map(float, flags))


def word_shapes(words: list[str], sentence_N: np.ndarray[tuple[int], np.dtype[np.int64]]) -> FloatArray:
    """Flags [N, len(WORD_SHAPES)] of the words of a text, and whether each is the first of its sentence."""
    if not words:
        return np.zeros((0, len(WORD_SHAPES)))
    first_N = np.diff(sentence_N, prepend=-1) > 0
    return np.column_stack([np.array([word_shape(word.strip()) for word in words]), first_N.astype(np.float64)])


def answering(kind_K: FloatArray, shapes_NF: FloatArray) -> FloatArray:
    """Products [N, len(ANSWERING)] of a question's kind and the words' shapes."""
    kinds, shapes = list(QUESTION_KINDS), list(WORD_SHAPES)
    pairs = [(kinds.index(kind), shapes.index(shape)) for kind, shape in ANSWERING]
    return np.column_stack([kind_K[k] * shapes_NF[:, f] for k, f in pairs])

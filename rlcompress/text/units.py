"""Cutting a text into units: words, phrases or sentences that tile it byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import regex

from rlcompress.words import BoolArray, IntArray

# Scripts written without spaces: their unit is the grapheme cluster, not the run of letters.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
_LETTER = rf"[[\p{{L}}\p{{N}}\p{{M}}_\u200c\u200d]--[{_UNSPACED}]]"
_WORD = regex.compile(
    rf"""
    (?:
        {_LETTER}+ (?: (?<=\p{{Nd}})[.,:/](?=\p{{Nd}}){_LETTER}+ | (?<=\p{{L}})['’](?=\p{{L}}){_LETTER}+ )*
      | ([!-/:-@\[-`{{-~])\1*\p{{M}}*     # a run of one ASCII punctuation mark
      | \X
    )
    \s*
    """,
    regex.VERBOSE | regex.VERSION1,
)
_LEADING_SPACE = regex.compile(r"\s*", regex.VERSION1)
_SENTENCE_END = regex.compile(r"[.!?。！？…]+['\")\]’”»]*\s*$|\n\s*\n\s*$", regex.VERSION1)
_ABBREVIATION = regex.compile(r"^(?:[A-Z]|e\.g|i\.e|etc|vs|cf|Mr|Mrs|Ms|Dr|Prof|St|No|Fig|approx)$", regex.VERSION1)
_PUNCTUATION = regex.compile(r"^[\p{P}\p{S}]+\s*$", regex.VERSION1)
# Words that open a phrase: determiners, prepositions, conjunctions, auxiliaries.
_OPENERS = frozenset(
    "a an the this that these those of in on at by for from to with without into onto over under between through "
    "during before after as about against and or but nor so if when while where which who whose because although "
    "than is are was were be been being has have had do does did will would can could may might shall should must".split()
)


def word_starts(text: str) -> IntArray:
    """Start offsets [N] of the words of `text`.

    A word owns its following white space; leading white space belongs to the first word. Numbers stay whole
    ("1,234.5"), as do contractions ("don't"); a script without spaces gives one unit a grapheme cluster.
    """
    first = _LEADING_SPACE.match(text)
    position = first.end() if first else 0
    starts: list[int] = []
    while position < len(text):
        starts.append(position)
        found = _WORD.match(text, position)
        assert found is not None
        assert found.end() > position
        position = found.end()
    if text:
        starts = [0, *starts[1:]]
    return np.asarray(starts, np.int64)


def _merge(text: str, words_N: IntArray, ends_unit: Callable[[str, str], bool]) -> IntArray:
    """Join words into longer units; `ends_unit(unit so far, next word)` says where one stops."""
    bounds = [*words_N.tolist(), len(text)]
    starts: list[int] = []
    begin = 0
    for u in range(len(words_N)):
        following = text[bounds[u + 1] : bounds[u + 2]] if u + 2 < len(bounds) else ""
        if u + 1 == len(words_N) or ends_unit(text[begin : bounds[u + 1]], following):
            starts.append(begin)
            begin = bounds[u + 1]
    return np.asarray(starts, np.int64)


def _sentence_ends(unit: str, following: str) -> bool:
    if not _SENTENCE_END.search(unit):
        return False
    if not unit[-1].isspace() and unit.rstrip()[-1:] in ".!?" and following:
        return False  # "3.14", "file.py", "?!"
    words = unit.split()
    last = words[-1].rstrip(".") if words else ""
    return not (unit.rstrip().endswith(".") and _ABBREVIATION.match(last))


def _phrase_ends(unit: str, following: str) -> bool:
    if _PUNCTUATION.match(following):
        return False  # punctuation stays with the phrase that it closes
    if _PUNCTUATION.match(unit.split()[-1][-1:] if unit.split() else ""):
        return True
    opens = following.strip().casefold() in _OPENERS
    has_content = any(word.casefold().strip(".,;:") not in _OPENERS for word in unit.split())
    return opens and has_content


_GRANULARITIES: dict[str, Callable[[str, str], bool] | None] = {
    "word": None,
    "phrase": _phrase_ends,
    "sentence": _sentence_ends,
}


def unit_starts(text: str, granularity: str = "word") -> IntArray:
    """Start offsets [N] of the units of `text`; unit u ends where unit u + 1 starts."""
    words_N = word_starts(text)
    ends_unit = _GRANULARITIES[granularity]
    return words_N if ends_unit is None else _merge(text, words_N, ends_unit)


def token_units(text: str, starts_N: IntArray, spans_T2: IntArray) -> IntArray:
    """The unit [T] that each token belongs to: that of its first character that is not white space.

    A token of white space only belongs to the unit that owns the space. `spans_T2` are character offsets.
    """
    if not len(spans_T2):
        return np.zeros(0, np.int64)
    size = len(text)
    solid = np.fromiter((not c.isspace() for c in text), np.bool_, size)
    # next_solid[i] is the first position >= i that holds no white space
    next_solid = np.where(solid, np.arange(size), size)
    next_solid = np.append(np.minimum.accumulate(next_solid[::-1])[::-1], size)
    begins_T, ends_T = spans_T2[:, 0], spans_T2[:, 1]
    anchors_T = next_solid[begins_T]
    anchors_T = np.where(anchors_T < ends_T, anchors_T, begins_T)
    return np.maximum(np.searchsorted(starts_N, anchors_T, side="right") - 1, 0).astype(np.int64)


def unit_costs(n_units: int, token_units_T: IntArray) -> IntArray:
    """Reader tokens [N] of each unit; they sum to the tokens of the text."""
    return np.bincount(token_units_T, minlength=n_units).astype(np.int64)


def overlaps(starts_N: IntArray, ends_N: IntArray, spans: Sequence[tuple[int, int]]) -> BoolArray:
    """Which units [N] share at least one character with one of the half-open `spans`."""
    touched = np.zeros(len(starts_N), np.bool_)
    for a, b in spans:
        if b > a:
            touched[np.searchsorted(ends_N, a, side="right") : np.searchsorted(starts_N, b, side="left")] = True
    return touched

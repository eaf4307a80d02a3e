"""Cutting a text into units: words, phrases or sentences that tile it byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import regex

from rlcompress.words import BoolArray, IntArray

# Scripts written without spaces: their unit is the grapheme cluster, not the run of letters.
UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
_LETTER = rf"[[\p{{L}}\p{{N}}\p{{M}}_\u00ad\u200c\u200d\u2060]--[{UNSPACED}]]"
_SPACE = r"[\s\x1c-\x1f]"  # exactly the characters for which str.isspace() holds
_WORD = regex.compile(
    rf"""
    (?:
        {_LETTER}+ (?: (?<=\p{{Nd}})[.,:/](?=\p{{Nd}}){_LETTER}+ | (?<=\p{{L}})['’](?=\p{{L}}){_LETTER}+ )*
      | ([!-/:-@\[-`{{-~])\1*     # a run of one ASCII punctuation mark
      | \X
    )
    {_SPACE}*
    """,
    regex.VERBOSE | regex.VERSION1,
)
_IS_SPACE = np.array([chr(code).isspace() for code in range(0x3002)])  # by code point; none above U+3000 is white space
_LEADING_SPACE = regex.compile(rf"{_SPACE}*", regex.VERSION1)
_GRAPHEME = regex.compile(r"\X", regex.VERSION1)
# Outside of these a character is a cluster of its own, but for line ends, which no word begins within.
_MAY_CLUSTER = regex.compile(r"[\x00-\x7f]?(?:[^\x00-\x7f]++[\x00-\x7f]?)++", regex.VERSION1)
_CLOSERS = r"""['")\]’”»」』）]*+"""
_SENTENCE_END = regex.compile(
    rf"""
      (?<![.!?…]) (?P<mark> [.!?…]++ ) {_CLOSERS} {_SPACE}++
    | [。！？]++ {_CLOSERS} {_SPACE}*+
    | \n {_SPACE}* \n {_SPACE}*+      # an empty line: headings and list items need no full stop
    """,
    regex.VERBOSE | regex.VERSION1,
)
_ABBREVIATION = regex.compile(
    r"""(?:^|[\s(\["'“‘])(?:(?:\p{L}\.)*\p{L}|etc|vs|cf|Mr|Mrs|Ms|Dr|Prof|St|No|Fig|approx)$""", regex.VERSION1
)
_LONGEST_ABBREVIATION = 16
_MARK = regex.compile(r"[\p{P}\p{S}]", regex.VERSION1)
_OPENING_MARK = regex.compile(r"[\p{Ps}\p{Pi}]", regex.VERSION1)
_CLOSING_MARK = regex.compile(r"[\p{Pe}\p{Pf}]", regex.VERSION1)
_UNSPACED_MARKS = frozenset("。！？，、；：")
# Words that open a phrase: determiners, prepositions, conjunctions, auxiliaries.
_OPENING_WORDS = """
    a an the this that these those of in on at by for from to with without into onto over under between through
    during before after as about against and or but nor so if when while where which who whose because although
    than is are was were be been being has have had do does did will would can could may might shall should must
"""
_OPENERS = frozenset(_OPENING_WORDS.split())


def word_starts(text: str) -> IntArray:
    """Start offsets [N] of the words of `text`.

    A word owns its following white space; leading white space belongs to the first word. Numbers stay whole
    ("1,234.5"), as do contractions ("don't"); a script without spaces gives one unit a grapheme cluster. No grapheme
    cluster is ever cut.
    """
    if not text:
        return np.zeros(0, np.int64)
    first = _LEADING_SPACE.match(text)
    assert first is not None
    starts_N = np.asarray([found.start() for found in _WORD.finditer(text, first.end())] or [0], np.int64)
    starts_N[0] = 0
    if text.isascii():
        return starts_N
    inside = [
        position
        for part in _MAY_CLUSTER.finditer(text)
        for found in _GRAPHEME.finditer(text, part.start(), part.end())
        for position in range(found.start() + 1, found.end())
    ]
    return starts_N[~np.isin(starts_N, inside)]


def _phrase_starts(text: str, words_N: IntArray) -> list[int]:
    """A phrase ends after a mark that closes it, before a word that opens the next, and at an empty line."""
    bounds = [*words_N.tolist(), len(text)]
    starts = [0]
    has_content, before = False, ""
    for start, end in pairwise(bounds):
        word = text[start:end].strip()
        closes = _MARK.match(before.strip()) and not _OPENING_MARK.match(before)
        opens = word.casefold() in _OPENERS or _OPENING_MARK.match(word)
        # "well-known" hangs together
        loose = before[-1:].isspace() or (before in _UNSPACED_MARKS and not _CLOSING_MARK.match(word))
        if has_content and loose and (closes or opens or before.count("\n") > 1):
            starts.append(start)
            has_content = False
        has_content = has_content or not (opens or _MARK.match(word))
        before = text[start:end]
    return starts


def _sentence_starts(text: str, words_N: IntArray) -> list[int]:
    """A sentence ends at a full stop that is no abbreviation's, at its relatives, and at an empty line."""
    starts = [0]
    for found in _SENTENCE_END.finditer(text):
        before = text[max(0, found.start() - _LONGEST_ABBREVIATION) : found.start()]
        line_ends = found.group().count("\n") > 1
        if line_ends or not (found["mark"] == "." and _ABBREVIATION.search(before)):
            starts.append(found.end())
    return starts


_GRANULARITIES: dict[str, Callable[[str, IntArray], list[int]] | None] = {
    "word": None,
    "phrase": _phrase_starts,
    "sentence": _sentence_starts,
}


def unit_starts(text: str, granularity: str = "word") -> IntArray:
    """Start offsets [N] of the units of `text`; unit u ends where unit u + 1 starts.

    Units of every granularity are whole words, so a phrase or a sentence starts where a word does.
    """
    words_N = word_starts(text)
    starts_of = _GRANULARITIES[granularity]
    return words_N if starts_of is None else words_N[np.isin(words_N, starts_of(text, words_N))]


def token_units(text: str, starts_N: IntArray, spans_T2: IntArray) -> IntArray:
    """The unit [T] that each token belongs to: that of its first character that is not white space.

    A token of white space only belongs to the unit that owns the space. `spans_T2` are character offsets.
    """
    if not len(spans_T2):
        return np.zeros(0, np.int64)
    size = len(text)
    codes_C = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    solid = ~_IS_SPACE[np.minimum(codes_C, len(_IS_SPACE) - 1)]
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

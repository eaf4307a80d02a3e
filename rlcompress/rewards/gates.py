"""Conditions on an output. A closed gate makes the reward the worst there is; see `reward.py`."""

from __future__ import annotations

import math
from itertools import pairwise

from rlcompress.text.bare import bare_words
from rlcompress.words import Compression

_PAIRS = 4
_REACH = 8  # words of the source within which neighbours of an output stand, in their order
_SUPPORT = 0.05  # of the source's words: what has to stand beside the answer


def floor_open(rate: float, floor: float) -> bool:
    """At least the fraction `floor` of the source stayed."""
    return rate >= floor


def leaked_words(source: str, written: str) -> set[str]:
    """Words and numbers of the output that the source does not have, e.g. an answer that was worked out."""
    return set(bare_words(written)) - set(bare_words(source))


def leak_open(compression: Compression, written: str | None) -> bool:
    """No word of a written text came from elsewhere. A masked text (None) is spans of its source and cannot leak."""
    return written is None or not leaked_words(compression.units.text, written)


def bare_open(source: str, written: str | None, answer: str | None, question: str | None) -> bool:
    """A written text is not the answer and little else: a compressor that answers has not compressed.

    A mask (None) drops words and cannot answer: one that keeps the answer has found it.

    Closed where all words of the answer stand in the output, and beside them and the question's fewer than a twentieth
    of the source's words. Open where the source itself has no more than that.
    """
    answered = set(bare_words(answer or ""))
    told = bare_words(written or "")
    if written is None or not answered or not answered <= set(told):
        return True
    words, known = bare_words(source), answered | set(bare_words(question or ""))
    needed = math.ceil(_SUPPORT * len(words))
    beside, there = (len([w for w in text if w not in known]) for text in (told, words))
    return beside >= min(needed, there)


def order_open(source: str, written: str | None) -> bool:
    """A written output is no soup: at least half of its neighbouring words follow one another closely in the source.

    The answer among words that were picked for the other gates' sake is no compression. Sentences may change places. A
    masked text (None) is in order; outputs of fewer than four pairs are too short to say.
    """
    told = bare_words(written or "")
    pairs = list(pairwise(told))
    if written is None or len(pairs) < _PAIRS:
        return True
    words = bare_words(source)
    near = {(words[i], word) for i in range(len(words)) for word in words[i + 1 : i + 1 + _REACH]}
    return sum(pair in near for pair in pairs) >= len(pairs) / 2

"""Conditions on an output. A closed gate makes the reward the worst there is; see `reward.py`."""

from __future__ import annotations

from rlcompress.text.bare import bare_words
from rlcompress.words import Compression


def floor_open(compression: Compression, floor: float) -> bool:
    """At least the fraction `floor` of the source's reader tokens stayed."""
    return compression.achieved_rate >= floor


def leaked_words(source: str, written: str) -> set[str]:
    """Words and numbers of the output that the source does not have, e.g. an answer that was worked out."""
    return set(bare_words(written)) - set(bare_words(source))


def leak_open(compression: Compression, written: str | None) -> bool:
    """No word of a written text came from elsewhere. A masked text (None) is spans of its source and cannot leak."""
    return written is None or not leaked_words(compression.units.text, written)

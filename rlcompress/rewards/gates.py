"""Conditions on an output. A closed gate makes the reward the worst there is; see `reward.py`."""

from __future__ import annotations

from collections.abc import Iterable

from rlcompress.text.bare import bare_words
from rlcompress.words import Compression


def floor_open(compression: Compression, floor: float) -> bool:
    """At least the fraction `floor` of the source's reader tokens stayed."""
    return compression.achieved_rate >= floor


def leaked_words(source: str, pieces: Iterable[str]) -> set[str]:
    """Words and numbers of the output that the source does not have, e.g. an answer that was worked out.

    A rewritten text is one piece. A masked text gives its kept spans one by one, so that two kept neighbours of a
    dropped hyphen do not read as a new number.
    """
    written = {word for piece in pieces for word in bare_words(piece)}
    return written - set(bare_words(source)) if written else written


def leak_open(compression: Compression) -> bool:
    """No word came from elsewhere. True of every masked text; kept as a gate because outputs must prove it."""
    source = compression.units.text
    return not leaked_words(source, (source[a:b] for a, b in compression.spans))

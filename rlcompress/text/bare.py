"""Words as a reader would compare them: case-folded, without punctuation and white space."""

from __future__ import annotations

import functools
import itertools

from rlcompress.text.units import word_starts


def bare_words(text: str) -> list[str]:
    """The words and numbers of `text` in order, e.g. `"It's 1,234.5 (KM)!"` gives `["it's", "1,234.5", "km"]`."""
    return list(_bare(text))


@functools.lru_cache(4096)  # every term, gate and metric asks for the words of the same few texts
def _bare(text: str) -> tuple[str, ...]:
    bounds = [*word_starts(text).tolist(), len(text)]
    pieces = (text[a:b].strip().casefold() for a, b in itertools.pairwise(bounds))
    return tuple(piece for piece in pieces if piece.isalnum() or any(map(str.isalnum, piece)))

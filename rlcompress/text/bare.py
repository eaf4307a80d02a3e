"""Words as a reader would compare them: case-folded, without punctuation and white space."""

from __future__ import annotations

import itertools

from rlcompress.text.units import word_starts


def bare_words(text: str) -> list[str]:
    """The words and numbers of `text` in order, e.g. `"It's 1,234.5 (KM)!"` gives `["it's", "1,234.5", "km"]`."""
    bounds = [*word_starts(text).tolist(), len(text)]
    pieces = (text[a:b].strip().casefold() for a, b in itertools.pairwise(bounds))
    return [piece for piece in pieces if any(c.isalnum() for c in piece)]

"""Where an answer stands in its text: labels for supervised training, never an input of a policy."""

from __future__ import annotations

import numpy as np

from rlcompress.text.bare import bare_words
from rlcompress.words import BoolArray, Units


def answer_units(units: Units, answer: str) -> BoolArray:
    """The units [N] of the first place where the answer's bare words stand in one piece.

    Where they stand nowhere so, the first of each word that is there at all.
    """
    marked_N = np.zeros(len(units), np.bool_)
    placed = [(bare, u) for u, word in enumerate(units.words()) for bare in bare_words(word)]
    wanted, there = bare_words(answer), [bare for bare, _ in placed]
    size = len(wanted)
    whole = next((i for i in range(len(there) - size + 1) if there[i : i + size] == wanted), None) if size else None
    if whole is not None:
        marked_N[[u for _, u in placed[whole : whole + size]]] = True
    else:
        marked_N[[placed[there.index(word)][1] for word in set(wanted) & set(there)]] = True
    return marked_N

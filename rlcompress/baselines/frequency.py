"""Baselines that know how often words occur in the training texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from rlcompress.errors import UserError
from rlcompress.text.units import unit_starts
from rlcompress.words import Example, FloatArray, Units


def _words(text: str) -> list[str]:
    """Case-folded words of a text, marks and numbers included."""
    starts = [*unit_starts(text).tolist(), len(text)]
    return [text[a:b].strip().casefold() for a, b in pairwise(starts)]


class Frequency:
    """Keeps frequent words (`frequent`) or rare ones (`rare`); a word that training never saw is the rarest.

    The priority of a unit is the mean over its words of ±log(1 + count in the training texts).
    """

    stochastic = False
    keeps_all = False

    def __init__(self, name: str, sign: float) -> None:
        self.name = name
        self._sign = sign
        self._counts: Counter[str] = Counter()

    def fit(self, texts: Sequence[str]) -> None:
        self._counts = Counter(word for text in texts for word in _words(text))

    def priorities(
        self, units: Sequence[Units], examples: Sequence[Example], rate: float, seed: int
    ) -> list[FloatArray]:
        if not self._counts:
            raise UserError(f"baseline {self.name} counts words: fit it on training texts first")
        return [np.array([self._priority(unit) for unit in u.words()]) for u in units]

    def _priority(self, unit: str) -> float:
        return self._sign * float(np.mean([np.log1p(self._counts[word]) for word in _words(unit)]))

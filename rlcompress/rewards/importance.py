"""Which units matter more inside the distortion term: one weight [N] a unit, or none for all alike.

The weights scale the judge's bits of each unit, so a rare name that was dropped can cost more than a common word
that is as hard to guess.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from rlcompress.errors import UserError
from rlcompress.text.bare import bare_words
from rlcompress.words import FloatArray, Units

_NUMBER_WEIGHT = 4.0


def count_words(texts: Iterable[str]) -> Counter[str]:
    """How often each bare word occurs in the training texts; what `rarity` is fitted on."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(bare_words(text))
    return counts


class Importance:
    """`Importance(name)(units)` gives the weights [N] of the units, all above 0, or None for equal weights.

    Raises:
        UserError: an unknown name, or `rarity` without counts.
    """

    def __init__(self, name: str = "none", counts: Mapping[str, int] | None = None) -> None:
        if name not in IMPORTANCES:
            raise UserError(f"reward.importance {name!r} is unknown: use one of {', '.join(IMPORTANCES)}")
        if name == "rarity" and not counts:
            raise UserError("reward.importance rarity needs word counts: pass count_words(training texts)")
        self.name = name
        self.counts = dict(counts or {})
        self._total = sum(self.counts.values())

    def __call__(self, units: Units) -> FloatArray | None:
        return IMPORTANCES[self.name](self, units)

    def rarity(self, units: Units) -> FloatArray:
        """-log2 of the add-one frequency of a unit's rarest word; punctuation counts as the commonest word."""
        size = self._total + len(self.counts) + 1
        commonest = max(self.counts.values())

        def bits(unit: str) -> float:
            words = bare_words(unit)
            count = min((self.counts.get(word, 0) for word in words), default=commonest)
            return float(np.log2(size / (count + 1)))

        return np.asarray([bits(unit) for unit in units.words()], np.float64)


def _none(importance: Importance, units: Units) -> None:
    return None


def _position(importance: Importance, units: Units) -> FloatArray:
    """0.5 in the middle of the text, rising linearly to 1.5 at both ends, where readers attend most."""
    return 0.5 + np.abs(np.linspace(-1.0, 1.0, len(units)))


def _numbers(importance: Importance, units: Units) -> FloatArray:
    """4 for units with a digit, 1 for all others."""
    has_digit = np.asarray([any(c.isdigit() for c in unit) for unit in units.words()], np.bool_)
    return np.where(has_digit, _NUMBER_WEIGHT, 1.0)


IMPORTANCES: dict[str, Callable[[Importance, Units], FloatArray | None]] = {
    "none": _none,
    "rarity": Importance.rarity,
    "position": _position,
    "numbers": _numbers,
}

"""`adaptive`: heuristics vote by their scores.

Each voter's priorities become ranks in [0, 1] within the text (ties share the mean of their ranks), so that bits,
letters and positions count alike; a unit's priority is the mean of its ranks. Independent of the rate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlcompress.baselines.method import AskingMethod, FittedMethod, Method
from rlcompress.words import Example, FloatArray, Units


def shares_of_rank(priorities_N: FloatArray) -> FloatArray:
    """Ranks [N] in [0, 1]: 0 for the lowest, 1 for the highest, ½ where all are alike."""
    N = len(priorities_N)
    if N < 2:
        return np.full(N, 0.5)
    _, level_N, counts_L = np.unique(priorities_N, return_inverse=True, return_counts=True)  # by L levels, low to high
    ranks_L = counts_L.cumsum() - (counts_L + 1) / 2  # from 0 on; the mean of those that a level takes up
    shares_N: FloatArray = ranks_L[level_N] / (N - 1.0)
    return shares_N


class Vote:
    """The mean of the voters' ranks."""

    stochastic = False
    keeps_all = False

    def __init__(self, name: str, voters: Sequence[Method]) -> None:
        self.name = name
        self.voters = tuple(voters)

    def fit(self, texts: Sequence[str]) -> None:
        for voter in self.voters:
            if isinstance(voter, FittedMethod):
                voter.fit(texts)

    def passes_of(self, units: Units) -> int:
        return sum(voter.passes_of(units) for voter in self.voters if isinstance(voter, AskingMethod))

    def priorities(
        self, units: Sequence[Units], examples: Sequence[Example], rate: float, seed: int
    ) -> list[FloatArray]:
        votes = [voter.priorities(units, examples, rate, seed) for voter in self.voters]
        return [np.mean([shares_of_rank(p) for p in of_text], axis=0) for of_text in zip(*votes, strict=True)]

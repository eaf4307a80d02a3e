"""The vote of heuristics: ranks against a plain twin, and a winner that no voter alone would choose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.baselines.heuristics import Heuristic
from rlcompress.baselines.vote import Vote, shares_of_rank
from rlcompress.selection import select
from rlcompress.text.segment import Segmenter
from rlcompress.words import Example, FloatArray, Units
from tests.rlcompress.baselines.fakes import TOKENIZER, build


@given(st.lists(st.integers(-3, 3).map(float), max_size=9))
def test_ranks_equal_the_slow_twin(values: list[float]) -> None:
    expected = [
        (sum(v < value for v in values) + 0.5 * (sum(v == value for v in values) - 1)) / (len(values) - 1)
        if len(values) > 1
        else 0.5
        for value in values
    ]
    assert shares_of_rank(np.array(values)).tolist() == pytest.approx(expected)


@dataclass
class Fixed:
    """A voter with planted priorities."""

    values: list[float]

    def __call__(self, units: Units) -> FloatArray:
        return np.array(self.values)


def test_scores_vote_whatever_their_scale() -> None:
    units = Segmenter(TOKENIZER)("a b c d")
    voters = [
        Heuristic("one", Fixed([9, 8, 0, 1])),
        Heuristic("two", Fixed([0.1, 0.2, 0.3, 0])),
        Heuristic("three", Fixed([0, 5e6, 0, 0])),
    ]
    vote_N = Vote("adaptive", voters).priorities([units], [Example("x", "a b c d")], 0.5, 0)[0]
    # ranks in thirds: 3 2 0 1; 1 2 3 0; 1 3 1 1
    assert vote_N == pytest.approx(np.array([5, 7, 4, 2]) / 9)
    assert select(units, vote_N, 0.25).text.strip() == "b"


def test_the_vote_is_no_mask() -> None:
    text = "the cat and the extraordinary quokka sat on the mat and on the rug"
    units = Segmenter(TOKENIZER)(text)
    vote_N = build("adaptive").priorities([units], [Example("x", text)], 0.5, 0)[0]
    assert len(np.unique(vote_N)) > len(units) // 2
    assert vote_N.std() > 0.1
    best = {units.words()[u].strip() for u in np.argsort(-vote_N, kind="stable")[:3]}
    assert {"extraordinary", "quokka"} < best

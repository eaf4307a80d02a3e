"""Weights of tokens, against their definitions written out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.learning.advantages import ADVANTAGES
from rlcompress.learning.token_weights import TOKEN_WEIGHTS

Lengths = list[list[int]]
LENGTHS = st.integers(1, 4).flatmap(
    lambda G: st.lists(st.lists(st.integers(0, 9), min_size=G, max_size=G), min_size=1, max_size=4)
)


def mask_of(lengths: Lengths) -> torch.Tensor:
    return torch.arange(9) < torch.tensor(lengths)[..., None]


def twin(name: str, lengths: Lengths, p: int, g: int, t: int) -> float:
    n = lengths[p][g]
    if t >= n:
        return 0.0
    there = [length for group in lengths for length in group if length]
    return {"grpo": 1 / (len(there) * n), "dapo": 1 / sum(there), "dr_grpo": 1 / (len(there) * 12)}[name]


@given(LENGTHS)
@pytest.mark.parametrize("name", ["grpo", "dapo", "dr_grpo"])
def test_each_token_weighs_what_its_paper_says(name: str, lengths: Lengths) -> None:
    weight_PGO = TOKEN_WEIGHTS[name](mask_of(lengths), 12)
    for p, group in enumerate(lengths):
        for g in range(len(group)):
            expected = [twin(name, lengths, p, g, t) for t in range(9)]
            assert weight_PGO[p, g].tolist() == pytest.approx(expected, rel=1e-6)


@given(LENGTHS)
def test_they_sum_to_one_or_to_the_share_of_the_room_that_was_used(lengths: Lengths) -> None:
    there = [length for group in lengths for length in group if length]
    sums = {name: float(weigh(mask_of(lengths), 12).sum()) for name, weigh in TOKEN_WEIGHTS.items()}
    used = sum(there) / (12 * len(there)) if there else 0.0
    whole = 1.0 if there else 0.0
    assert sums == pytest.approx({"grpo": whole, "dapo": whole, "dr_grpo": used, "rloo": used}, rel=1e-5)


def test_whoever_compares_inside_of_a_group_has_weights() -> None:
    assert TOKEN_WEIGHTS.keys() == ADVANTAGES.keys() - {"reinforce"}

"""Advantages: each group sums to zero, masked samples take no part, and each variant equals its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from rlcompress.config.schema import GROUPED
from rlcompress.learning.advantages import ADVANTAGES, group_spread


def case() -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(0)
    reward = rng.normal(size=(5, 6)) * rng.uniform(0.1, 10, size=(5, 1)) + 3
    ok = np.ones((5, 6), np.bool_)
    ok[1, 2] = ok[2, [0, 1, 4]] = False
    ok[3, 1:] = False  # one valid sample
    ok[4] = False  # none
    return torch.from_numpy(reward), torch.from_numpy(ok)


def slow(variant: str, values: list[float], epsilon: float) -> list[float]:
    mean = sum(values) / len(values)
    if variant == "dr_grpo":
        return [v - mean for v in values]
    if variant == "rloo":
        n = len(values)
        return [v - (sum(values) - v) / (n - 1) if n > 1 else 0.0 for v in values]
    deviation = (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5
    return [(v - mean) / (deviation + epsilon) for v in values]


@pytest.mark.parametrize("epsilon", [1e-8, 0.1])
@pytest.mark.parametrize("variant", GROUPED)
def test_equal_to_the_slow_twin_and_centred(variant: str, epsilon: float) -> None:
    reward, ok = case()
    advantage = ADVANTAGES[variant](reward, ok, epsilon)
    for p in range(4):
        rows = ok[p].nonzero()[:, 0].tolist()
        expected = slow(variant, reward[p, rows].tolist(), epsilon)
        assert advantage[p, rows].tolist() == pytest.approx(expected, abs=1e-9)
    assert advantage.sum(1).abs().max() < 1e-9
    assert not advantage[~ok].any()
    assert not advantage[3:].any()


@pytest.mark.parametrize("variant", GROUPED)
def test_masked_samples_take_no_part(variant: str) -> None:
    reward, ok = case()
    broken = torch.where(ok, reward, float("nan"))
    assert torch.equal(ADVANTAGES[variant](broken, ok), ADVANTAGES[variant](reward, ok))
    assert torch.equal(group_spread(broken, ok), group_spread(reward, ok))


@pytest.mark.parametrize("variant", GROUPED)
def test_equal_rewards_teach_nothing(variant: str) -> None:
    advantage = ADVANTAGES[variant](torch.full((1, 7), 0.1, dtype=torch.float64), torch.ones(1, 7, dtype=torch.bool))
    assert advantage.abs().max() < 1e-6


def test_group_spread() -> None:
    reward, ok = case()
    spread = group_spread(reward, ok)
    for p in range(3):
        assert float(spread[p]) == pytest.approx(float(np.std(reward[p][ok[p]].numpy())))
    assert spread[3:].tolist() == [0.0, 0.0]
    assert float(group_spread(torch.ones(1, 4), torch.ones(1, 4, dtype=torch.bool))) == 0.0


def test_variants_differ() -> None:
    reward, ok = case()
    values = {name: ADVANTAGES[name](reward, ok)[0] for name in ("grpo", "dr_grpo", "rloo")}
    assert float(values["grpo"].std(correction=0)) == pytest.approx(1.0, abs=1e-6)
    torch.testing.assert_close(values["rloo"], values["dr_grpo"] * 6 / 5)


def test_the_batch_as_baseline_equals_the_slow_twin() -> None:
    """REINFORCE: one mean over all valid samples, also where a prompt has one sample alone."""
    reward, ok = case()
    for columns in (slice(None), slice(0, 1)):
        part, valid = reward[:, columns], ok[:, columns]
        values = part[valid].tolist()
        expected = [
            [r - sum(values) / len(values) if m else 0.0 for r, m in zip(*row, strict=True)]
            for row in zip(part.tolist(), valid.tolist(), strict=True)
        ]
        broken = torch.where(valid, part, float("nan"))
        for advantage in (ADVANTAGES["reinforce"](part, valid), ADVANTAGES["reinforce"](broken, valid)):
            assert advantage.flatten().tolist() == pytest.approx([x for row in expected for x in row], abs=1e-9)
        assert float(ADVANTAGES["reinforce"](part, valid).sum()) == pytest.approx(0.0, abs=1e-9)


def test_every_grouped_algorithm_has_its_advantage() -> None:
    assert {*GROUPED, "reinforce"} == ADVANTAGES.keys()

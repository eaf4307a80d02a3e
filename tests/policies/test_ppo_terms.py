"""PPO's loss against a slow twin; what a value or a step without decisions may and may not do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from policies.connectors import ADVANTAGE, DRAWS, FREE, LOGP, ORDER, TARGET, TAU, VALUE
from policies.learner import DECISIONS
from policies.ppo_learner import STEPS, ppo_terms

SETTINGS = {"clip_low": 0.2, "clip_high": 0.28, "entropy_coeff": 0.02, "value_coeff": 0.5, "value_clip": 0.1}
N = 6


def made(seed: int = 0, steps: int = 8) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Scores, values and a batch whose steps have 0 to 4 decisions among 1 to 6 free units."""
    rng = np.random.default_rng(seed)
    free_P = rng.integers(1, N + 1, steps)
    draws_P = np.array([int(rng.integers(0, f)) for f in free_P])
    draws_P[0], free_P[1], draws_P[1] = 0, N, 4
    order_PN = np.stack([np.pad(rng.permutation(N)[:f], (0, N + 2 - f)) for f in free_P])  # stored wider than needed
    batch: dict[str, Any] = {
        ORDER: order_PN,
        DRAWS: draws_P,
        FREE: free_P,
        TAU: rng.uniform(0.3, 1.2, steps),
        LOGP: np.pad(rng.normal(-1.5, 0.4, (steps, N)), [(0, 0), (0, 2)]),
        ADVANTAGE: rng.normal(size=steps),
        TARGET: rng.normal(size=steps),
        VALUE: rng.normal(size=steps),
        DECISIONS: np.full(steps, float(draws_P.sum())),
        STEPS: np.full(steps, float(steps)),
    }
    tensors = {name: torch.from_numpy(np.asarray(values)) for name, values in batch.items()}
    return torch.from_numpy(rng.normal(size=(steps, N))), torch.from_numpy(rng.normal(size=steps)), tensors


def twin(scores_PN: Tensor, value_P: Tensor, batch: dict[str, Tensor]) -> dict[str, float]:
    """Draw by draw, choice by choice."""
    columns = {name: value.numpy() for name, value in batch.items()}
    surrogate = entropy = kl = clipped = value = deviation = 0.0
    for p, scores_N in enumerate(scores_PN.numpy()):
        near = columns[VALUE][p] + np.clip(value_P.numpy()[p] - columns[VALUE][p], -0.1, 0.1)
        errors = [(v - columns[TARGET][p]) ** 2 for v in (value_P.numpy()[p], near)]
        value += 0.5 * max(errors) / len(scores_PN)
        left = columns[ORDER][p][: columns[FREE][p]].tolist()
        for d in range(columns[DRAWS][p]):
            tempered = scores_N[left] / columns[TAU][p]
            chances = np.exp(tempered - tempered.max())
            chances /= chances.sum()
            gap = np.log(chances[0]) - columns[LOGP][p, d]
            ratio, advantage = np.exp(gap), columns[ADVANTAGE][p]
            surrogate -= min(ratio * advantage, np.clip(ratio, 0.8, 1.28) * advantage)
            entropy -= float((chances * np.log(chances)).sum())
            kl += ratio - 1 - gap
            clipped += not 0.8 <= ratio <= 1.28
            deviation += abs(ratio - 1)
            left.pop(0)
    count = columns[DRAWS].sum()
    terms = {"surrogate": surrogate, "entropy": entropy, "kl": kl, "clip_fraction": clipped}
    means = {name: total / count for name, total in terms.items()} | {"ratio_deviation": deviation / count}
    loss = means["surrogate"] + 0.5 * value - 0.02 * means["entropy"]
    return {**means, "value_loss": value, "loss": loss}


@pytest.mark.parametrize("seed", range(4))
def test_every_term_equals_the_slow_twin(seed: int) -> None:
    scores_PN, value_P, batch = made(seed)
    found = ppo_terms(scores_PN, value_P, batch, SETTINGS)
    expected = twin(scores_PN, value_P, batch)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(value, abs=1e-6), name


def test_micro_batches_add_up_to_the_whole() -> None:
    scores_PN, value_P, batch = made()
    whole = ppo_terms(scores_PN, value_P, batch, SETTINGS)
    for size in (1, 3):
        parts = [slice(start, start + size) for start in range(0, len(scores_PN), size)]
        shares = [
            ppo_terms(scores_PN[part], value_P[part], {k: v[part] for k, v in batch.items()}, SETTINGS)
            for part in parts
        ]
        for name, value in whole.items():
            assert float(sum(share[name] for share in shares)) == pytest.approx(float(value), abs=1e-9), name


def test_a_step_without_decisions_trains_the_critic_and_not_the_policy() -> None:
    scores_PN, value_P, batch = made()
    batch[DRAWS] = torch.zeros_like(batch[DRAWS])
    batch[DECISIONS] = torch.ones_like(batch[DECISIONS])
    scores_PN.requires_grad_()
    value_P.requires_grad_()
    terms = ppo_terms(scores_PN, value_P, batch, SETTINGS)
    terms["loss"].backward()
    assert float(terms["surrogate"].detach()) == float(terms["entropy"].detach()) == 0.0
    assert scores_PN.grad is not None
    assert not scores_PN.grad.any()
    assert value_P.grad is not None
    assert value_P.grad.any()


def test_a_better_draw_becomes_likelier() -> None:
    scores_PN, value_P, batch = made()
    scores_PN.requires_grad_()
    order, p = batch[ORDER], 1
    batch[ADVANTAGE] = torch.zeros_like(batch[ADVANTAGE])
    batch[ADVANTAGE][p] = 1.0
    batch[LOGP][p] = 0.0  # the ratio is below 1: nothing is clipped
    ppo_terms(scores_PN, value_P, batch, {**SETTINGS, "entropy_coeff": 0.0})["loss"].backward()
    assert scores_PN.grad is not None
    assert scores_PN.grad[p, order[p, 0]] < 0, "descending raises the score of what was drawn first"
    assert not scores_PN.grad[torch.arange(len(scores_PN)) != p].any()

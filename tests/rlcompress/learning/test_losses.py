"""Policy losses against loops over single decisions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from rlcompress.learning.losses import (
    KL_ESTIMATORS,
    clip_fraction,
    clipped_surrogate,
    kl_to_reference,
    masked_mean,
    score_function,
)

LOW, HIGH, COUNT = 0.2, 0.4, 37.0


def case(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log-probabilities now and then, advantages [4, 5, 6] and a mask; ratios on both sides of both clips."""
    rng = np.random.default_rng(seed)
    old = -rng.exponential(2.0, size=(4, 5, 6))
    new = old + 0.5 * rng.normal(size=old.shape)
    advantage = np.broadcast_to(rng.normal(size=(4, 5, 1)), old.shape)
    mask = rng.random(old.shape) < 0.7
    return tuple(torch.from_numpy(x.copy()) for x in (new, old, advantage, mask))  # type: ignore[return-value]


def test_surrogate_equals_the_slow_twin() -> None:
    new, old, advantage, mask = case()
    total, outside = 0.0, 0
    for l1, l0, a, m in zip(*(x.flatten().tolist() for x in (new, old, advantage, mask)), strict=True):
        if m:
            ratio = math.exp(l1 - l0)
            total -= min(ratio * a, min(max(ratio, 1 - LOW), 1 + HIGH) * a)
            outside += ratio < 1 - LOW or ratio > 1 + HIGH
    value = clipped_surrogate(new, old, advantage, mask, low=LOW, high=HIGH, count=COUNT)
    assert float(value) == pytest.approx(total / COUNT, abs=1e-9)
    share = clip_fraction(new, old, mask, low=LOW, high=HIGH, count=torch.tensor(COUNT))
    assert float(share) == pytest.approx(outside / COUNT)
    assert outside > 10


@pytest.mark.parametrize(
    ("advantage", "ratio", "moves"),
    [(1.0, 1.3, True), (1.0, 1.5, False), (1.0, 0.5, True), (-1.0, 0.9, True), (-1.0, 0.7, False), (-1.0, 2.0, True)],
)
def test_where_the_clip_stops_the_gradient(advantage: float, ratio: float, moves: bool) -> None:
    """High clip at 1.4 for good samples, low clip at 0.8 for bad ones, none in the other directions."""
    new = torch.tensor([math.log(ratio)], dtype=torch.float64, requires_grad=True)
    one = torch.ones(1, dtype=torch.bool)
    clipped_surrogate(new, torch.zeros(1), torch.tensor([advantage]), one, low=LOW, high=HIGH, count=1.0).backward()  # type: ignore[no-untyped-call]
    assert new.grad is not None
    assert float(new.grad) == pytest.approx(-advantage * ratio if moves else 0.0)


@pytest.mark.parametrize("estimator", sorted(KL_ESTIMATORS))
def test_kl_equals_the_slow_twin(estimator: str) -> None:
    new, reference, _, mask = case(1)
    formulas = {"k1": lambda d: -d, "k2": lambda d: d * d / 2, "k3": lambda d: math.exp(d) - 1 - d}
    gaps = (reference - new)[mask].tolist()
    value = kl_to_reference(new, reference, mask, estimator=estimator, count=COUNT)
    assert float(value) == pytest.approx(sum(formulas[estimator](d) for d in gaps) / COUNT, abs=1e-9)
    assert float(kl_to_reference(new, new, mask, estimator=estimator, count=COUNT)) == 0.0


@pytest.mark.parametrize(("estimator", "error"), [("k1", 0.02), ("k2", 0.05), ("k3", 0.02)])
def test_estimators_estimate_the_kl(estimator: str, error: float) -> None:
    rng = np.random.default_rng(3)
    policy, reference = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.35, 0.25])
    drawn = rng.choice(3, 200_000, p=policy)
    gap = torch.from_numpy(np.log(reference)[drawn] - np.log(policy)[drawn])
    exact = float((policy * np.log(policy / reference)).sum())
    assert float(KL_ESTIMATORS[estimator](gap).mean()) == pytest.approx(exact, rel=0.1, abs=error * exact)


def test_masked_places_give_no_value_and_no_gradient() -> None:
    new, old, advantage, mask = case()
    new = torch.where(mask, new, 500.0).requires_grad_()  # would overflow
    old = torch.where(mask, old, -500.0)
    advantage = torch.where(mask, advantage, float("nan"))
    loss = clipped_surrogate(new, old, advantage, mask, low=LOW, high=HIGH, count=COUNT)
    for estimator in KL_ESTIMATORS:
        loss = loss + kl_to_reference(new, old, mask, estimator=estimator, count=COUNT)
    (loss + masked_mean(new, mask, count=COUNT)).backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    assert new.grad is not None
    assert torch.isfinite(new.grad).all()
    assert not new.grad[~mask].any()
    assert new.grad[mask].any()


def test_masked_mean() -> None:
    value, _, _, mask = case()
    assert float(masked_mean(value, mask, count=COUNT)) == pytest.approx(float(value[mask].sum()) / COUNT)


def test_score_function_equals_the_slow_twin_and_the_surrogate_where_the_ratio_is_one() -> None:
    new, _, advantage, mask = case()
    broken = torch.where(mask, advantage, float("nan"))
    pairs = zip(new[mask].tolist(), advantage[mask].tolist(), strict=True)
    assert float(score_function(new, broken, mask, count=COUNT)) == pytest.approx(
        -sum(a * logp for logp, a in pairs) / COUNT, abs=1e-9
    )
    here = new.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score_function(here, advantage, mask, count=COUNT), here)
    surrogate = clipped_surrogate(here, new, advantage, mask, low=LOW, high=HIGH, count=COUNT)
    torch.testing.assert_close(torch.autograd.grad(surrogate, here)[0], gradient)

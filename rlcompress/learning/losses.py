"""Policy losses as plain functions of tensors. Masks and normalisers are arguments, never derived here.

Each term is a sum over decisions divided by a *global* count, so that micro-batches and data-parallel shards add up
to exactly the loss of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

KlFn = Callable[[Tensor], Tensor]


def clipped_surrogate(
    logp: Tensor, logp_old: Tensor, advantage: Tensor, mask: Tensor, *, low: float, high: float, count: Tensor | float
) -> Tensor:
    """−Σ min(ρ A, clip(ρ, 1 − low, 1 + high) A) / count with ρ = exp(logp − logp_old) per decision.

    PPO's objective (Schulman et al. 2017); `high > low` is DAPO's clip-higher (Yu et al. 2025).
    Shapes are equal or broadcast; `mask` says which places are decisions.
    """
    ratio = torch.where(mask, logp - logp_old, 0.0).exp()
    gain = torch.minimum(ratio * advantage, ratio.clamp(1.0 - low, 1.0 + high) * advantage)
    return -torch.where(mask, gain, 0.0).sum() / count


def score_function(logp: Tensor, advantage: Tensor, mask: Tensor, *, count: Tensor | float) -> Tensor:
    """−Σ A·logp / count (REINFORCE, Williams 1992): its gradient is the policy gradient where the samples were drawn.

    No ratio corrects for weights that moved since then, so each batch of samples serves one update.
    """
    return -torch.where(mask, advantage * logp, 0.0).sum() / count


def _k1(log_ratio: Tensor) -> Tensor:
    return -log_ratio


def _k2(log_ratio: Tensor) -> Tensor:
    return 0.5 * log_ratio.square()


def _k3(log_ratio: Tensor) -> Tensor:
    return log_ratio.exp() - 1.0 - log_ratio


# Estimators of KL(policy ‖ reference) from samples of the policy, of log_ratio = logp_reference − logp
# (Schulman 2020, "Approximating KL divergence"): k1 unbiased, k2 low variance, k3 both and never negative.
KL_ESTIMATORS: dict[str, KlFn] = {"k1": _k1, "k2": _k2, "k3": _k3}


def kl_to_reference(
    logp: Tensor, logp_reference: Tensor, mask: Tensor, *, estimator: str, count: Tensor | float
) -> Tensor:
    """Σ of the chosen estimator over decisions, divided by `count`."""
    value = KL_ESTIMATORS[estimator](torch.where(mask, logp_reference - logp, 0.0))
    return torch.where(mask, value, 0.0).sum() / count


def masked_mean(value: Tensor, mask: Tensor, *, count: Tensor | float) -> Tensor:
    """Σ of `value` where `mask` holds, divided by `count`."""
    return torch.where(mask, value, 0.0).sum() / count


def clip_fraction(logp: Tensor, logp_old: Tensor, mask: Tensor, *, low: float, high: float, count: Tensor) -> Tensor:
    """Share of decisions whose ratio lies outside the clip range."""
    ratio = torch.where(mask, logp - logp_old, 0.0).exp()
    outside = (ratio < 1.0 - low) | (ratio > 1.0 + high)
    return (outside & mask).sum() / count


def value_loss(
    value: Tensor, value_old: Tensor, target: Tensor, *, clip: float | None, count: Tensor | float
) -> Tensor:
    """Σ ½ (V − target)² / count; with `clip`, V may move at most so far from the sampled value before it stops to gain.

    The clipped form takes the larger of both errors (Schulman et al. 2017, as in their published code).
    """
    error = (value - target).square()
    if clip is not None:
        near = value_old + (value - value_old).clamp(-clip, clip)
        error = torch.maximum(error, (near - target).square())
    return 0.5 * error.sum() / count

"""Advantages of G samples of P prompts, relative to their group or to the batch. All take and give [P, G] with a mask.

Masked samples (a failed judge, nothing to decide) take no part: neither in the statistics nor in the loss.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

EPSILON = 1e-8


class AdvantageFn(Protocol):
    """Rewards and mask [P, G] to advantages [P, G]; `epsilon` matters to those that divide by a group's spread."""

    def __call__(self, reward_PG: Tensor, ok_PG: Tensor, epsilon: float = EPSILON, /) -> Tensor: ...


def group_spread(reward_PG: Tensor, ok_PG: Tensor) -> Tensor:
    """Standard deviation [P] of the valid rewards of each group (divisor n); 0 with fewer than two."""
    count = ok_PG.sum(1)
    centred = _centred(reward_PG, ok_PG)
    spread = (centred.square().sum(1) / count.clamp(min=1)).sqrt()
    return torch.where(count >= 2, spread, 0.0)


def centred(reward_PG: Tensor, ok_PG: Tensor, _epsilon: float = EPSILON) -> Tensor:
    """A = r − mean (Dr. GRPO, Liu et al. 2025): no division, so easy and hard prompts keep their scale."""
    return _centred(reward_PG, ok_PG)


def standardised(reward_PG: Tensor, ok_PG: Tensor, epsilon: float = EPSILON) -> Tensor:
    """A = (r − mean) / (std + ε) (GRPO, Shao et al. 2024), std with divisor n.

    A small ε makes as much of a trifle as of all that is at stake; one as large as a trifle's spread keeps it small.
    """
    spread_P = group_spread(reward_PG, ok_PG)
    return _centred(reward_PG, ok_PG) / (spread_P[:, None] + epsilon)


def leave_one_out(reward_PG: Tensor, ok_PG: Tensor, _epsilon: float = EPSILON) -> Tensor:
    """A = r − mean of the others = n/(n−1) · (r − mean) (RLOO, Ahmadian et al. 2024); 0 for a group of one."""
    count = ok_PG.sum(1, keepdim=True).to(reward_PG.dtype)
    factor = torch.where(count >= 2, count / (count - 1).clamp(min=1), 0.0)
    return _centred(reward_PG, ok_PG) * factor


def batch_centred(reward_PG: Tensor, ok_PG: Tensor, _epsilon: float = EPSILON) -> Tensor:
    """A = r − mean over the batch's valid samples (REINFORCE with a constant baseline, Williams 1992).

    One baseline for all prompts: needs no group, and how hard a prompt is stays in A as noise.
    """
    return _centred(reward_PG.reshape(1, -1), ok_PG.reshape(1, -1)).reshape(reward_PG.shape)


def _centred(reward_PG: Tensor, ok_PG: Tensor) -> Tensor:
    safe = torch.where(ok_PG, reward_PG, 0.0)
    mean = safe.sum(1, keepdim=True) / ok_PG.sum(1, keepdim=True).clamp(min=1)
    return torch.where(ok_PG, safe - mean, 0.0)


ADVANTAGES: dict[str, AdvantageFn] = {
    "grpo": standardised,
    "dapo": standardised,
    "dr_grpo": centred,
    "rloo": leave_one_out,
    "reinforce": batch_centred,
}


def generalised(reward_BT: Tensor, value_BT: Tensor, *, gamma: float, lam: float) -> Tensor:
    """Generalised advantage estimates [B, T] (Schulman et al. 2016) of whole episodes that end by themselves.

    A_t = Σ_k (γλ)^k δ_{t+k} with δ_t = r_t + γ V(s_{t+1}) − V(s_t), and V = 0 after the last step. The value targets
    are A + V.
    """
    following = torch.nn.functional.pad(value_BT[:, 1:], (0, 1))
    delta_BT = reward_BT + gamma * following - value_BT
    advantage_BT = torch.zeros_like(delta_BT)
    running = torch.zeros_like(delta_BT[:, 0])
    for t in reversed(range(delta_BT.shape[1])):
        running = delta_BT[:, t] + gamma * lam * running
        advantage_BT[:, t] = running
    return advantage_BT


def beyond_others(advantage_BT: Tensor, group_B: Tensor) -> Tensor:
    """A − mean of the other episodes' A at the same step in the same group; A itself where an episode is alone.

    What other samples of a prompt gained says nothing of one's own actions: a baseline without bias (as in RLOO,
    Ahmadian et al. 2024) that takes away what the critic does not know of the prompt.
    """
    _, index_B = torch.unique(group_B, return_inverse=True)
    groups = int(index_B.max()) + 1
    size_B1 = torch.bincount(index_B, minlength=groups)[index_B][:, None].to(advantage_BT.dtype)
    total_BT = advantage_BT.new_zeros(groups, advantage_BT.shape[1]).index_add(0, index_B, advantage_BT)[index_B]
    others_BT = (total_BT - advantage_BT) / (size_B1 - 1).clamp(min=1)
    return advantage_BT - torch.where(size_B1 > 1, others_BT, 0.0)


def normalised(advantage: Tensor, mask: Tensor) -> Tensor:
    """(A − mean) / (std + 1e-8) over the places of `mask`, std with divisor n; 0 elsewhere."""
    count = mask.sum().clamp(min=1)
    centred = torch.where(mask, advantage - torch.where(mask, advantage, 0.0).sum() / count, 0.0)
    return centred / ((centred.square().sum() / count).sqrt() + 1e-8)

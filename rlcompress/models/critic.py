"""The critic: how much reward a half-compressed text will still bring. Only training knows it, never an artifact."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_NUMBERS = 5  # progress, budget left, rate, reward so far, logarithm of the units that are left


class Critic(nn.Module):
    """V(state) from the mean of what the scorer knows of the units that are left, and numbers of the state.

    Rewards of an episode add up to that of its last text, so V = F − paid: a forecast F of the last text's reward,
    less what has been paid already. A critic that had to tell `paid` from the units would need the judge for it, and
    what it misses of it would hide what an action is worth. The scorer's values come in detached: fitting values never
    moves the policy. The last layer starts at zero, so an untrained critic forecasts 0 everywhere.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width + _NUMBERS, width)
        self.inner = nn.Linear(width, width)
        self.head = nn.Linear(width, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(
        self,
        known_PND: Tensor,
        alive_PN: Tensor,
        progress_P: Tensor,
        left_P: Tensor,
        rate_P: Tensor,
        paid_P: Tensor,
    ) -> Tensor:
        """Values [P] from units [P, N, D] with their mask, t/K, budget left as a share, rate, reward so far."""
        alive_PN1 = alive_PN[..., None].to(known_PND.dtype)
        count_P1 = alive_PN1.sum(1)
        mean_PD = (known_PND.detach() * alive_PN1).sum(1) / count_P1.clamp(min=1.0)
        columns = [progress_P, left_P, rate_P, paid_P, count_P1[:, 0].clamp(min=1.0).log()]
        numbers = torch.stack(columns, -1).to(mean_PD.dtype)
        hidden = nn.functional.gelu(self.hidden(torch.cat([self.norm(mean_PD), numbers], -1)))
        value_P1: Tensor = self.head(nn.functional.gelu(self.inner(hidden)))
        return value_P1[:, 0] - paid_P

"""The critic: how much reward a half-compressed text will still bring. Only training knows it, never an artifact."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_NUMBERS = 4  # progress, budget left, rate, logarithm of the units that are left


class Critic(nn.Module):
    """V(state) from the mean of what the scorer knows of the units that are left, and numbers of the state.

    The scorer's values come in detached: fitting values never moves the policy. The last layer starts at zero, so an
    untrained critic says 0 everywhere.
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
        self, known_PND: Tensor, alive_PN: Tensor, progress_P: Tensor, left_P: Tensor, rate_P: Tensor
    ) -> Tensor:
        """Values [P] from units [P, N, D] with their mask, t/K, budget left as a share, and the requested rate."""
        alive_PN1 = alive_PN[..., None].to(known_PND.dtype)
        count_P1 = alive_PN1.sum(1)
        mean_PD = (known_PND.detach() * alive_PN1).sum(1) / count_P1.clamp(min=1.0)
        numbers = torch.stack([progress_P, left_P, rate_P, count_P1[:, 0].clamp(min=1.0).log()], -1).to(mean_PD.dtype)
        hidden = nn.functional.gelu(self.hidden(torch.cat([self.norm(mean_PD), numbers], -1)))
        value_P1: Tensor = self.head(nn.functional.gelu(self.inner(hidden)))
        return value_P1[:, 0]

"""Plackett–Luce over the free units: how an order is drawn, and its exact log-probability draw by draw.

An order is drawn by perturbing scores with Gumbel noise (Yellott 1977; Kool et al. 2019): sorting s/τ + Gumbel by
falling value draws without replacement with probability softmax(s/τ) over what is left. Only the draws up to and
including the unit that overflows the budget were decisions:

    logp_i = s_πi / τ − logsumexp_{j ≥ i} s_πj / τ
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rlcompress.selection import Ranking
from rlcompress.words import FloatArray, IntArray

_NOWHERE = -1e9  # finite, so that a padded place has gradient 0 and not NaN
_TINY = 1e-30


def gumbel_priorities(scores_N: FloatArray, tau: float, rng: np.random.Generator) -> FloatArray:
    """One sampled action: priorities [N] whose order is a Plackett–Luce draw at temperature `tau`."""
    return scores_N / tau + rng.gumbel(size=scores_N.shape)


def pack_rankings(groups: Sequence[Sequence[Ranking]], n_units: int) -> tuple[IntArray, IntArray, IntArray]:
    """Rankings of P prompts with G samples as arrays order_PGN (padded with 0), draws_PG and free_P."""
    P, G = len(groups), max((len(g) for g in groups), default=0)
    order_PGN = np.zeros((P, G, n_units), np.int64)
    draws_PG = np.zeros((P, G), np.int64)
    free_P = np.zeros(P, np.int64)
    for p, group in enumerate(groups):
        for g, ranking in enumerate(group):
            order_PGN[p, g, : len(ranking.order_M)] = ranking.order_M
            draws_PG[p, g] = ranking.draws
            free_P[p] = len(ranking.order_M)
    return order_PGN, draws_PG, free_P


def draw_mask(draws_PG: Tensor, n_units: int) -> Tensor:
    """Which places [P, G, N] of an order were decisions."""
    return torch.arange(n_units, device=draws_PG.device) < draws_PG[..., None]


def draw_logp(scores_PN: Tensor, order_PGN: Tensor, draws_PG: Tensor, free_P: Tensor, tau_P: Tensor) -> Tensor:
    """Log-probability [P, G, N] of each draw under the scores; 0 where there was no decision.

    One set of scores serves all G samples of a prompt, so one forward and backward pays for the group.
    """
    ordered, mask = _ordered(scores_PN, order_PGN, free_P, tau_P)
    logp = ordered - _from_here_on(ordered)
    return torch.where(mask & draw_mask(draws_PG, order_PGN.shape[-1]), logp, 0.0)


def draw_entropy(scores_PN: Tensor, order_PGN: Tensor, draws_PG: Tensor, free_P: Tensor, tau_P: Tensor) -> Tensor:
    """Exact entropy in nats [P, G, N] of the choice at each draw, 0 where there was none.

    With L_i = logsumexp_{j ≥ i} s_j/τ, unit i is chosen with p_i = exp(s_i/τ − L_i) and passed over with
    q_i = exp(L_{i+1} − L_i); a choice is a chain of such questions, each asked with probability exp(L_j − L_i):
    H_i = Σ_{j ≥ i} exp(L_j − L_i) h(p_j). All terms are positive, so nothing cancels however far scores lie apart.
    """
    ordered, mask = _ordered(scores_PN, order_PGN, free_P, tau_P)
    normaliser = _from_here_on(ordered)
    following = torch.nn.functional.pad(normaliser[..., 1:], (0, 1), value=_NOWHERE)
    chosen, passed = ordered - normaliser, following - normaliser
    question = -(chosen.exp() * chosen + passed.exp() * passed)
    entropy = (_from_here_on(normaliser + question.clamp(min=_TINY).log()) - normaliser).exp()
    return torch.where(mask & draw_mask(draws_PG, order_PGN.shape[-1]), entropy, 0.0)


def _from_here_on(value_PGN: Tensor) -> Tensor:
    """Log of the summed exponentials of this place and all that follow."""
    return value_PGN.flip(-1).logcumsumexp(-1).flip(-1)


def _ordered(scores_PN: Tensor, order_PGN: Tensor, free_P: Tensor, tau_P: Tensor) -> tuple[Tensor, Tensor]:
    """Tempered scores in the order drawn [P, G, N], and where a free unit stands."""
    P, G, N = order_PGN.shape
    tempered = scores_PN / tau_P[:, None]
    ordered = tempered[:, None].expand(P, G, N).gather(2, order_PGN)
    mask = (torch.arange(N, device=order_PGN.device) < free_P[:, None])[:, None].expand(P, G, N)
    return torch.where(mask, ordered, _NOWHERE), mask

"""Independent decisions: each free unit is kept with probability sigmoid(s/τ), so the policy chooses how much to drop.

Adding standard logistic noise to s/τ and keeping what is not negative draws exactly that: the logistic distribution is
symmetric, and P(noise >= −s/τ) = sigmoid(s/τ). Every free unit is a decision. A `Ranking` by `selection.cut` lists
the kept ones first, so place i of an order was kept where i < kept:

    logp_i = log sigmoid(±s_i/τ), + where kept          H_i = −p_i log p_i − (1 − p_i) log(1 − p_i)
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from rlcompress.learning.sampling import draw_mask
from rlcompress.words import FloatArray


def logistic_priorities(scores_N: FloatArray, tau: float, rng: np.random.Generator) -> FloatArray:
    """One sampled action: priorities [N] of which those >= 0 are kept."""
    return scores_N / tau + rng.logistic(size=scores_N.shape)


def unit_logp(scores_PN: Tensor, order_PGN: Tensor, draws_PG: Tensor, kept_PG: Tensor, tau_P: Tensor) -> Tensor:
    """Log-probability [P, G, N] of each decision under the scores; 0 where there was none."""
    logit_PGN = _logits(scores_PN, order_PGN, tau_P)
    signed = torch.where(draw_mask(kept_PG, order_PGN.shape[-1]), logit_PGN, -logit_PGN)
    return torch.where(draw_mask(draws_PG, order_PGN.shape[-1]), logsigmoid(signed), 0.0)


def unit_entropy(scores_PN: Tensor, order_PGN: Tensor, draws_PG: Tensor, tau_P: Tensor) -> Tensor:
    """Exact entropy in nats [P, G, N] of each decision, 0 where there was none.

    With z = |s/τ| it is log(1 + exp(−z)) + z·sigmoid(−z): both terms are positive, so nothing cancels.
    """
    size = _logits(scores_PN, order_PGN, tau_P).abs()
    entropy = softplus(-size) + size * torch.sigmoid(-size)
    return torch.where(draw_mask(draws_PG, order_PGN.shape[-1]), entropy, 0.0)


def _logits(scores_PN: Tensor, order_PGN: Tensor, tau_P: Tensor) -> Tensor:
    P, G, N = order_PGN.shape
    return (scores_PN / tau_P[:, None])[:, None].expand(P, G, N).gather(2, order_PGN)

"""The two ways in which scores become a mask: `exact` meets a budget, `bernoulli` chooses its own length.

One interface for both, so that runner, learner and validation have one path. A sampled mask is a `Ranking`; the columns
of G samples of P prompts (`order_PGN, draws_PG, kept_PG, free_P, tau_P`) say all that a log-probability needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from rlcompress.learning.bernoulli import logistic_priorities, unit_entropy, unit_logp
from rlcompress.learning.sampling import draw_entropy, draw_logp, gumbel_priorities
from rlcompress.selection import Ranking, budget_tokens, cut, rank, select, threshold
from rlcompress.words import Compression, FloatArray, IntArray, Units

Columns = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Sampler:
    """`logp` and `entropy` are [P, G, N], one a decision, in the order of `order_PGN`, and 0 elsewhere."""

    priorities: Callable[[FloatArray, float, np.random.Generator], FloatArray]  # scores [N], tau -> a drawn action [N]
    rank: Callable[[Units, FloatArray, float], Ranking]  # what the environment makes of an action at a rate
    served: Callable[[Units, FloatArray, float], Compression]  # what the scores alone keep, without noise
    logp: Callable[[Tensor, Columns], Tensor]
    entropy: Callable[[Tensor, Columns], Tensor]
    largest_entropy: Callable[[IntArray], float]  # in nats, mean over prompts with so many free units


SAMPLERS: dict[str, Sampler] = {
    "exact": Sampler(
        priorities=gumbel_priorities,
        rank=lambda units, priorities_N, rate: rank(units, priorities_N, budget_tokens(units, rate)),
        served=select,
        logp=lambda scores_PN, c: draw_logp(scores_PN, c["order_PGN"], c["draws_PG"], c["free_P"], c["tau_P"]),
        entropy=lambda scores_PN, c: draw_entropy(scores_PN, c["order_PGN"], c["draws_PG"], c["free_P"], c["tau_P"]),
        largest_entropy=lambda free_P: float(np.log(np.maximum(2, free_P)).mean()),
    ),
    "bernoulli": Sampler(
        priorities=logistic_priorities,
        rank=lambda units, priorities_N, rate: cut(units, priorities_N),
        served=lambda units, scores_N, rate: threshold(units, scores_N),
        logp=lambda scores_PN, c: unit_logp(scores_PN, c["order_PGN"], c["draws_PG"], c["kept_PG"], c["tau_P"]),
        entropy=lambda scores_PN, c: unit_entropy(scores_PN, c["order_PGN"], c["draws_PG"], c["tau_P"]),
        largest_entropy=lambda free_P: math.log(2),
    ),
}

"""Supervised learning: a scorer learns to order units as a teacher does, with no reward in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from rlcompress.config.schema import ImitationConfig
from rlcompress.learning.sampling import draw_logp, pack_rankings
from rlcompress.models.scorer import TextScorer
from rlcompress.selection import Ranking
from rlcompress.words import Example, Units


def imitate(
    scorer: TextScorer,
    units: Sequence[Units],
    examples: Sequence[Example],
    rankings: Sequence[Ranking],
    *,
    config: ImitationConfig,
    seed: int,
    on_step: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Maximise the Plackett–Luce likelihood of the draws that a teacher made of each text.

    Returns the loss of each step: mean negative log-probability, in nats, of a draw.
    """
    decided = [i for i, ranking in enumerate(rankings) if ranking.draws]
    rng = np.random.default_rng([seed, 2])
    network = scorer.network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    losses: list[float] = []
    for step in range(config.steps if decided else 0):
        chosen = [decided[i] for i in rng.integers(len(decided), size=config.batch)]
        features = scorer.features([units[i] for i in chosen], [examples[i].question for i in chosen])
        scores_PN = network({name: torch.from_numpy(value).to(scorer.device) for name, value in features.items()})
        packed = pack_rankings([[rankings[i]] for i in chosen], scores_PN.shape[1])
        order_PGN, draws_PG, free_P = (torch.from_numpy(array).to(scorer.device) for array in packed)
        logp = draw_logp(scores_PN, order_PGN, draws_PG, free_P, torch.ones(len(chosen), device=scorer.device))
        loss = -logp.sum() / draws_PG.sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if on_step is not None:
            on_step(step, losses[-1])
    network.eval()
    return losses

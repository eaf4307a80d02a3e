"""Groups as a runner makes them, without Ray: real texts, a real scorer, drawn orders, random rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from policies.groups import Group, learner_columns
from policies.grpo_learner import grpo_terms
from policies.learner import DECISIONS
from policies.rollouts import Task
from rlcompress.learning.advantages import ADVANTAGES
from rlcompress.learning.samplers import SAMPLERS
from rlcompress.learning.sampling import pack_rankings
from rlcompress.models.scorer import TextScorer
from rlcompress.text.segment import Segmenter
from rlcompress.words import Status

SETTINGS = {
    "sampler": "exact",
    "clip_low": 0.2,
    "clip_high": 0.28,
    "entropy_coeff": 0.01,
    "kl_coeff": 0.1,
    "kl_estimator": "k3",
}
FEATURES = ("ids_PWT", "valid_PWT", "own_PWT", "unit_PWT", "segment_PWT", "exists_PN")
Columns = dict[str, Tensor]


def sample_groups(
    scorer: TextScorer, texts: Sequence[str], *, G: int = 4, rate: float = 0.5, seed: int = 0, sampler: str = "exact"
) -> list[Group]:
    """One forward of all texts together; log-probabilities in the network's own precision."""
    segmenter = Segmenter(scorer.features.tokenizer, protect=("numbers",))
    units = [segmenter(text) for text in texts]
    features = scorer.features(units, [None] * len(units))
    with torch.no_grad():
        scores_PN = scorer.network({k: torch.from_numpy(v) for k, v in features.items()})
    groups = []
    for p, one in enumerate(units):
        rng = np.random.default_rng([seed, p])
        task = Task(p, p, rate, 0.6 + 0.2 * p, seed)
        scores_N = scores_PN[p, : len(one)].double().numpy()
        how = SAMPLERS[sampler]
        priorities = [how.priorities(scores_N, task.tau, rng) for _ in range(G)]
        rankings = [how.rank(one, values, rate) for values in priorities]
        order_PGN, draws_PG, free_P = (torch.from_numpy(x) for x in pack_rankings([rankings], scores_PN.shape[1]))
        columns = {
            "order_PGN": order_PGN,
            "draws_PG": draws_PG,
            "kept_PG": torch.tensor([[ranking.kept for ranking in rankings]]),
            "free_P": free_P,
            "tau_P": torch.tensor([task.tau], dtype=scores_PN.dtype),
        }
        logp = how.logp(scores_PN[p : p + 1], columns)
        statuses = [Status.OK] * G
        if p == 1:
            statuses[2] = Status.JUDGE_FAILED
        reward_G = np.where([s == Status.OK for s in statuses], rng.normal(size=G), np.nan)
        groups.append(
            Group(
                task=task,
                features={name: value[p : p + 1] for name, value in features.items()},
                order_GN=order_PGN[0].numpy(),
                draws_G=draws_PG[0].numpy(),
                chosen_G=columns["kept_PG"][0].numpy(),
                free=int(free_P[0]),
                logp_GN=logp[0].numpy(),
                reward_G=reward_G,
                status_G=tuple(statuses),
                terms={"distortion": reward_G},
                achieved_rate_G=np.full(G, rate),
                kept_GN=np.stack([how.served(one, values, rate).kept_N for values in priorities]),
                judge_version_G=("planted",) * G,
                served=(how.served(one, scores_N, rate).kept_tokens, one.total_cost),
            )
        )
    return groups


def as_batch(groups: Sequence[Group], dtype: torch.dtype) -> Columns:
    """The learner's batch of these groups, advantages and the global number of decisions included."""
    columns: Columns = {name: torch.from_numpy(value) for name, value in learner_columns(groups).items()}
    reward_PG = torch.from_numpy(np.stack([group.reward_G for group in groups]))
    columns["advantage_PG"] = ADVANTAGES["grpo"](reward_PG, columns["ok_PG"]).to(dtype)
    decisions = (columns["draws_PG"] * columns["ok_PG"]).sum()
    columns[DECISIONS] = torch.full((len(groups),), float(decisions), dtype=dtype)
    columns["tau_P"] = torch.tensor([group.task.tau for group in groups], dtype=dtype)
    return columns


def scores_of(scorer: TextScorer, batch: Mapping[str, Tensor]) -> Tensor:
    result: Tensor = scorer.network({name: batch[name] for name in FEATURES})
    return result


def loss_and_gradient(
    scorer: TextScorer, parts: Sequence[Columns], reference: TextScorer | None, settings: Mapping[str, Any] = SETTINGS
) -> tuple[dict[str, float], Tensor]:
    """Terms and gradient [parameters], accumulated over the micro-batches `parts`."""
    sums: dict[str, float] = {}
    scorer.network.zero_grad(set_to_none=True)
    for part in parts:
        other_PN = scores_of(reference, part).detach() if reference else None
        terms = grpo_terms(scores_of(scorer, part), part, settings, other_PN)
        terms["loss"].backward()  # type: ignore[no-untyped-call]
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
    gradients = [p.grad.flatten() for p in scorer.network.parameters() if p.grad is not None]
    return sums, torch.cat(gradients)

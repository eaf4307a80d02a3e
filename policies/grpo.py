"""GRPO on RLlib's new API stack: own group runner, own training step, own learner."""

from __future__ import annotations

from typing import Any

import numpy as np

from policies.algorithm import SERVED, CompressorConfig, Metrics
from policies.group_algorithm import GroupAlgorithm, advantages
from policies.group_runner import GroupRunner
from policies.groups import Group, learner_columns
from policies.grpo_learner import SHARES, GRPOLearner
from policies.learner import DECISIONS
from rlcompress.config.schema import LearnerConfig
from rlcompress.learning.samplers import SAMPLERS


class GRPOConfig(CompressorConfig):
    """See `CompressorConfig.run`."""

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or GRPO)
        self.env_runners(env_runner_cls=GroupRunner)

    def get_default_learner_class(self) -> type:
        return GRPOLearner


class GRPO(GroupAlgorithm[Group]):
    """Group-relative policy optimisation (Shao et al. 2024) for one-step masking episodes."""

    SHARES = SHARES

    @classmethod
    def get_default_config(cls) -> GRPOConfig:
        return GRPOConfig()

    def measured(self, groups: list[Group]) -> Metrics:
        return {**super().measured(groups), **_served(groups)}

    def learn(self, samples: list[Group], settings: LearnerConfig) -> Metrics:
        columns: dict[str, Any] = learner_columns(samples)
        advantage_PG, spread = advantages(samples, settings)
        decisions = int((columns["draws_PG"] * columns["ok_PG"]).sum())
        columns["advantage_PG"] = advantage_PG.float().numpy()
        columns[DECISIONS] = np.full(len(samples), decisions, np.float32)
        metrics = self.update(columns, advantage_PG.numel(), settings)
        most = SAMPLERS[self.config.sampler].largest_entropy(columns["free_P"])
        self.entropy = metrics.get("learner/entropy", 0.0) / most
        return {**metrics, "learner/decisions": float(decisions), **spread}


def _served(groups: list[Group]) -> Metrics:
    """Kept fraction of the policy as it is served, without noise: sum of kept tokens / sum of all."""
    kept, tokens = (
        (sum(column) for column in zip(*(group.served for group in groups), strict=True)) if groups else (0, 0)
    )
    return {SERVED: kept / tokens} if tokens else {}

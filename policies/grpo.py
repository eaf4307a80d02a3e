"""GRPO on RLlib's new API stack: own group runner, own training step, own learner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from policies.algorithm import SERVED, CompressorAlgorithm, CompressorConfig, Metrics, check_skipped, learning_rate
from policies.group_runner import GroupRunner, make_env
from policies.groups import Group, learner_columns
from policies.grpo_learner import SHARES, GRPOLearner
from policies.learner import DECISIONS, learner_metrics
from policies.rollouts import SampleReport, Task
from rlcompress.config.schema import LearnerConfig
from rlcompress.learning.advantages import ADVANTAGES, group_spread
from rlcompress.learning.samplers import SAMPLERS
from rlcompress.words import Status


class GRPOConfig(CompressorConfig):
    """See `CompressorConfig.run`."""

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or GRPO)
        self.env_runners(env_runner_cls=GroupRunner)

    def get_default_learner_class(self) -> type:
        return GRPOLearner


class GRPO(CompressorAlgorithm[Group]):
    """Group-relative policy optimisation (Shao et al. 2024) for one-step masking episodes."""

    @classmethod
    def get_default_config(cls) -> GRPOConfig:
        return GRPOConfig()

    def try_env(self) -> None:
        make_env(self.config, 0).close()

    @staticmethod
    def sample_on(runner: GroupRunner, tasks: Sequence[Task]) -> SampleReport[Group]:
        return runner.sample(tasks=tasks)

    def collect(self, settings: LearnerConfig) -> tuple[list[Group], Metrics]:
        """Groups with something to learn from; those without are dropped, replaced within bounds, and counted."""
        usable: list[Group] = []
        everything: list[Group] = []
        counts: Counter[str] = Counter()
        for _ in range(1 + settings.refills):
            missing = settings.prompts_per_step - len(usable)
            if not missing:
                break
            groups = self.rollouts.sample(self.next_tasks(missing))
            everything.extend(groups)
            counts["samples/raised"] += (missing - len(groups)) * settings.samples_per_prompt
            for group in groups:
                for status in group.status_G:
                    counts[f"samples/{status.value}"] += 1
                if self.teaches(group, settings):
                    usable.append(group)
                else:
                    counts["groups/dropped"] += 1
        counts["groups/used"] = len(usable)
        if everything and counts["samples/judge_failed"] == len(everything) * settings.samples_per_prompt:
            self.rollouts.count_failure(
                "the judge gave no verdict on any sample of an iteration: look at its process or judges.reward.timeout"
            )
        elif not counts["samples/raised"]:
            self.rollouts.all_went_well()
        self.last_rollout = [rolled for group in everything for rolled in group.rolled()]
        return usable, {
            **{k: float(v) for k, v in counts.items()},
            **_reward_metrics(everything),
            **_served(everything),
        }

    @staticmethod
    def teaches(group: Group, settings: LearnerConfig) -> bool:
        """Whether there is something to learn from a group: here, samples that differ in reward."""
        # torch.tensor copies: what Ray hands over is read-only memory
        spread = group_spread(torch.tensor(group.reward_G)[None], torch.tensor(group.ok_G)[None])
        return float(spread) > settings.spread_floor

    def learn(self, samples: list[Group], settings: LearnerConfig) -> Metrics:
        columns: dict[str, Any] = learner_columns(samples)
        reward_PG = torch.from_numpy(np.stack([group.reward_G for group in samples]))
        ok_PG = torch.from_numpy(columns["ok_PG"])
        advantage_PG = ADVANTAGES[settings.algorithm](reward_PG, ok_PG, settings.advantage_epsilon)
        decisions = int((columns["draws_PG"] * columns["ok_PG"]).sum())
        columns["advantage_PG"] = advantage_PG.float().numpy()
        columns[DECISIONS] = np.full(len(samples), decisions, np.float32)
        batch = MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(columns)}, env_steps=reward_PG.numel())
        lr = learning_rate(settings, self.iteration)
        results: Any = []
        for _ in range(settings.epochs):
            results = self.learner_group.update(
                batch=batch, timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self.position, "lr": lr}
            )
        metrics = learner_metrics([result[DEFAULT_MODULE_ID] for result in results], SHARES)
        check_skipped(metrics, settings)
        most = SAMPLERS[self.config.sampler].largest_entropy(columns["free_P"])
        self.entropy = metrics.get("learner/entropy", 0.0) / most
        return {
            **metrics,
            "learner/lr": lr,
            "learner/decisions": float(decisions),
            "advantage/std": float(advantage_PG[ok_PG].std()),
            "advantage/max": float(advantage_PG.abs().max()),
        }


def _served(groups: list[Group]) -> Metrics:
    """Kept fraction of the policy as it is served, without noise: sum of kept tokens / sum of all."""
    kept, tokens = (
        (sum(column) for column in zip(*(group.served for group in groups), strict=True)) if groups else (0, 0)
    )
    return {SERVED: kept / tokens} if tokens else {}


def _reward_metrics(groups: list[Group]) -> Metrics:
    """Means over judged samples, per reward term; spread is the mean standard deviation inside a group."""
    judged = [(g, np.array([s == Status.OK for s in g.status_G])) for g in groups]
    if not any(ok.any() for _, ok in judged):
        return {}
    rewards = np.concatenate([g.reward_G[ok] for g, ok in judged])
    result = {
        "reward/mean": float(rewards.mean()),
        "reward/std": float(rewards.std()),
        "reward/group_spread": float(np.mean([g.reward_G[ok].std() for g, ok in judged if ok.any()])),
        "rate/achieved": float(np.mean(np.concatenate([g.achieved_rate_G[ok] for g, ok in judged]))),
        "rate/requested": float(np.mean([g.task.rate for g in groups])),
    }
    for name in groups[0].terms:
        result[f"reward/{name}"] = float(np.mean(np.concatenate([g.terms[name][ok] for g, ok in judged])))
    return result

"""What algorithms over groups share: what is collected, what of it teaches, how it reaches the learner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from policies.algorithm import CompressorAlgorithm, Metrics, check_skipped, learning_rate
from policies.group_sampling import make_env
from policies.learner import learner_metrics
from policies.rollouts import HasTask, SampleReport, Task
from rlcompress.config.schema import LearnerConfig
from rlcompress.learning.advantages import ADVANTAGES, group_spread
from rlcompress.words import Status


class Grouped(HasTask, Protocol):
    """G samples of one task, whatever they are made of."""

    @property
    def reward_G(self) -> NDArray[np.float64]: ...  # noqa: N802 -- a shape in a name
    @property
    def status_G(self) -> tuple[Status, ...]: ...  # noqa: N802
    @property
    def ok_G(self) -> NDArray[np.bool_]: ...  # noqa: N802
    @property
    def achieved_rate_G(self) -> NDArray[np.float64]: ...  # noqa: N802
    @property
    def terms(self) -> dict[str, NDArray[np.float64]]: ...
    def rolled(self) -> Sequence[Any]: ...


G = TypeVar("G", bound=Grouped)


class GroupAlgorithm(CompressorAlgorithm[G]):
    """Groups are sampled, those that teach nothing replaced within bounds; a subclass learns from the rest."""

    SHARES: tuple[str, ...]  # metrics that each learner has a share of

    def try_env(self) -> None:
        make_env(self.config, 0).close()

    @staticmethod
    def sample_on(runner: Any, tasks: Sequence[Task]) -> SampleReport[G]:
        report: SampleReport[G] = runner.sample(tasks=tasks)
        return report

    def collect(self, settings: LearnerConfig) -> tuple[list[G], Metrics]:
        """Groups with something to learn from; those without are dropped, replaced within bounds, and counted."""
        usable: list[G] = []
        everything: list[G] = []
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
        if everything and (all_failed := self.complaint(counts, len(everything) * settings.samples_per_prompt)):
            self.rollouts.count_failure(all_failed)
        elif not counts["samples/raised"]:
            self.rollouts.all_went_well()
        self.last_rollout = [rolled for group in everything for rolled in group.rolled()]
        return usable, {
            **{k: float(v) for k, v in counts.items()},
            **self.measured(everything),
        }

    def complaint(self, counts: Counter[str], samples: int) -> str | None:
        """What ends the run where it comes iteration after iteration: all of its `samples` failed in one way."""
        asked = samples - counts["samples/unfinished"]
        if asked and counts["samples/judge_failed"] == asked:
            return "the judge gave no verdict on any sample of an iteration: look at its process and its timeout"
        return None

    def measured(self, groups: list[G]) -> Metrics:
        """Metrics of all groups of an iteration, dropped ones included."""
        return _reward_metrics(groups)

    @staticmethod
    def teaches(group: G, settings: LearnerConfig) -> bool:
        """Whether there is something to learn from a group: here, samples that differ in reward."""
        # torch.tensor copies: what Ray hands over is read-only memory
        spread = group_spread(torch.tensor(group.reward_G)[None], torch.tensor(group.ok_G)[None])
        return float(spread) > settings.spread_floor

    def update(self, columns: dict[str, Any], steps: int, settings: LearnerConfig) -> Metrics:
        """`epochs` updates on a batch of `steps` samples; metrics of the last."""
        batch = MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(columns)}, env_steps=steps)
        lr = learning_rate(settings, self.iteration)
        results: Any = []
        for _ in range(settings.epochs):
            results = self.learner_group.update(
                batch=batch, timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self.position, "lr": lr}
            )
        metrics = learner_metrics([result[DEFAULT_MODULE_ID] for result in results], self.SHARES)
        check_skipped(metrics, settings)
        return {**metrics, "learner/lr": lr}


def advantages(samples: Sequence[Grouped], settings: LearnerConfig) -> tuple[torch.Tensor, Metrics]:
    """Advantages [P, G] by `learner.algorithm`, and metrics of them."""
    reward_PG = torch.from_numpy(np.stack([group.reward_G for group in samples]))
    ok_PG = torch.from_numpy(np.stack([group.ok_G for group in samples]))
    advantage_PG = ADVANTAGES[settings.algorithm](reward_PG, ok_PG, settings.advantage_epsilon)
    return advantage_PG, {
        "advantage/std": float(advantage_PG[ok_PG].std()),
        "advantage/max": float(advantage_PG.abs().max()),
    }


def _reward_metrics(groups: Sequence[Grouped]) -> Metrics:
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

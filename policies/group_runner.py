"""A rollout actor that owns whole groups: one policy forward for P prompts, G samples each, one judge call."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import ray
import torch
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES, INPUT_ENV_SPACES
from ray.rllib.env.env_context import EnvContext
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.utils.framework import get_device
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME, WEIGHTS_SEQ_NO
from ray.tune.registry import ENV_CREATOR, _global_registry

from policies.groups import Group
from policies.module import SCORES
from policies.rollouts import SampleReport, Task
from rlcompress.learning.samplers import SAMPLERS
from rlcompress.learning.sampling import pack_rankings
from rlcompress.models.features import Features
from rlcompress.selection import Ranking
from rlcompress.words import FloatArray, Status, Units

_NOISE = 2  # which stream of the run's seed this is; the algorithm draws rates from another


def make_env(config: Any, worker_index: int) -> gym.vector.VectorEnv[Any, Any, Any]:
    """The vector environment of one runner, from RLlib's registry."""
    size = config.env_config["prompts_per_call"] * config.env_config["samples_per_prompt"]
    context = EnvContext({**config.env_config, "num_envs": size}, worker_index=worker_index)
    made: gym.vector.VectorEnv[Any, Any, Any] = _global_registry.get(ENV_CREATOR, config.env)(context)
    return made


class GroupRunner(EnvRunner):
    """Samples groups for GRPO. The environment, reached through RLlib's registry, stays the source of every reward.

    An exception in an environment or reward would end the actor without a word at the driver; here it becomes part
    of the `SampleReport`, with its traceback.
    """

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        self.group_size: int = config.env_config["samples_per_prompt"]
        self.prompts: int = config.env_config["prompts_per_call"]
        self.env = make_env(config, self.worker_index or 0)
        self.sampler = SAMPLERS[config.env_config["sampler"]]
        self.device = get_device(config, config.num_gpus_per_env_runner)
        self.module = config.get_rl_module_spec(spaces=self.get_spaces(), inference_only=True).build().to(self.device)
        self.sequence_number = 0

    def assert_healthy(self) -> None:
        assert self.module is not None

    def get_spaces(self) -> dict[str, tuple[gym.Space[Any], gym.Space[Any]]]:
        single = (self.env.single_observation_space, self.env.single_action_space)
        return {
            INPUT_ENV_SPACES: (self.env.observation_space, self.env.action_space),
            INPUT_ENV_SINGLE_SPACES: single,
            DEFAULT_MODULE_ID: single,
        }

    def sample(self, *, tasks: Sequence[Task], **kwargs: Any) -> SampleReport[Group]:
        """Sample every task; groups come back in the order of the tasks."""
        report: SampleReport[Group] = SampleReport(first=tasks[0].serial)
        for start in range(0, len(tasks), self.prompts):
            chunk = list(tasks[start : start + self.prompts])
            try:
                report.results.extend(self._sample_chunk(chunk))
            except Exception:
                report.errors.append(traceback.format_exc())
        self.metrics.log_value(
            NUM_ENV_STEPS_SAMPLED_LIFETIME, len(report.results) * self.group_size, reduce="lifetime_sum"
        )
        return report

    def _sample_chunk(self, tasks: list[Task]) -> list[Group]:
        G, wanted = self.group_size, len(tasks)
        filled = tasks + [tasks[-1]] * (self.prompts - wanted)  # a vector environment has a fixed size
        copies = [task for task in filled for _ in range(G)]
        observed, infos = self.env.reset(
            options={
                "indices": [task.example for task in copies],
                "rates": [task.rate for task in copies],
                "prices": [task.price for task in copies],
            }
        )
        texts: list[Units] = list(infos["units"][::G])[:wanted]
        questions: list[str | None] = [text or None for text in observed["question"][::G]][:wanted]
        features = self.module.features(texts, questions)
        tensors = {name: torch.from_numpy(value).to(self.device) for name, value in features.items()}
        with torch.no_grad():
            scores_PN: torch.Tensor = self.module.forward_inference(tensors)[SCORES].cpu()
        scores = [scores_PN[p, : len(units)].double().numpy() for p, units in enumerate(texts)]
        priorities = [
            [
                self.sampler.priorities(scores[p], task.tau, np.random.default_rng([task.seed, _NOISE, task.serial, g]))
                for g in range(G)
            ]
            for p, task in enumerate(tasks)
        ]
        rankings = [
            [self.sampler.rank(texts[p], values, task.rate) for values in priorities[p]] for p, task in enumerate(tasks)
        ]
        served = [self.sampler.served(texts[p], scores[p], task.rate).kept_tokens for p, task in enumerate(tasks)]
        _, rewards, _, _, outcome = self.env.step(self._actions(priorities))
        totals = [(kept, units.total_cost) for kept, units in zip(served, texts, strict=True)]
        return self._groups(tasks, features, scores_PN, rankings, totals, rewards, outcome)

    def _actions(self, priorities: list[list[FloatArray]]) -> np.ndarray[Any, Any]:
        width = self.env.single_action_space.shape[0]
        actions = np.zeros((self.prompts * self.group_size, width), np.float64)
        for p, group in enumerate(priorities):
            for g, values in enumerate(group):
                actions[p * self.group_size + g, : len(values)] = values
        return actions

    def _groups(
        self,
        tasks: list[Task],
        features: Features,
        scores_PN: torch.Tensor,
        rankings: list[list[Ranking]],
        served: list[tuple[int, int]],
        rewards: Any,
        outcome: dict[str, Any],
    ) -> list[Group]:
        G = self.group_size
        order_PGN, draws_PG, free_P = pack_rankings(rankings, scores_PN.shape[1])
        kept_PG = np.array([[ranking.kept for ranking in group] for group in rankings], np.int64)
        columns = {"order_PGN": order_PGN, "draws_PG": draws_PG, "kept_PG": kept_PG, "free_P": free_P}
        tensors = {name: torch.from_numpy(column) for name, column in columns.items()}
        tensors["tau_P"] = torch.tensor([t.tau for t in tasks])
        logp_PGN = self.sampler.logp(scores_PN, tensors).numpy()
        groups = []
        for p, task in enumerate(tasks):
            rows = slice(p * G, (p + 1) * G)
            groups.append(
                Group(
                    task=task,
                    features={name: value[p : p + 1] for name, value in features.items()},
                    order_GN=order_PGN[p],
                    draws_G=draws_PG[p],
                    chosen_G=kept_PG[p],
                    free=int(free_P[p]),
                    logp_GN=logp_PGN[p],
                    reward_G=np.asarray(rewards[rows], np.float64),
                    status_G=tuple(Status(s) for s in outcome["status"][rows]),
                    terms={name: np.asarray(values[rows]) for name, values in outcome["reward_terms"].items()},
                    achieved_rate_G=np.asarray(outcome["achieved_rate"][rows], np.float64),
                    kept_GN=np.stack([compression.kept_N for compression in outcome["compression"][rows]]),
                    judge_version_G=tuple(judgement.version for judgement in outcome["judgement"][rows]),
                    served=served[p],
                )
            )
        return groups

    def get_metrics(self) -> Any:
        return self.metrics.reduce()

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {COMPONENT_RL_MODULE: self.module.get_state(), WEIGHTS_SEQ_NO: self.sequence_number}

    def set_state(self, state: dict[str, Any]) -> None:  # RLlib calls it by this parameter name
        weights = state.get(COMPONENT_RL_MODULE)
        if weights is None:
            return
        if isinstance(weights, ray.ObjectRef):
            weights = ray.get(weights)
        self.module.set_state(weights.get(DEFAULT_MODULE_ID, weights))
        self.sequence_number = state.get(WEIGHTS_SEQ_NO, self.sequence_number)

    def stop(self) -> None:
        self.env.close()

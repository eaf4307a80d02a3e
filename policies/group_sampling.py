"""What every rollout actor that owns whole groups does alike: environment, module and its state, errors as reports."""

from __future__ import annotations

import abc
import traceback
from collections.abc import Sequence
from typing import Any, Generic

import gymnasium as gym
import ray
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES, INPUT_ENV_SPACES
from ray.rllib.env.env_context import EnvContext
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.utils.framework import get_device
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME, WEIGHTS_SEQ_NO
from ray.tune.registry import ENV_CREATOR, _global_registry

from policies.rollouts import R, SampleReport, Task

NOISE = 2  # which stream of the run's seed samples draw from; the algorithm draws rates from another


def make_env(config: Any, worker_index: int) -> gym.vector.VectorEnv[Any, Any, Any]:
    """The vector environment of one runner, from RLlib's registry."""
    size = config.env_config["prompts_per_call"] * config.env_config["samples_per_prompt"]
    context = EnvContext({**config.env_config, "num_envs": size}, worker_index=worker_index)
    made: gym.vector.VectorEnv[Any, Any, Any] = _global_registry.get(ENV_CREATOR, config.env)(context)
    return made


class GroupSampling(EnvRunner, Generic[R]):
    """Samples groups, a call of the environment for each `prompts_per_call` tasks.

    The environment, reached through RLlib's registry, stays the source of every reward. An exception in it would end
    the actor without a word at the driver; here it becomes part of the `SampleReport`, with its traceback.
    """

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        self.group_size: int = config.env_config["samples_per_prompt"]
        self.prompts: int = config.env_config["prompts_per_call"]
        self.env = make_env(config, self.worker_index or 0)
        self.device = get_device(config, config.num_gpus_per_env_runner)
        self.module = config.get_rl_module_spec(spaces=self.get_spaces(), inference_only=True).build().to(self.device)
        self.sequence_number = 0

    @abc.abstractmethod
    def sample_chunk(self, tasks: list[Task]) -> list[R]:
        """The groups of at most `prompts` tasks, in their order."""

    def assert_healthy(self) -> None:
        assert self.module is not None

    def get_spaces(self) -> dict[str, tuple[gym.Space[Any], gym.Space[Any]]]:
        single = (self.env.single_observation_space, self.env.single_action_space)
        return {
            INPUT_ENV_SPACES: (self.env.observation_space, self.env.action_space),
            INPUT_ENV_SINGLE_SPACES: single,
            DEFAULT_MODULE_ID: single,
        }

    def sample(self, *, tasks: Sequence[Task], **kwargs: Any) -> SampleReport[R]:
        """Sample every task; groups come back in the order of the tasks."""
        report: SampleReport[R] = SampleReport(first=tasks[0].serial)
        for start in range(0, len(tasks), self.prompts):
            chunk = list(tasks[start : start + self.prompts])
            try:
                report.results.extend(self.sample_chunk(chunk))
            except Exception:
                report.errors.append(traceback.format_exc())
        self.metrics.log_value(
            NUM_ENV_STEPS_SAMPLED_LIFETIME, len(report.results) * self.group_size, reduce="lifetime_sum"
        )
        return report

    def filled(self, tasks: list[Task]) -> list[Task]:
        """As many tasks as a call has room for: a vector environment has a fixed size, so the last is repeated."""
        return tasks + [tasks[-1]] * (self.prompts - len(tasks))

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

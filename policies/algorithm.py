"""What every algorithm here shares: prompts by serial number, weights that reach every runner, state that resumes.

Every prompt of the run has a serial number. Its example, rate and noise follow from the seed and that number alone, so
what is learned does not depend on how many runners there are or which of them died, and no process has random state
that a checkpoint would have to hold.
"""

from __future__ import annotations

import abc
import functools
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import ray
from numpy.typing import NDArray
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import COMPONENT_ENV_RUNNER, COMPONENT_LEARNER, COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from policies.module import MaskingModule
from policies.rollouts import Rollouts, SampleReport, SamplingFailed, Task
from policies.texts import Texts
from rlcompress.config.schema import LearnerConfig, ResourcesConfig, RewardConfig
from rlcompress.data.dataset import PromptOrder
from rlcompress.learning.lagrangian import Multiplier, updated
from rlcompress.learning.schedules import scheduled

Metrics = dict[str, float]
Weights = dict[str, NDArray[Any]]  # parameters by name
SERVED = "rate/served"  # kept fraction of the policy as it is served
R = TypeVar("R")

_MODULE = f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}"
_FAREWELL = 10.0  # seconds for a runner to answer before it is ended


class CompressorConfig(AlgorithmConfig):
    """`run(...)` takes our own sections; everything else is set from them. Subclasses name runner, learner, module."""

    learned_module: ClassVar[type] = MaskingModule

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class)
        self.learner_settings: LearnerConfig = LearnerConfig()
        self.resource_settings: ResourcesConfig = ResourcesConfig()
        self.rates: tuple[float, ...] = (0.5,)
        self.prompt_count = 1
        self.run_seed = 0
        self.sampler = "exact"
        self.reward_settings: RewardConfig = RewardConfig()

    def run(
        self,
        *,
        learner: LearnerConfig,
        resources: ResourcesConfig,
        rates: Sequence[float],
        prompts: int,
        seed: int,
        env: str,
        env_config: dict[str, Any],
        module_config: dict[str, Any],
        sampler: str = "exact",
        reward: RewardConfig | None = None,
        texts: Texts | None = None,
    ) -> Self:
        """A whole run: `prompts` is the number of training examples, `env` a name in RLlib's registry.

        `reward` says how the price of the tokens moves; the rewards themselves come from the environment. `texts` makes
        the table of the training texts for algorithms whose samples name rows instead.
        """
        self.learner_settings, self.resource_settings = learner, resources
        self.rates, self.prompt_count, self.run_seed = tuple(rates), prompts, seed
        self.sampler, self.reward_settings = sampler, reward or RewardConfig()
        sampling = {
            "samples_per_prompt": learner.samples_per_prompt,
            "prompts_per_call": -(-learner.prompts_per_step // max(1, resources.env_runners)),
            "sampler": sampler,
        }
        # the learner has its own, single check of gradients; without the second setting a parameter that plays no part
        # (a scale without a prior, an encoder's pooler) silently keeps several learners from sharing gradients
        self.framework("torch", torch_skip_nan_gradients=True, torch_ddp_kwargs={"find_unused_parameters": True})
        self.environment(env, env_config={**env_config, **sampling}, disable_env_checking=True)
        self.env_runners(
            num_env_runners=resources.env_runners,
            num_cpus_per_env_runner=resources.cpus_per_env_runner,
            num_gpus_per_env_runner=resources.gpus_per_env_runner,
            create_local_env_runner=resources.env_runners == 0,
        )
        self.learners(
            num_learners=learner.learners,
            num_gpus_per_learner=learner.gpus_per_learner,
            num_aggregator_actors_per_learner=0,
            learner_config_dict={**learner.model_dump(), "sampler": sampler},
        )
        self.training(lr=learner.lr, train_batch_size_per_learner=1)
        precise = {"precision": learner.precision, "gradient_checkpointing": learner.gradient_checkpointing}
        model_config = {**module_config, **precise}
        self.rl_module(rl_module_spec=RLModuleSpec(module_class=self.learned_module, model_config=model_config))
        self.fault_tolerance(
            restart_failed_env_runners=True,
            max_num_env_runner_restarts=resources.restarts,
            delay_between_env_runner_restarts_s=0,
        )
        self.resources(num_cpus_for_main_process=resources.cpus_for_driver)
        self.debugging(seed=seed, log_level="ERROR")
        return self

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=self.learned_module)

    @property
    def train_batch_size_per_learner(self) -> int:  # RLlib asks; our batches are counted in prompts
        return self.learner_settings.prompts_per_step

    @train_batch_size_per_learner.setter
    def train_batch_size_per_learner(self, value: int) -> None:
        pass


class CompressorAlgorithm(Algorithm, Generic[R]):
    """The iteration that all share; a subclass says how tasks are sampled, collected and learned from.

    After `train()`: `last_metrics`, and `last_rollout` with every sample of the iteration.
    """

    def setup(self, config: Any) -> None:
        try:
            super().setup(config)
        except IndexError as error:  # RLlib asks its first runner for spaces, and none is alive
            self.try_env()  # raises here what it raised there
            raise SamplingFailed("no env runner could start: Ray's logs say why") from error
        c: CompressorConfig = self.config
        self.order = PromptOrder(c.prompt_count, c.run_seed)
        self.position = 0  # serial number of the next prompt
        self.tau = c.learner_settings.temperature.start
        self.entropy: float | None = None
        self.price = c.reward_settings.beta.start
        self.multiplier = Multiplier.starting_at(self.price)
        self.rollouts: Rollouts[Any] = Rollouts(self, self.sample_on, c.resource_settings)
        self.mean: Weights | None = None  # of the weights so far; None before the first iteration, or without averaging
        self.last_metrics: Metrics = {}
        self.last_rollout: list[Any] = []  # `Rolled`, or what else an algorithm's groups give

    @abc.abstractmethod
    def try_env(self) -> None:
        """Make and close one environment here, so that what is wrong with it is raised."""

    @staticmethod
    @abc.abstractmethod
    def sample_on(runner: Any, tasks: Sequence[Task]) -> SampleReport[Any]:
        """Sample `tasks` on one runner, in its process; exceptions become part of the report."""

    @abc.abstractmethod
    def collect(self, settings: LearnerConfig) -> tuple[list[R], Metrics]:
        """What one iteration learns from, with counts; sets `last_rollout`."""

    @abc.abstractmethod
    def learn(self, samples: list[R], settings: LearnerConfig) -> Metrics:
        """Update the learner; sets `entropy`, normalised to [0, 1], for adaptive schedules."""

    def training_step(self) -> None:
        settings = self.config.learner_settings
        progress = self.iteration / settings.iterations
        self.tau = scheduled(settings.temperature, progress, self.tau, self.entropy)
        self.price = self.price_at(progress)
        started = time.perf_counter()
        samples, counts = self.collect(settings)
        sampled = time.perf_counter()
        learned = self.learn(samples, settings) if samples else {}
        if settings.average:
            self.mean = averaged(self.mean, self.weights(), settings.average, self.iteration)
        self.push_weights()
        finished = time.perf_counter()
        self.last_metrics = {
            **counts,
            **learned,
            **self.move_price(counts),
            "runners/healthy": float(self.env_runner_group.num_healthy_remote_env_runners()),
            "runners/restarts": float(self.env_runner_group.num_remote_worker_restarts()),
            "temperature": self.tau,
            "time/sample": sampled - started,
            "time/learn": finished - sampled,
        }

    def price_at(self, progress: float) -> float:
        """β of this iteration: scheduled, or the Lagrange multiplier of a target."""
        reward = self.config.reward_settings
        return scheduled(reward.beta, progress) if reward.target_rate is None else self.multiplier.value

    def move_price(self, metrics: Metrics) -> Metrics:
        """Sets the multiplier of the next iteration from the kept fraction that this one measured of the served policy.

        Metrics of it, and the price that this iteration was sampled at.
        """
        reward = self.config.reward_settings
        if "rate_distortion" not in reward.terms:
            return {}
        if reward.target_rate is None or SERVED not in metrics:
            return {"price": self.price}
        error = metrics[SERVED] - reward.target_rate
        self.multiplier = updated(self.multiplier, error, reward.lagrangian)
        return {"price": self.price, "lagrangian/multiplier": self.multiplier.value, "lagrangian/error": error}

    def next_tasks(self, count: int) -> list[Task]:
        tasks = []
        for serial in range(self.position, self.position + count):
            rng = np.random.default_rng([self.config.run_seed, 1, serial])
            rate = self.config.rates[int(rng.integers(len(self.config.rates)))]
            example = self.order.take(serial, 1)[0]
            tasks.append(Task(serial, example, rate, self.tau, self.config.run_seed, self.price))
        self.position += count
        return tasks

    def weights(self) -> Weights:
        """The learner's parameters by name, as numpy arrays."""
        state = self.learner_group.get_state(components=_MODULE)
        found: Weights = state[COMPONENT_LEARNER][COMPONENT_RL_MODULE][DEFAULT_MODULE_ID]
        return found

    def served_weights(self) -> Weights:
        """What is validated and served: the mean of the weights with `learner.average`, else the weights."""
        return self.weights() if self.mean is None else self.mean

    def weights_for_runners(self) -> dict[str, Any]:
        """The state that a runner's `set_state` takes."""
        state: dict[str, Any] = self.learner_group.get_state(components=_MODULE, inference_only=True)[COMPONENT_LEARNER]
        return state

    def push_weights(self) -> None:
        """Give every runner the learner's weights and wait.

        RLlib's own `sync_weights` drops them silently while an earlier call is still under way.
        """
        state = ray.put(self.weights_for_runners())
        self.env_runner_group.foreach_env_runner(
            functools.partial(_take_weights, state=state), timeout_seconds=self.config.resource_settings.sample_timeout
        )

    def cleanup(self) -> None:
        """RLlib waits without end until every runner says that it has stopped: one that hangs is ended first."""
        if getattr(self, "env_runner_group", None) is not None:
            manager = self.env_runner_group._worker_manager
            answers = manager.foreach_actor(lambda runner: None, healthy_only=False, timeout_seconds=_FAREWELL)
            answered = {answer.actor_id for answer in answers if answer.ok}
            for number, runner in manager.actors().items():
                if number not in answered:
                    ray.kill(runner)
        super().cleanup()

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        state = super().get_state(*args, **kwargs)
        state.pop(COMPONENT_ENV_RUNNER, None)  # has nothing of its own: its weights are the learner's
        own = {"position": self.position, "tau": self.tau, "entropy": self.entropy, "mean": self.mean}
        return {**state, "compressor": {**own, "multiplier": asdict(self.multiplier)}}

    def set_state(self, state: dict[str, Any]) -> None:
        own = state.get("compressor", {})
        self.position = own.get("position", self.position)
        self.tau, self.entropy = own.get("tau", self.tau), own.get("entropy")
        self.mean = own.get("mean")
        self.multiplier = Multiplier(**own.get("multiplier", asdict(self.multiplier)))
        super().set_state({k: v for k, v in state.items() if k != "compressor"})

    def get_checkpointable_components(self) -> list[tuple[str, Any]]:
        return [(name, part) for name, part in super().get_checkpointable_components() if name != COMPONENT_ENV_RUNNER]

    def restore_from_path(self, *args: Any, **kwargs: Any) -> None:
        super().restore_from_path(*args, **kwargs)
        self.push_weights()


def learning_rate(settings: LearnerConfig, iteration: int) -> float:
    """Linear warm-up over `warmup_steps`, then linear to `lr_end` at the last iteration."""
    progress = min(1.0, iteration / max(1, settings.iterations - 1))
    return (settings.lr + (settings.lr_end - settings.lr) * progress) * min(
        1.0, (iteration + 1) / (settings.warmup_steps + 1)
    )


def averaged(mean: Weights | None, weights: Weights, share: float, iteration: int) -> Weights:
    """Polyak's running mean of the weights (Polyak and Juditsky 1992), m + (1 − a)(w − m), from new arrays.

    a is `share`, and at first (1 + t) / (10 + t), so that the mean soon forgets where it began.
    """
    if mean is None:
        return {name: np.array(value) for name, value in weights.items()}
    kept = min(share, (1 + iteration) / (10 + iteration))
    return {name: (m + (1.0 - kept) * (weights[name] - m)).astype(m.dtype) for name, m in mean.items()}


def check_skipped(metrics: Metrics, settings: LearnerConfig) -> None:
    """Raise when too many updates of the run were skipped as non-finite."""
    if metrics.get("learner/skipped", 0) > settings.nan_limit:
        raise SamplingFailed(
            f"{metrics['learner/skipped']:.0f} updates had non-finite gradients, more than learner.nan_limit: "
            "lower learner.lr or look for non-finite rewards"
        )


def _take_weights(runner: Any, state: ray.ObjectRef) -> None:
    runner.set_state(ray.get(state))

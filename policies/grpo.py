"""GRPO on RLlib's new API stack: own group runner, own training step, own learner; the loop reads top to bottom.

Every prompt of the run has a serial number. Its example, rate and noise follow from the seed and that number alone, so
what is learned does not depend on how many runners there are or which of them died.
"""

from __future__ import annotations

import functools
import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import ray
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import COMPONENT_ENV_RUNNER, COMPONENT_LEARNER, COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from policies.group_runner import GroupRunner, make_env
from policies.groups import Group, SampleReport, Task, learner_columns
from policies.grpo_learner import DECISIONS, GRPOLearner
from policies.module import MaskingModule
from rlcompress.advantages import ADVANTAGES, group_spread
from rlcompress.config.schema import LearnerConfig, ResourcesConfig
from rlcompress.data.dataset import PromptOrder
from rlcompress.schedules import scheduled
from rlcompress.words import Status

log = logging.getLogger(__name__)

Metrics = dict[str, float]

_PAUSE = 0.2  # seconds between looks at runners that restart


class SamplingFailed(RuntimeError):
    """The environment or a reward raised again and again, or no runner answered; carries the last traceback."""


class GRPOConfig(AlgorithmConfig):
    """`grpo(...)` takes our own sections; everything else is set from them."""

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or GRPO)
        self.learner_settings: LearnerConfig = LearnerConfig()
        self.resource_settings: ResourcesConfig = ResourcesConfig()
        self.rates: tuple[float, ...] = (0.5,)
        self.prompt_count = 1
        self.run_seed = 0

    def grpo(
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
    ) -> Self:
        """A whole run: `prompts` is the number of training examples, `env` a name in RLlib's registry."""
        self.learner_settings, self.resource_settings = learner, resources
        self.rates, self.prompt_count, self.run_seed = tuple(rates), prompts, seed
        calls = max(1, resources.env_runners)
        sampling = {
            "samples_per_prompt": learner.samples_per_prompt,
            "prompts_per_call": -(-learner.prompts_per_step // calls),
        }
        # the learner has its own, single check of gradients; without the second setting a parameter that plays no part
        # (a scale without a prior, an encoder's pooler) silently keeps several learners from sharing gradients
        self.framework("torch", torch_skip_nan_gradients=True, torch_ddp_kwargs={"find_unused_parameters": True})
        self.environment(env, env_config={**env_config, **sampling}, disable_env_checking=True)
        self.env_runners(
            env_runner_cls=GroupRunner,
            num_env_runners=resources.env_runners,
            num_cpus_per_env_runner=resources.cpus_per_env_runner,
            num_gpus_per_env_runner=resources.gpus_per_env_runner,
            create_local_env_runner=resources.env_runners == 0,
        )
        self.learners(
            num_learners=learner.learners,
            num_gpus_per_learner=learner.gpus_per_learner,
            num_aggregator_actors_per_learner=0,
            learner_config_dict=learner.model_dump(),
        )
        self.training(lr=learner.lr, train_batch_size_per_learner=1)
        self.rl_module(rl_module_spec=RLModuleSpec(module_class=MaskingModule, model_config=module_config))
        self.fault_tolerance(
            restart_failed_env_runners=True,
            max_num_env_runner_restarts=resources.restarts,
            delay_between_env_runner_restarts_s=0,
        )
        self.resources(num_cpus_for_main_process=resources.cpus_for_driver)
        self.debugging(seed=seed, log_level="ERROR")
        return self

    def get_default_learner_class(self) -> type:
        return GRPOLearner

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=MaskingModule)

    @property
    def train_batch_size_per_learner(self) -> int:  # RLlib asks; our batches are counted in prompts
        return self.learner_settings.prompts_per_step

    @train_batch_size_per_learner.setter
    def train_batch_size_per_learner(self, value: int) -> None:
        pass


class GRPO(Algorithm):
    """Group-relative policy optimisation (Shao et al. 2024) for one-step masking episodes."""

    @classmethod
    def get_default_config(cls) -> GRPOConfig:
        return GRPOConfig()

    def setup(self, config: Any) -> None:
        try:
            super().setup(config)
        except IndexError as error:  # RLlib asks its first runner for spaces, and none is alive
            make_env(self.config, 0).close()  # raises here what it raised there
            raise SamplingFailed("no env runner could start: Ray's logs say why") from error
        c: GRPOConfig = self.config
        self.order = PromptOrder(c.prompt_count, c.run_seed)
        self.position = 0  # serial number of the next prompt
        self.tau = c.learner_settings.temperature.start
        self.entropy: float | None = None
        self.failures: list[str] = []
        self.last_metrics: Metrics = {}

    def training_step(self) -> None:
        settings = self.config.learner_settings
        self.tau = scheduled(settings.temperature, self.iteration / settings.iterations, self.tau, self.entropy)
        started = time.perf_counter()
        groups, counts = self._collect(settings)
        sampled = time.perf_counter()
        learned = self._learn(groups, settings) if groups else {}
        self._push_weights()
        finished = time.perf_counter()
        self.last_metrics = {
            **counts,
            **learned,
            "runners/healthy": float(self.env_runner_group.num_healthy_remote_env_runners()),
            "runners/restarts": float(self.env_runner_group.num_remote_worker_restarts()),
            "temperature": self.tau,
            "time/sample": sampled - started,
            "time/learn": finished - sampled,
        }

    # -- sampling -------------------------------------------------------------------------------------------------

    def _collect(self, settings: LearnerConfig) -> tuple[list[Group], Metrics]:
        """Groups with something to learn from; those without are dropped, replaced within bounds, and counted."""
        usable: list[Group] = []
        everything: list[Group] = []
        counts: Counter[str] = Counter()
        for _ in range(1 + settings.refills):
            missing = settings.prompts_per_step - len(usable)
            if not missing:
                break
            groups = self._sample(self._next_tasks(missing))
            everything.extend(groups)
            counts["samples/raised"] += (missing - len(groups)) * settings.samples_per_prompt
            for group in groups:
                for status in group.status_G:
                    counts[f"samples/{status.value}"] += 1
                if self._spread(group) > settings.spread_floor:
                    usable.append(group)
                else:
                    counts["groups/dropped"] += 1
        counts["groups/used"] = len(usable)
        if everything and counts["samples/judge_failed"] == len(everything) * settings.samples_per_prompt:
            self._count_failure(
                "the judge gave no verdict on any sample of an iteration: look at its process or timeout"
            )
        elif not counts["samples/raised"]:
            self.failures = []
        return usable, {**{k: float(v) for k, v in counts.items()}, **_reward_metrics(everything)}

    def _next_tasks(self, count: int) -> list[Task]:
        tasks = []
        for serial in range(self.position, self.position + count):
            rng = np.random.default_rng([self.config.run_seed, 1, serial])
            rate = self.config.rates[int(rng.integers(len(self.config.rates)))]
            tasks.append(Task(serial, self.order.take(serial, 1)[0], rate, self.tau, self.config.run_seed))
        self.position += count
        return tasks

    def _spread(self, group: Group) -> float:
        # torch.tensor copies: what Ray hands over is read-only memory
        return float(group_spread(torch.tensor(group.reward_G)[None], torch.tensor(group.ok_G)[None]))

    def _sample(self, tasks: list[Task]) -> list[Group]:
        """The groups of `tasks` in serial order, without those that raised.

        Tasks are cut into one share a runner before anybody is asked, and a share that a lost runner had is asked again
        as it is: a group is computed in the same company, hence to the same bits, whoever does it.
        """
        parts = np.array_split(np.arange(len(tasks)), max(1, self.config.num_env_runners))
        shares = {tasks[part[0]].serial: [tasks[i] for i in part] for part in parts if len(part)}
        groups: list[Group] = []
        deadline = time.monotonic() + self.config.resource_settings.sample_timeout
        while shares:
            if time.monotonic() > deadline:
                raise SamplingFailed(
                    f"{sum(map(len, shares.values()))} of {len(tasks)} prompts were not sampled within "
                    f"resources.sample_timeout ({self.config.resource_settings.sample_timeout:g} s): raise it, or look "
                    "at the judge"
                )
            for report in self._ask_runners(list(shares.values()), deadline):
                del shares[report.first]
                groups.extend(report.groups)
                for error in report.errors:
                    self._count_failure(error)
        return sorted(groups, key=lambda group: group.task.serial)

    def _ask_runners(self, shares: list[list[Task]], deadline: float) -> list[SampleReport]:
        """Reports on as many shares as there are runners alive; those of runners that died are missing."""
        group = self.env_runner_group
        if group.num_remote_env_runners() == 0:
            return [group.local_env_runner.sample(tasks=shares[0])]
        runners = group.healthy_env_runner_ids()[: len(shares)]
        reports: list[SampleReport] = []
        if runners:
            reports = group.foreach_env_runner(
                [functools.partial(_sample_on, tasks=share) for share in shares[: len(runners)]],
                local_env_runner=False,
                remote_worker_ids=runners,
                timeout_seconds=max(1.0, deadline - time.monotonic()),
            )
        if len(reports) < len(shares) and not self.restore_env_runners(group):
            time.sleep(_PAUSE)
        return reports

    def _count_failure(self, error: str) -> None:
        """Show what went wrong; stop the run when the same came too often in a row."""
        log.error("while sampling: %s", error)
        same = error.strip().splitlines()[-1]
        self.failures = [*(e for e in self.failures if e.strip().endswith(same)), error]
        if len(self.failures) >= self.config.resource_settings.failures:
            raise SamplingFailed(f"the same failure came {len(self.failures)} times in a row while sampling:\n{error}")

    # -- learning -------------------------------------------------------------------------------------------------

    def _learn(self, groups: list[Group], settings: LearnerConfig) -> Metrics:
        columns: dict[str, Any] = learner_columns(groups)
        reward_PG = torch.from_numpy(np.stack([group.reward_G for group in groups]))
        ok_PG = torch.from_numpy(columns["ok_PG"])
        advantage_PG = ADVANTAGES[settings.algorithm](reward_PG, ok_PG)
        decisions = int((columns["draws_PG"] * columns["ok_PG"]).sum())
        columns["advantage_PG"] = advantage_PG.float().numpy()
        columns[DECISIONS] = np.full(len(groups), decisions, np.float32)
        batch = MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(columns)}, env_steps=reward_PG.numel())
        lr = learning_rate(settings, self.iteration)
        results: Any = []
        for _ in range(settings.epochs):
            results = self.learner_group.update(
                batch=batch, timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self.position, "lr": lr}
            )
        metrics = _learner_metrics([result[DEFAULT_MODULE_ID] for result in results])
        if metrics.get("learner/skipped", 0) > settings.nan_limit:
            raise SamplingFailed(
                f"{metrics['learner/skipped']:.0f} updates had non-finite gradients, more than learner.nan_limit: "
                "lower learner.lr or look for non-finite rewards"
            )
        choices = np.log(np.maximum(2, columns["free_P"])).mean()
        self.entropy = metrics.get("learner/entropy", 0.0) / float(choices)
        return {
            **metrics,
            "learner/lr": lr,
            "learner/decisions": float(decisions),
            "advantage/std": float(advantage_PG[ok_PG].std()),
            "advantage/max": float(advantage_PG.abs().max()),
        }

    def weights(self) -> dict[str, Any]:
        """The learner's parameters by name, as numpy arrays."""
        state = self.learner_group.get_state(components=_MODULE)
        found: dict[str, Any] = state[COMPONENT_LEARNER][COMPONENT_RL_MODULE][DEFAULT_MODULE_ID]
        return found

    def _push_weights(self) -> None:
        """Give every runner the learner's weights and wait.

        RLlib's own `sync_weights` drops them silently while an earlier call is still under way.
        """
        state = ray.put(self.learner_group.get_state(components=_MODULE, inference_only=True)[COMPONENT_LEARNER])
        self.env_runner_group.foreach_env_runner(
            functools.partial(_take_weights, state=state), timeout_seconds=self.config.resource_settings.sample_timeout
        )

    # -- state ----------------------------------------------------------------------------------------------------

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        state = super().get_state(*args, **kwargs)
        state.pop(COMPONENT_ENV_RUNNER, None)  # has nothing of its own: its weights are the learner's
        return {**state, "grpo": {"position": self.position, "tau": self.tau, "entropy": self.entropy}}

    def set_state(self, state: dict[str, Any]) -> None:
        own = state.get("grpo", {})
        self.position = own.get("position", self.position)
        self.tau, self.entropy = own.get("tau", self.tau), own.get("entropy")
        super().set_state({k: v for k, v in state.items() if k != "grpo"})

    def get_checkpointable_components(self) -> list[tuple[str, Any]]:
        return [(name, part) for name, part in super().get_checkpointable_components() if name != COMPONENT_ENV_RUNNER]

    def restore_from_path(self, *args: Any, **kwargs: Any) -> None:
        super().restore_from_path(*args, **kwargs)
        self._push_weights()


_MODULE = f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}"
_SHARES = ("loss", "surrogate", "entropy", "ratio_deviation", "kl_old", "kl_reference", "clip_fraction")
_COMMON = ("gradient_norm", "skipped")


def _sample_on(runner: GroupRunner, tasks: list[Task]) -> SampleReport:
    return runner.sample(tasks=tasks)


def _take_weights(runner: GroupRunner, state: ray.ObjectRef) -> None:
    runner.set_state(ray.get(state))


def _learner_metrics(learners: list[dict[str, Any]]) -> Metrics:
    """Each learner reports its share of a mean over the whole batch; what follows the all-reduce is equal in all."""
    shares = {name: sum(_plain(one[name]) for one in learners) for name in _SHARES if name in learners[0]}
    return {f"learner/{k}": v for k, v in {**shares, **{name: _plain(learners[0][name]) for name in _COMMON}}.items()}


def _plain(value: Any) -> float:
    return float(value.peek() if hasattr(value, "peek") else value)


def learning_rate(settings: LearnerConfig, iteration: int) -> float:
    """Linear warm-up over `warmup_steps`, then linear to `lr_end` at the last iteration."""
    progress = min(1.0, iteration / max(1, settings.iterations - 1))
    return (settings.lr + (settings.lr_end - settings.lr) * progress) * min(
        1.0, (iteration + 1) / (settings.warmup_steps + 1)
    )


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

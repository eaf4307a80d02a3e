"""PPO over the passes of progressive episodes, on RLlib's own runner, connectors and learner group.

RLlib samples (`SingleAgentEnvRunner` on our vector environment), its pipelines carry observations to the module, scores
to the environment and episodes to the learner. Ours are the tasks that are sampled, the noise, the loss and the order
of the minibatches, since all of these must follow from the seed alone.
"""

from __future__ import annotations

import functools
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME, WEIGHTS_SEQ_NO

from policies.algorithm import CompressorAlgorithm, CompressorConfig, Metrics, check_skipped, learning_rate
from policies.connectors import DRAWS, FREE, TARGET, VALUE, DrawPriorities, RowFeatures
from policies.group_sampling import make_env
from policies.learner import DECISIONS, learner_metrics
from policies.ppo_learner import SHARES, STEPS, PPOLearner
from policies.ppo_module import PassesModule
from policies.rollouts import Rolled, SampleReport, Task
from policies.texts import Texts
from rlcompress.config.schema import LearnerConfig
from rlcompress.words import Status

_SHUFFLE = 4  # which stream of the run's seed orders the steps


@dataclass(frozen=True, slots=True, eq=False)
class Walks:
    """All G episodes of one task."""

    task: Task
    episodes: list[SingleAgentEpisode]


class PPOConfig(CompressorConfig):
    """See `CompressorConfig.run`; beside it, `texts` makes the table of the run's texts where one is needed."""

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or MaskingPPO)

    def run(self, *, texts: Texts | None = None, **common: Any) -> Self:
        assert texts is not None, "episodes name rows: hand in the table of their texts"
        super().run(**common)
        passes = common["module_config"]["passes"]
        model_config = {**self.rl_module_spec.model_config, "critic_seed": self.run_seed}
        self.environment(normalize_actions=False, clip_actions=False)
        self.env_runners(
            env_runner_cls=SingleAgentEnvRunner,
            gym_env_vectorize_mode="vector_entry_point",
            num_envs_per_env_runner=self.env_config["prompts_per_call"] * self.env_config["samples_per_prompt"],
            batch_mode="complete_episodes",
            env_to_module_connector=functools.partial(_to_module, texts),
            module_to_env_connector=functools.partial(_to_env, texts, passes),
        )
        self.learners(learner_connector=functools.partial(_to_learner, texts))
        self.rl_module(rl_module_spec=RLModuleSpec(module_class=PassesModule, model_config=model_config))
        return self

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=PassesModule)

    def get_default_learner_class(self) -> type:
        return PPOLearner


def _to_module(texts: Texts, env: Any, spaces: Any, device: Any) -> RowFeatures:
    return RowFeatures(texts, as_learner=False)


def _to_env(texts: Texts, passes: int, env: Any, spaces: Any) -> DrawPriorities:
    space = env.single_action_space if env is not None else spaces[INPUT_ENV_SINGLE_SPACES][1]
    return DrawPriorities(texts, passes, n_max=space.shape[0])


def _to_learner(texts: Texts, observation_space: Any, action_space: Any) -> RowFeatures:
    return RowFeatures(texts, as_learner=True)


class MaskingPPO(CompressorAlgorithm[Walks]):
    """Proximal policy optimisation (Schulman et al. 2017) for progressive masking episodes."""

    @classmethod
    def get_default_config(cls) -> PPOConfig:
        return PPOConfig()

    def try_env(self) -> None:
        make_env(self.config, 0).close()

    @staticmethod
    def sample_on(runner: SingleAgentEnvRunner, tasks: Sequence[Task]) -> SampleReport[Walks]:
        """Sample every task on RLlib's runner; an exception in an environment comes back with its traceback."""
        report: SampleReport[Walks] = SampleReport(first=tasks[0].serial)
        at_once: int = runner.config.env_config["prompts_per_call"]
        for start in range(0, len(tasks), at_once):
            try:
                report.results.extend(_sample_together(runner, list(tasks[start : start + at_once])))
            except Exception:
                report.errors.append(traceback.format_exc())
        runner.get_metrics()  # empties RLlib's list of episodes that wait to be counted: we count them ourselves
        return report

    def weights_for_runners(self) -> dict[str, Any]:
        state = super().weights_for_runners()
        state.pop(WEIGHTS_SEQ_NO)  # with it the runner would keep weights that it takes for newer, after a restore
        return state

    def collect(self, settings: LearnerConfig) -> tuple[list[Walks], Metrics]:
        """Episodes whose every step has a verdict; the others leave the loss whole, and are counted."""
        walks = self.rollouts.sample(self.next_tasks(settings.prompts_per_step))
        counts: Counter[str] = Counter()
        counts["samples/raised"] = (settings.prompts_per_step - len(walks)) * settings.samples_per_prompt
        usable = []
        for walk in walks:
            statuses = [_status(episode) for episode in walk.episodes]
            counts.update(f"samples/{status.value}" for status in statuses)
            good = [e for e, status in zip(walk.episodes, statuses, strict=True) if status is Status.OK]
            if good:
                usable.append(Walks(walk.task, good))
        if walks and counts["samples/judge_failed"] == len(walks) * settings.samples_per_prompt:
            self.rollouts.count_failure(
                "the judge gave no verdict on any sample of an iteration: look at its process or judges.reward.timeout"
            )
        elif not counts["samples/raised"]:
            self.rollouts.all_went_well()
        self.last_rollout = [
            _rolled(walk.task, g, episode) for walk in walks for g, episode in enumerate(walk.episodes)
        ]
        return usable, {**{k: float(v) for k, v in counts.items()}, **_episode_metrics(usable)}

    def learn(self, samples: list[Walks], settings: LearnerConfig) -> Metrics:
        """Several epochs of minibatches over the steps, up to the first update that meets a KL above `target_kl`."""
        columns = self._prepared([episode for walk in samples for episode in walk.episodes])
        rows, lr = len(columns[DRAWS]), learning_rate(settings, self.iteration)
        updates: list[Metrics] = []
        for part in self._minibatches(rows, settings):
            updates.append(self._update({name: column[part] for name, column in columns.items()}, lr))
            check_skipped(updates[-1], settings)
            if settings.target_kl is not None and updates[-1]["learner/kl"] > settings.target_kl:
                break
        self.entropy = _mean(updates, "learner/entropy") / float(np.log(np.maximum(2, columns[FREE])).mean())
        averaged = {f"learner/{name}": _mean(updates, f"learner/{name}") for name in SHARES}
        return {
            **updates[-1],
            **averaged,
            "learner/ratio_deviation": updates[0]["learner/ratio_deviation"],
            "learner/kl": updates[-1]["learner/kl"],
            "learner/updates": float(len(updates)),
            "learner/lr": lr,
            "learner/decisions": float(columns[DRAWS].sum()),
            "learner/explained_variance": _explained(columns[VALUE], columns[TARGET]),
        }

    def _minibatches(self, rows: int, settings: LearnerConfig) -> Iterator[NDArray[np.int64]]:
        """Rows of each update, epoch by epoch; a shuffle follows from the seed, the iteration and the epoch."""
        for epoch in range(settings.epochs):
            rng = np.random.default_rng([self.config.run_seed, _SHUFFLE, self.iteration, epoch])
            yield from np.array_split(rng.permutation(rows), -(-rows // settings.minibatch))

    def _prepared(self, episodes: list[SingleAgentEpisode]) -> dict[str, NDArray[Any]]:
        """The batch of the iteration, from the first learner's pipeline and critic."""
        one = None if self.learner_group.is_local else [0]
        answers = self.learner_group.foreach_learner(functools.partial(_prepare, episodes), remote_actor_ids=one)
        (columns,) = [answer.get() for answer in answers]
        return dict(columns)

    def _update(self, columns: dict[str, Any], lr: float) -> Metrics:
        rows, decisions = len(columns[DRAWS]), int(columns[DRAWS].sum())
        columns[DECISIONS] = np.full(rows, max(1, decisions), np.float32)
        columns[STEPS] = np.full(rows, rows, np.float32)
        results = self.learner_group.update(
            batch=MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(columns)}, env_steps=rows),
            timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self.position, "lr": lr},
        )
        return learner_metrics([result[DEFAULT_MODULE_ID] for result in results], SHARES)


def _prepare(episodes: list[SingleAgentEpisode], learner: PPOLearner) -> dict[str, NDArray[Any]]:
    return learner.prepare(episodes)


def _sample_together(runner: SingleAgentEnvRunner, tasks: list[Task]) -> list[Walks]:
    """All samples of these tasks in lockstep, from a reset to the end."""
    at_once, G = runner.config.env_config["prompts_per_call"], runner.config.env_config["samples_per_prompt"]
    filled = tasks + [tasks[-1]] * (at_once - len(tasks))  # a vector environment has a fixed size
    runner.env.unwrapped.hand_out([(task, g) for task in filled for g in range(G)])
    episodes = runner.sample(num_episodes=len(filled) * G, force_reset=True)
    return [Walks(task, episodes[i * G : (i + 1) * G]) for i, task in enumerate(tasks)]


def _status(episode: SingleAgentEpisode) -> Status:
    """How it ended: the environment carries the first status that was not OK to the end."""
    status = Status(episode.get_infos(-1)["status"])
    return status if np.isfinite(episode.get_return()) or status is not Status.OK else Status.REWARD_FAILED


def _rolled(task: Task, sample: int, episode: SingleAgentEpisode) -> Rolled:
    kept_N = episode.get_observations(-1)["alive"][: episode.get_infos(0)["units"]].astype(np.bool_)
    version = episode.get_infos(-1)["judge_version"]
    return Rolled(task.serial, sample, task.example, kept_N, _status(episode), version)


def _episode_metrics(walks: list[Walks]) -> Metrics:
    """Means over episodes: returns, terms of the final text, rates, reward of each step, decisions."""
    episodes = [episode for walk in walks for episode in walk.episodes]
    if not episodes:
        return {}
    reward_BT = np.stack([episode.get_rewards() for episode in episodes])
    draws_BT = np.stack([episode.get_extra_model_outputs(DRAWS) for episode in episodes])
    last = [episode.get_infos(-1) for episode in episodes]
    return_B = reward_BT.sum(1)
    result = {
        "reward/mean": float(return_B.mean()),
        "reward/std": float(return_B.std()),
        "rate/achieved": float(np.mean([info["achieved_rate"] for info in last])),
        "rate/requested": float(np.mean([walk.task.rate for walk in walks])),
        "episode/steps": float((draws_BT > 0).sum(1).mean()),
        "episode/decisions": float(draws_BT.sum(1).mean()),
    }
    result |= {f"reward/{name}": float(np.mean([info["terms"][name] for info in last])) for name in last[0]["terms"]}
    return result | {f"reward/step_{t + 1}": float(reward) for t, reward in enumerate(reward_BT.mean(0))}


def _mean(updates: list[Metrics], name: str) -> float:
    return float(np.mean([update[name] for update in updates]))


def _explained(value: NDArray[Any], target: NDArray[Any]) -> float:
    """1 − Var(target − value) / Var(target); 0 where all targets are equal."""
    spread = float(np.var(target))
    return 1.0 - float(np.var(target - value)) / spread if spread > 0 else 0.0

"""What we rely on inside RLlib; each test names what breaks when a new version changes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from gymnasium.vector import AutoresetMode
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.connectors.learner import GeneralAdvantageEstimation
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.core.learner.learner import Learner
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.utils.metrics import WEIGHTS_SEQ_NO
from ray.rllib.utils.postprocessing.value_predictions import compute_value_targets
from ray.tune.registry import ENV_CREATOR, _global_registry, register_env

from policies.algorithm import _MODULE
from policies.group_runner import GroupRunner
from policies.grpo_learner import GRPOLearner
from policies.row_view import RowView
from rlcompress.learning.advantages import generalised
from tests.policies import planted
from tests.policies.conftest import Build, same_weights


def parameters(function: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(function).parameters)


def test_the_version_is_the_one_that_was_read() -> None:
    assert ray.__version__.startswith("2.60."), "read RLlib's changes to what this file names, then raise the pin"


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (SingleAgentEnvRunner.set_state, {"state"}),  # sync_weights passes it by this name
        (GroupRunner.set_state, {"state"}),
        (EnvRunner.__init__, {"config"}),
        (
            EnvRunnerGroup.foreach_env_runner,
            {"func", "local_env_runner", "remote_worker_ids", "timeout_seconds"},
        ),
        (
            EnvRunnerGroup.sync_weights,
            {"from_worker_or_learner_group", "timeout_seconds", "inference_only"},
        ),
        (Algorithm.restore_env_runners, {"env_runner_group"}),
        (SingleAgentEnvRunner.sample, {"num_episodes", "force_reset"}),
        (AlgorithmConfig.env_runners, {"gym_env_vectorize_mode", "env_to_module_connector", "module_to_env_connector"}),
        (AlgorithmConfig.learners, {"learner_connector"}),
        (GeneralAdvantageEstimation.__call__, {"rl_module", "episodes", "batch"}),
        (ConnectorV2.add_n_batch_items, {"batch", "column", "items_to_add", "num_items", "single_agent_episode"}),
        (LearnerGroup.foreach_learner, {"func", "remote_actor_ids"}),
        (LearnerGroup.update, {"batch", "timesteps"}),
        (Learner.update, {"batch", "timesteps", "num_epochs", "minibatch_size"}),
        (Learner.before_gradient_based_update, {"timesteps"}),
        (Learner.compute_loss_for_module, {"module_id", "config", "batch", "fwd_out"}),
        (Learner.compute_losses, {"fwd_out", "batch"}),
        (Learner.configure_optimizers_for_module, {"module_id", "config"}),
        (Learner.register_optimizer, {"module_id", "optimizer", "params", "lr_or_lr_schedule"}),
        (TorchLearner._uncompiled_update, {"batch"}),
        (TorchLearner._set_optimizer_lr, {"optimizer", "lr"}),
        (AlgorithmConfig.learners, {"learner_config_dict", "num_learners"}),
        (AlgorithmConfig.framework, {"torch_skip_nan_gradients"}),
        (
            AlgorithmConfig.fault_tolerance,
            {"restart_failed_env_runners", "max_num_env_runner_restarts", "delay_between_env_runner_restarts_s"},
        ),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_parameters_keep_their_names(function: Callable[..., Any], names: set[str]) -> None:
    assert names <= parameters(function)


def test_what_we_override_is_still_called_by_that_name() -> None:
    for name in ("build", "configure_optimizers_for_module", "before_gradient_based_update", "get_state", "set_state"):
        assert callable(getattr(Learner, name))
        assert getattr(GRPOLearner, name) is not getattr(TorchLearner, name)
    for name in ("sample", "get_metrics", "get_spaces", "get_state", "set_state", "stop", "assert_healthy"):
        assert callable(getattr(EnvRunner, name, None) or getattr(GroupRunner, name))
    for name in ("setup", "training_step", "get_state", "set_state", "get_default_config"):
        assert callable(getattr(Algorithm, name))


def test_environments_are_found_by_name_in_the_registry() -> None:
    register_env("contract", lambda context: "made")
    assert _global_registry.get(ENV_CREATOR, "contract")({}) == "made"


def test_rllibs_advantages_on_whole_episodes_are_ours() -> None:
    reward_BT, value_BT = np.random.default_rng(0).normal(size=(2, 5, 4))
    ends_BT = np.zeros((5, 4))
    ends_BT[:, -1] = 1.0
    targets = compute_value_targets(
        value_BT.ravel(), reward_BT.ravel(), ends_BT.ravel(), np.zeros(20), gamma=0.9, lambda_=0.8
    )
    found = generalised(torch.from_numpy(reward_BT), torch.from_numpy(value_BT), gamma=0.9, lam=0.8)
    np.testing.assert_allclose((found.numpy() + value_BT).ravel(), targets, atol=1e-6)


def test_connectors_are_where_ours_come_first_or_last(start: Path) -> None:
    """Runner: features before observations are batched, priorities after scores are taken apart. Learner: GAE last."""
    algorithm_config = planted.configured(start, algorithm="ppo")
    vector = planted.make_row_env({**algorithm_config.env_config, "num_envs": 2})
    to_module = algorithm_config.build_env_to_module_connector(env=vector, spaces={}, device=None)
    to_env = algorithm_config.build_module_to_env_connector(env=vector, spaces={})
    to_learner = algorithm_config.build_learner_connector(None, None)
    names = [[type(piece).__name__ for piece in pipe.connectors] for pipe in (to_module, to_env, to_learner)]
    assert names[0][:2] == ["RowFeatures", "AddObservationsFromEpisodesToBatch"]
    assert names[0][-2:] == ["BatchIndividualItems", "NumpyToTensor"]
    assert names[1].index("UnBatchToIndividualItems") < names[1].index("DrawPriorities")
    assert names[1][-3:] == ["DrawPriorities", "NormalizeAndClipActions", "ListifyDataForVectorEnv"]
    assert names[2][0] == "RowFeatures"
    assert names[2][-2:] == ["BatchIndividualItems", "NumpyToTensor"]
    assert not algorithm_config.normalize_actions
    assert not algorithm_config.clip_actions


@pytest.mark.ray
def test_rllibs_runner_plays_whole_episodes_of_the_tasks_it_was_handed(build: Build) -> None:
    algorithm = build(algorithm="ppo", runners=0, passes=3)
    runner = algorithm.env_runner_group.local_env_runner
    assert type(runner) is SingleAgentEnvRunner
    vector = runner.env.unwrapped
    assert isinstance(vector, RowView)
    assert vector.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    tasks = algorithm.next_tasks(8)
    vector.hand_out([(task, g) for task in tasks for g in range(4)])
    calls = vector.texts.judge_calls
    episodes = runner.sample(num_episodes=32, force_reset=True)
    assert vector.texts.judge_calls == calls + 3, "no step beyond the end"
    assert [(e.get_infos(0)["task"].serial, e.get_infos(0)["sample"]) for e in episodes] == [
        (task.serial, g) for task in tasks for g in range(4)
    ]
    for episode in episodes:
        assert episode.is_numpy
        assert episode.is_terminated
        assert not episode.is_truncated
        assert len(episode) == 3
        assert episode.get_observations()["row"].shape == (4, 1)


@pytest.mark.ray
def test_a_runner_keeps_newer_weights_unless_they_come_without_a_number(build: Build) -> None:
    """Why `MaskingPPO` sends weights without their sequence number: an older checkpoint must reach the runners."""
    algorithm = build(algorithm="ppo", runners=0)
    runner = algorithm.env_runner_group.local_env_runner
    older = algorithm.learner_group.get_state(components=_MODULE, inference_only=True)["learner"]
    algorithm.train()
    runner.set_state({**older, WEIGHTS_SEQ_NO: 1_000})
    runner.set_state({**algorithm.weights_for_runners(), WEIGHTS_SEQ_NO: 1})
    name = "network.head.weight"
    kept = runner.module.get_state()[name]
    np.testing.assert_array_equal(kept, older[COMPONENT_RL_MODULE][DEFAULT_MODULE_ID][name])
    runner.set_state(algorithm.weights_for_runners())
    np.testing.assert_array_equal(runner.module.get_state()[name], algorithm.weights()[name])


@pytest.mark.ray
def test_the_critic_stays_with_the_learner(build: Build) -> None:
    algorithm = build(algorithm="ppo", runners=0)
    runner = algorithm.env_runner_group.local_env_runner
    assert any(name.startswith("critic.") for name in algorithm.weights())
    sent = algorithm.weights_for_runners()[COMPONENT_RL_MODULE][DEFAULT_MODULE_ID]
    assert not any(name.startswith("critic.") for name in [*sent, *runner.module.get_state()])
    assert not hasattr(runner.module, "critic")


@pytest.mark.ray
def test_a_list_of_functions_goes_to_the_runners_in_their_order(build: Build) -> None:
    group = build(runners=2).env_runner_group
    runners = group.healthy_env_runner_ids()
    assert len(runners) == 2
    asked = [(lambda runner, name=name: (name, runner.worker_index)) for name in ("first", "second")]
    answers = group.foreach_env_runner(
        asked, local_env_runner=False, remote_worker_ids=runners[::-1], timeout_seconds=60.0
    )
    assert sorted(answers) in ([("first", 1), ("second", 2)], [("first", 2), ("second", 1)]), "one function each"
    (alone,) = group.foreach_env_runner(
        asked[:1], local_env_runner=False, remote_worker_ids=runners[:1], timeout_seconds=60.0
    )
    assert alone == ("first", runners[0])


@pytest.mark.ray
def test_weights_reach_a_runner_with_their_sequence_number(build: Build) -> None:
    algorithm = build(runners=1)
    numbers = []
    for _ in range(2):
        algorithm.train()
        (state,) = algorithm.env_runner_group.foreach_env_runner(
            lambda runner: runner.get_state(), local_env_runner=False
        )
        numbers.append(state[WEIGHTS_SEQ_NO])
        learned = {k: v for k, v in algorithm.weights().items() if k in state[COMPONENT_RL_MODULE]}
        assert learned, "the runner's parameters have the learner's names"
        assert same_weights(learned, {k: state[COMPONENT_RL_MODULE][k] for k in learned})
    assert numbers[1] > numbers[0] > 0

"""What we rely on inside RLlib; each test names what breaks when a new version changes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import ray
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.core.learner.learner import Learner
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.utils.metrics import WEIGHTS_SEQ_NO
from ray.tune.registry import ENV_CREATOR, _global_registry, register_env

from policies.group_runner import GroupRunner
from policies.grpo_learner import GRPOLearner
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

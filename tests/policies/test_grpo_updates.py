"""The learner's step: ratios of 1, micro-batches that change nothing, guards, and every variant once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID

from policies.algorithm import learning_rate
from policies.grpo import GRPO
from policies.rollouts import SamplingFailed
from rlcompress.config.schema import LearnerConfig
from rlcompress.learning.advantages import ADVANTAGES
from tests.policies.conftest import Build, same_weights

pytestmark = pytest.mark.ray


def trained(algorithm: GRPO, iterations: int) -> dict[str, Any]:
    for _ in range(iterations):
        algorithm.train()
    return algorithm.weights()


def gradients(algorithm: GRPO) -> dict[str, Any]:
    """Of the last step of the learner in this process, by parameter."""
    network = algorithm.learner_group._learner.module[DEFAULT_MODULE_ID].network
    return {name: p.grad.numpy() for name, p in network.named_parameters() if p.grad is not None}


def steps(*algorithms: GRPO) -> list[dict[str, Any]]:
    """Weights after one step."""
    return [a.weights() for a in algorithms]


def test_sampler_and_learner_agree_on_every_probability(build: Build) -> None:
    algorithm = build(runners=1)
    for _ in range(3):
        algorithm.train()
        assert algorithm.last_metrics["learner/ratio_deviation"] < 1e-5
        assert algorithm.last_metrics["learner/kl_old"] < 1e-5
        assert algorithm.last_metrics["learner/clip_fraction"] == 0


def test_the_runner_samples_with_the_newest_weights(build: Build) -> None:
    """With a large step, weights that lag by one update would show as ratios far from 1."""
    algorithm = build(runners=1, lr=0.05, lr_end=0.05, grad_clip=100.0)
    before = algorithm.weights()
    after = trained(algorithm, 2)
    assert not same_weights(before, after, within=1e-2)
    assert algorithm.last_metrics["learner/ratio_deviation"] < 1e-5


@pytest.mark.parametrize("micro_batch", [1, 3])
def test_micro_batches_change_nothing(build: Build, micro_batch: int) -> None:
    whole, parts = build(runners=0), build(runners=0, micro_batch=micro_batch)
    whole.train(), parts.train()
    for name in ("loss", "entropy", "gradient_norm", "ratio_deviation"):
        key = f"learner/{name}"
        assert parts.last_metrics[key] == pytest.approx(whole.last_metrics[key], rel=1e-5, abs=1e-6)
    assert same_weights(gradients(whole), gradients(parts), within=1e-6)
    assert same_weights(*steps(whole, parts), within=1e-6)


def test_two_epochs_take_two_steps_on_one_batch(build: Build) -> None:
    once, twice = build(runners=0), build(runners=0, epochs=2)
    weights_once, weights_twice = trained(once, 1), trained(twice, 1)
    assert not same_weights(weights_once, weights_twice, within=1e-5)
    assert twice.last_metrics["learner/ratio_deviation"] > 1e-4, "the second step sees a policy that has moved"
    assert twice.position == once.position == 8


def test_the_reference_of_the_kl_is_the_policy_before_learning(build: Build) -> None:
    algorithm = build(runners=0, kl_coeff=0.1, lr=1e-2)
    algorithm.train()
    assert algorithm.last_metrics["learner/kl_reference"] == pytest.approx(0.0, abs=1e-6)
    algorithm.train()
    assert algorithm.last_metrics["learner/kl_reference"] > 1e-5
    for _ in range(3):
        algorithm.train()
    held = build(runners=0, kl_coeff=100.0, lr=1e-2)
    trained(held, 5)
    assert held.last_metrics["learner/kl_reference"] < algorithm.last_metrics["learner/kl_reference"] / 2


@pytest.mark.parametrize("algorithm", sorted(ADVANTAGES))
def test_every_algorithm_runs(build: Build, algorithm: str) -> None:
    built = build(runners=0, algorithm=algorithm)
    before = built.weights()
    assert not same_weights(before, trained(built, 1))
    assert np.isfinite(list(built.last_metrics.values())).all()


def test_an_epsilon_as_large_as_the_spread_lowers_the_advantages(build: Build) -> None:
    stds = []
    for epsilon in (1e-8, 0.1):
        algorithm = build(runners=0, advantage_epsilon=epsilon)
        trained(algorithm, 1)
        stds.append(algorithm.last_metrics["advantage/std"])
    assert 0 < stds[1] < 0.99 < stds[0]


def test_non_finite_gradients_are_skipped_and_counted_and_then_end_the_run(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = ADVANTAGES["grpo"]
    algorithm = build(runners=0, nan_limit=2)
    trained(algorithm, 1)
    before = algorithm.weights()
    monkeypatch.setitem(ADVANTAGES, "grpo", lambda reward_PG, ok_PG, epsilon: torch.full_like(reward_PG, torch.nan))
    for skipped in (1, 2):
        algorithm.train()
        assert algorithm.last_metrics["learner/skipped"] == skipped
        assert same_weights(before, algorithm.weights())
    monkeypatch.setitem(ADVANTAGES, "grpo", sound)
    assert not same_weights(before, trained(algorithm, 1)), "the optimizer survived"
    monkeypatch.setitem(ADVANTAGES, "grpo", lambda reward_PG, ok_PG, epsilon: torch.full_like(reward_PG, torch.inf))
    with pytest.raises(SamplingFailed, match=r"3 updates had non-finite gradients.*learner\.nan_limit"):
        algorithm.train()


def test_the_learning_rate_reaches_the_optimizer(build: Build) -> None:
    algorithm = build(runners=0, iterations=3, lr=1e-2, lr_end=1e-3, warmup_steps=1)
    seen: list[float] = []
    (optimizer,) = algorithm.learner_group._learner._named_optimizers.values()
    optimizer.register_step_pre_hook(lambda stepping, *_: seen.append(stepping.param_groups[0]["lr"]))
    trained(algorithm, 3)
    settings = LearnerConfig(iterations=3, lr=1e-2, lr_end=1e-3, warmup_steps=1)
    assert seen == pytest.approx([learning_rate(settings, i) for i in range(3)])
    assert seen == pytest.approx([5e-3, 5.5e-3, 1e-3])


@pytest.mark.slow
def test_two_learners_take_the_step_of_one(build: Build) -> None:
    one, two = build(runners=0), build(runners=0, learners=2)
    assert same_weights(one.weights(), two.weights())
    one.train(), two.train()
    for name in ("loss", "entropy", "gradient_norm", "ratio_deviation"):
        key = f"learner/{name}"
        assert two.last_metrics[key] == pytest.approx(one.last_metrics[key], rel=1e-4, abs=1e-5)
    assert same_weights(*steps(one, two), within=1e-5)

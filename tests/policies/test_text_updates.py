"""GRPO for texts through RLlib: steps, references, learners that share them, runs that go on after a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID

from policies.algorithm import averaged
from policies.rollouts import SamplingFailed
from policies.text_grpo import TextGRPO
from tests.policies import writing
from tests.policies.conftest import same_weights
from tests.policies.test_learner_memory import inject

pytestmark = pytest.mark.ray

Build = Callable[..., TextGRPO]


@pytest.fixture
def build(ray_cluster: None, llama_start: Path) -> Iterator[Build]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with ExitStack() as stack:

        def build_and_remember(start: Path = llama_start, **settings: Any) -> TextGRPO:
            algorithm: TextGRPO = writing.configured(start, **settings).build_algo()
            stack.callback(algorithm.stop)
            return algorithm

        yield build_and_remember
    torch.set_num_threads(threads)


def gradients(algorithm: TextGRPO) -> dict[str, Any]:
    """Of the last step of the learner in this process, by parameter."""
    network = algorithm.learner_group._learner.module[DEFAULT_MODULE_ID].network
    return {name: p.grad.numpy() for name, p in network.named_parameters() if p.grad is not None}


def test_sampler_and_learner_agree_and_the_runner_has_the_newest_weights(build: Build) -> None:
    """With a large step, weights that lag by one update would show as ratios far from 1."""
    algorithm = build(runners=1, lr=0.01, lr_end=0.01, grad_clip=100.0)
    before = algorithm.weights()
    for _ in range(2):
        algorithm.train()
        assert algorithm.last_metrics["learner/ratio_deviation"] < 1e-4
        assert algorithm.last_metrics["learner/clip_fraction"] == 0
    assert not same_weights(before, algorithm.weights(), within=5e-3)
    (state,) = algorithm.env_runner_group.foreach_env_runner(
        lambda runner: runner.get_state()["rl_module"], local_env_runner=False
    )
    assert same_weights(state, algorithm.weights())


def test_an_iteration_says_all_that_there_is_to_know(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    algorithm = build(entropy_coeff=0.01, kl_coeff=0.1)
    with caplog.at_level(logging.DEBUG, logger="policies"):
        algorithm.train()
    metrics = algorithm.last_metrics
    endings = [metrics[f"output/{name}"] for name in ("ended", "truncated", "too_long", "failed")]
    assert sum(endings) == pytest.approx(1.0)
    samples = metrics["samples/ok"] + metrics["samples/unfinished"]
    assert samples == 4 * (metrics["groups/used"] + metrics.get("groups/dropped", 0))
    assert metrics["samples/ok"] == pytest.approx(endings[0] * samples)
    assert 1 <= metrics["output/tokens"] <= writing.MAX_NEW
    assert 0 < metrics["learner/entropy"] < np.log(500)
    assert algorithm.entropy == pytest.approx(metrics["learner/entropy"] / np.log(algorithm_vocabulary(algorithm)))
    assert metrics["learner/kl_reference"] == pytest.approx(0.0, abs=1e-6)
    assert 0 <= metrics["gates/leak"] == metrics["leak/rate"] <= 1
    assert np.isfinite(list(metrics.values())).all()
    assert caplog.text.count("rate 0.5, reward") == 2


def algorithm_vocabulary(algorithm: TextGRPO) -> int:
    return int(algorithm.learner_group._learner.policy.network.config.vocab_size)


@pytest.mark.parametrize("micro_batch", [1, 3])
def test_micro_batches_change_nothing(build: Build, micro_batch: int) -> None:
    whole, parts = build(kl_coeff=0.1), build(kl_coeff=0.1, micro_batch=micro_batch)
    whole.train(), parts.train()
    for name in ("loss", "entropy", "gradient_norm", "ratio_deviation"):
        key = f"learner/{name}"
        assert parts.last_metrics[key] == pytest.approx(whole.last_metrics[key], rel=1e-4, abs=1e-5)
    assert same_weights(gradients(whole), gradients(parts), within=1e-5)


def test_an_update_that_runs_out_of_memory_is_the_update_that_does_not(build: Build) -> None:
    sound, short = build(), build()
    sizes = inject(short.learner_group._learner, lambda call, prompts: prompts > 2)
    sound.train(), short.train()
    assert sizes == [4, 2, 2]
    assert same_weights(gradients(sound), gradients(short), within=1e-5)


def test_two_epochs_take_two_steps_on_one_batch(build: Build) -> None:
    once, twice = build(lr=1e-2), build(lr=1e-2, epochs=2)
    once.train(), twice.train()
    assert not same_weights(once.weights(), twice.weights(), within=1e-4)
    assert twice.last_metrics["learner/ratio_deviation"] > 1e-3, "the second step sees a policy that has moved"
    assert twice.position == once.position


@pytest.mark.parametrize("algorithm", ["dapo", "dr_grpo", "rloo"])
def test_every_algorithm_runs(build: Build, algorithm: str) -> None:
    built = build(algorithm=algorithm)
    before = built.weights()
    built.train()
    assert not same_weights(before, built.weights())
    assert np.isfinite(list(built.last_metrics.values())).all()


def test_a_restored_run_goes_on_as_if_nothing_had_happened(build: Build, tmp_path: Path) -> None:
    """The reference of the KL too is where the run began, not the checkpoint; and the mean of the weights goes on."""
    settings: dict[str, Any] = {"kl_coeff": 0.05, "average": 0.5, "lr": 1e-2}
    first = build(**settings)
    start = first.weights()
    first.train()
    mean = averaged(None, first.weights(), 0.5, 0)
    assert same_weights(first.served_weights(), mean)
    first.train()
    first.save_to_path(str(tmp_path / "checkpoint"))
    saved = first.weights()
    first.train()

    second = build(**settings)
    second.restore_from_path(str(tmp_path / "checkpoint"))
    assert same_weights(saved, second.weights())
    reference = second.learner_group._learner.reference
    assert same_weights({name: value.numpy() for name, value in reference.items()}, start)
    second.train()
    assert second.last_metrics["learner/kl_reference"] > 1e-5
    assert same_weights(first.weights(), second.weights())
    assert same_weights(first.served_weights(), second.served_weights())
    timeless = [
        {k: v for k, v in a.last_metrics.items() if not k.startswith(("time/", "runners/"))} for a in (first, second)
    ]
    assert timeless[0] == timeless[1]


def test_moments_of_bfloat16_parameters_are_saved(build: Build, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"language": {"precision": "bfloat16"}, "precision": "bfloat16", "lr": 1e-2}
    first, second = build(**settings), build(**settings)
    first.train()
    first.save_to_path(str(tmp_path / "checkpoint"))
    second.restore_from_path(str(tmp_path / "checkpoint"))
    first.train(), second.train()
    assert same_weights(first.weights(), second.weights())


def test_a_policy_that_never_ends_is_stopped_with_the_mend(build: Build, llama_folder: Path) -> None:
    """A model with random weights: none of its texts ends within a few tokens."""
    algorithm = build(llama_folder, refills=0, resources={"failures": 2}, decoding={"max_new_tokens": 2})
    before = algorithm.weights()
    algorithm.train()
    assert algorithm.last_metrics["output/truncated"] == 1.0
    assert algorithm.last_metrics["groups/dropped"] == 4
    assert same_weights(before, algorithm.weights())
    with pytest.raises(SamplingFailed, match=r"2 times in a row.*\nno text .* decoding\.max_new_tokens"):
        algorithm.train()


def test_an_evaluator_that_stays_away_ends_the_run_with_its_name(build: Build) -> None:
    """Some texts have no end, and of all others there is no verdict."""
    algorithm = build(evaluator="away", refills=0, resources={"failures": 2})
    algorithm.train()
    assert 0 < algorithm.last_metrics["samples/unfinished"] < 16
    with pytest.raises(SamplingFailed, match=r"2 times in a row.*\nthe judge gave no verdict"):
        algorithm.train()


def test_adapters_alone_learn_travel_and_are_saved(build: Build, tmp_path_factory: pytest.TempPathFactory) -> None:
    algorithm = build(writing.write_start(tmp_path_factory.mktemp("lora"), "llama", lora=True), lr=1e-2, kl_coeff=0.1)
    learner = algorithm.learner_group._learner
    frozen = {k: p.clone() for k, p in learner.policy.network.named_parameters() if not p.requires_grad}
    before = algorithm.weights()
    for _ in range(2):
        algorithm.train()
    assert frozen
    assert all("lora_" in name for name in algorithm.weights())
    assert not same_weights(before, algorithm.weights(), within=1e-3)
    assert len(learner._params) == len(before), "nothing frozen goes to the optimizer"
    assert all(torch.equal(p, frozen[k]) for k, p in learner.policy.network.named_parameters() if k in frozen)
    assert algorithm.last_metrics["learner/ratio_deviation"] < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("lora", [False, True])
def test_two_learners_take_the_step_of_one(build: Build, tmp_path_factory: pytest.TempPathFactory, lora: bool) -> None:
    start = writing.write_start(tmp_path_factory.mktemp("start"), "llama", lora=lora)
    one, two = build(start, kl_coeff=0.1), build(start, kl_coeff=0.1, learners=2)
    assert same_weights(one.weights(), two.weights())
    one.train(), two.train()
    for name in ("loss", "entropy", "gradient_norm", "ratio_deviation"):
        key = f"learner/{name}"
        assert two.last_metrics[key] == pytest.approx(one.last_metrics[key], rel=1e-3, abs=1e-5)
    assert same_weights(one.weights(), two.weights(), within=1e-4)
    shared = two.learner_group.foreach_learner(_gradients)
    for result in shared:
        assert same_weights(gradients(one), result.get(), within=1e-5)


def _gradients(learner: Any) -> dict[str, Any]:
    network = learner.policy.network
    return {name: p.grad.numpy() for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("architecture", ["gpt2", "phi3", "qwen2"])
def test_two_iterations_of_every_architecture_saved_and_reloaded(
    build: Build, tmp_path_factory: pytest.TempPathFactory, architecture: str
) -> None:
    """Real classes from small checkpoints on disk; what is reloaded writes the same text."""
    folder = tmp_path_factory.mktemp(architecture)
    algorithm = build(writing.write_start(folder / "start", architecture))
    for _ in range(2):
        algorithm.train()
        assert algorithm.last_metrics["groups/used"] > 0
        assert algorithm.last_metrics["learner/ratio_deviation"] < 1e-4
    policy = algorithm.learner_group._learner.policy
    policy.language.save(folder / "saved")
    again = writing.module(folder / "saved")
    prompts = policy.prompt_ids([problem.text for problem in writing.problems()], [0.5] * 16)
    seeds = [[n] for n in range(16)]
    texts, same = ([output.text for output in one.write(prompts, 1.0, seeds)] for one in (policy, again))
    assert texts == same

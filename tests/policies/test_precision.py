"""Half precision: float32 masters, sampling and learning in the same precision, gradients that point the same way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlcompress.errors import UserError
from rlcompress.learning.advantages import ADVANTAGES
from tests.policies import planted
from tests.policies.conftest import Build, same_weights

pytestmark = pytest.mark.ray


def columns_of(learner: Any) -> dict[str, torch.Tensor]:
    """The batch of the next update, as the learner gets it."""
    kept: dict[str, torch.Tensor] = {}
    sound = learner._gradients

    def keep(columns: dict[str, torch.Tensor]) -> torch.Tensor:
        kept.update(columns)
        return sound(columns)

    learner._gradients = keep
    return kept


def gradient(learner: Any, columns: dict[str, torch.Tensor], autocast: torch.dtype | None) -> torch.Tensor:
    """All gradients of the batch in one vector, under that precision."""
    learner.policy.autocast = autocast
    learner._gradients(columns)
    return torch.cat([p.grad.flatten() for p in learner.policy.parameters() if p.grad is not None])


def test_masters_stay_float32_and_gradients_agree(build: Build) -> None:
    algorithm = build(runners=1, precision="bfloat16", lr=1e-2)
    learner = algorithm.learner_group._learner
    columns = columns_of(learner)
    for _ in range(3):
        algorithm.train()
    assert {p.dtype for p in learner.policy.parameters()} == {torch.float32}
    arrays = [value for value in algorithm.weights().values() if isinstance(value, np.ndarray)]  # others are numbers
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
    (optimizer,) = learner._named_optimizers.values()
    moments = {v.dtype for state in optimizer.state.values() for k, v in state.items() if k.startswith("exp_avg")}
    assert moments == {torch.float32}
    scores_PN = learner.policy.forward_train({name: columns[name] for name in columns})["scores_PN"]
    assert scores_PN.dtype == torch.float32
    exact = gradient(learner, columns, None)
    half = gradient(learner, columns, torch.bfloat16)
    assert not torch.equal(exact, half), "bfloat16 was really used"
    assert torch.cosine_similarity(exact, half, dim=0) > 0.99


def test_the_first_ratio_stays_near_one(build: Build) -> None:
    """Runner and learner round alike: without autocast in the runner the deviation is many times as large."""
    algorithm = build(runners=1, precision="bfloat16", lr=1e-2)
    for _ in range(3):
        algorithm.train()
        assert algorithm.last_metrics["learner/ratio_deviation"] < 2e-3
        assert algorithm.last_metrics["learner/clip_fraction"] == 0
    mixed = build(runners=0, precision="bfloat16", lr=1e-2)
    for _ in range(3):
        mixed.train()
    matched = mixed.last_metrics["learner/ratio_deviation"]
    mixed.env_runner_group.local_env_runner.module.autocast = None
    mixed.train()
    assert mixed.last_metrics["learner/ratio_deviation"] > 5 * matched


def test_passes_are_sampled_and_learned_in_the_same_precision(build: Build) -> None:
    """PPO: RLlib's runner and our learner; the critic stays in float32."""
    algorithm = build(runners=1, algorithm="ppo", epochs=1, precision="bfloat16", lr=1e-2)
    for _ in range(3):
        algorithm.train()
        assert algorithm.last_metrics["learner/ratio_deviation"] < 5e-3
    learner = algorithm.learner_group._learner
    assert {p.dtype for p in learner.policy.parameters()} == {torch.float32}
    assert np.isfinite(list(algorithm.last_metrics.values())).all()


def test_the_reference_of_the_kl_is_in_the_same_precision(build: Build) -> None:
    algorithm = build(runners=0, precision="bfloat16", kl_coeff=0.1)
    algorithm.train()
    assert algorithm.last_metrics["learner/kl_reference"] == 0.0


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_recomputed_activations_change_nothing(build: Build, precision: str) -> None:
    plain = build(runners=0, precision=precision)
    again = build(runners=0, precision=precision, gradient_checkpointing=True)
    plain.train(), again.train()
    assert again.last_metrics["learner/loss"] == plain.last_metrics["learner/loss"]
    assert same_weights(plain.weights(), again.weights(), within=1e-6)


def test_float16_is_refused_by_a_learner_without_cuda(build: Build) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(UserError, match=r"learner\.precision float16 needs CUDA.*learner\.gpus_per_learner"):
        build(runners=0, precision="float16")


def test_an_overflow_lowers_the_scale_and_is_no_failure(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scaler of float16, which computes on any device: its first steps overflow, then it has found its scale."""
    sound = ADVANTAGES["grpo"]
    monkeypatch.setitem(ADVANTAGES, "grpo", lambda reward_PG, ok_PG, epsilon: 1e6 * sound(reward_PG, ok_PG))
    algorithm = build(runners=0, nan_limit=0)
    learner = algorithm.learner_group._learner
    learner.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, backoff_factor=2.0**-60)
    before = algorithm.weights()
    algorithm.train()
    assert learner.scaler.get_scale() == 2.0**67
    assert algorithm.last_metrics["learner/skipped"] == 0
    assert same_weights(before, algorithm.weights()), "the step was left out"
    algorithm.train()
    assert not same_weights(before, algorithm.weights())
    state = learner.get_state()
    learner.scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    learner.set_state(state)
    assert learner.scaler.get_scale() == 2.0**67


def test_the_scale_of_float16_cancels(build: Build) -> None:
    scaled, plain = build(runners=0), build(runners=0)
    scaled.learner_group._learner.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    scaled.train(), plain.train()
    assert same_weights(scaled.weights(), plain.weights(), within=1e-6)
    norm = "learner/gradient_norm"
    assert scaled.last_metrics[norm] == pytest.approx(plain.last_metrics[norm], rel=1e-5)


@pytest.mark.learning
def test_the_planted_task_is_learned_in_bfloat16(build: Build, start: Path) -> None:
    held_out = planted.examples(64, seed=1)
    algorithm = build(
        runners=0, texts=256, iterations=25, samples_per_prompt=8, lr=3e-3, lr_end=1e-3, precision="bfloat16"
    )
    before = planted.share_of_best(planted.served(algorithm, start), held_out)
    for _ in range(25):
        algorithm.train()
    after = planted.share_of_best(planted.served(algorithm, start), held_out)
    assert before < 0.8
    assert after >= 0.9

"""Checkpoints of PPO hold all that decides what comes next: critic, optimizer, position, order of the minibatches."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.policies.conftest import Build, same_weights
from tests.policies.test_grpo_checkpoint import metrics_of

pytestmark = pytest.mark.ray

SETTINGS = {
    "algorithm": "ppo",
    "epochs": 2,
    "minibatch": 32,
    "temperature": {"kind": "adaptive", "start": 1.0, "end": 0.5, "target": 0.9},
    "gamma": 0.97,
}


@pytest.mark.parametrize("runners", [0, 1])
def test_a_restored_run_goes_on_as_if_nothing_had_happened(build: Build, tmp_path: Path, runners: int) -> None:
    first = build(runners=runners, **SETTINGS)
    for _ in range(3):
        first.train()
    first.save_to_path(str(tmp_path / "checkpoint"))
    saved, position, tau = first.weights(), first.position, first.tau
    for _ in range(2):
        first.train()

    second = build(runners=runners, **SETTINGS)
    second.restore_from_path(str(tmp_path / "checkpoint"))
    assert (second.iteration, second.position, second.tau) == (3, position, tau)
    assert same_weights(saved, second.weights())
    for _ in range(2):
        second.train()
    assert same_weights(first.weights(), second.weights())
    assert metrics_of(first) == metrics_of(second)


def test_an_older_checkpoint_on_a_live_algorithm_reaches_learner_and_runners(build: Build, tmp_path: Path) -> None:
    algorithm = build(runners=1, lr=0.02, **SETTINGS)
    algorithm.train()
    algorithm.save_to_path(str(tmp_path / "checkpoint"))
    saved = algorithm.weights()
    for _ in range(2):
        algorithm.train()
    last = metrics_of(algorithm)
    assert not same_weights(saved, algorithm.weights(), within=1e-2)
    algorithm.restore_from_path(str(tmp_path / "checkpoint"))
    assert same_weights(saved, algorithm.weights())
    for _ in range(2):
        algorithm.train()
        assert algorithm.last_metrics["learner/ratio_deviation"] < 1e-5, "runners sample with the restored weights"
    assert metrics_of(algorithm) == last, "and the second time is the first time"

"""Checkpoints hold all that decides what comes next; a restored run goes on as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.policies.conftest import Build, same_weights

pytestmark = pytest.mark.ray

SETTINGS = {
    "temperature": {"kind": "adaptive", "start": 1.0, "end": 0.5, "target": 0.9},
    "kl_coeff": 0.05,
    "epochs": 2,
    "average": 0.5,
}


def metrics_of(algorithm: object) -> dict[str, float]:
    metrics: dict[str, float] = algorithm.last_metrics  # type: ignore[attr-defined]
    return {k: v for k, v in metrics.items() if not k.startswith(("time/", "runners/"))}


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
    assert same_weights(first.served_weights(), second.served_weights())
    assert not same_weights(first.weights(), first.served_weights()), "the mean is another, so it was worth saving"
    assert metrics_of(first) == metrics_of(second)
    assert second.tau != 1.0, "the temperature has moved, so that it was worth saving"


def test_an_older_checkpoint_on_a_live_algorithm_reaches_learner_and_runners(build: Build, tmp_path: Path) -> None:
    algorithm = build(runners=1, lr=0.05, grad_clip=100.0)
    algorithm.train()
    algorithm.save_to_path(str(tmp_path / "checkpoint"))
    saved = algorithm.weights()
    for _ in range(2):
        algorithm.train()
    last = metrics_of(algorithm)
    assert not same_weights(saved, algorithm.weights(), within=1e-2)
    algorithm.restore_from_path(str(tmp_path / "checkpoint"))
    assert same_weights(saved, algorithm.weights())
    assert algorithm.iteration == 1
    for _ in range(2):
        algorithm.train()
        assert algorithm.last_metrics["learner/ratio_deviation"] < 1e-5, "runners sample with the restored weights"
    assert metrics_of(algorithm) == last, "and the second time is the first time"

"""The mean of the weights that is served, against its slow twin, and along a real run."""

from __future__ import annotations

import numpy as np
import pytest

from policies.algorithm import Weights, averaged
from tests.policies.conftest import Build, same_weights


def twin(history: list[float], share: float) -> float:
    """Each weight counts with its own (1 - a), times every a that came after."""
    kept = [min(share, (1 + t) / (10 + t)) for t in range(len(history))]
    total = history[0] * float(np.prod(kept[1:]))
    for t in range(1, len(history)):
        total += history[t] * (1 - kept[t]) * float(np.prod(kept[t + 1 :]))
    return total


@pytest.mark.parametrize("share", [0.3, 0.95])
def test_the_mean_equals_its_slow_twin(share: float) -> None:
    history = np.random.default_rng(0).normal(size=40).tolist()
    mean: Weights | None = None
    for t, value in enumerate(history):
        weights = {"w": np.array([value, 7.0], np.float32)}
        mean = averaged(mean, weights, share, t)
        assert mean["w"] is not weights["w"]
    assert mean is not None
    assert mean["w"][0] == pytest.approx(twin(history, share), abs=1e-5)
    assert mean["w"][1] == 7.0, "what never moves stays to the bit"
    assert mean["w"].dtype == np.float32


@pytest.mark.ray
def test_a_run_serves_the_mean_of_its_weights_and_samples_with_the_last(build: Build) -> None:
    algorithm = build(runners=0, average=0.9)
    assert same_weights(algorithm.weights(), algorithm.served_weights())
    mean: Weights | None = None
    for t in range(3):
        algorithm.train()
        mean = averaged(mean, algorithm.weights(), 0.9, t)
        assert same_weights(algorithm.served_weights(), mean)
        assert algorithm.last_metrics["learner/ratio_deviation"] < 1e-5
    assert not same_weights(algorithm.weights(), algorithm.served_weights())

"""The whole of PPO learns a task with a known best mask: several passes, a critic, and the policy as it is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.policies import planted
from tests.policies.conftest import Build

pytestmark = [pytest.mark.ray, pytest.mark.learning]

SETTINGS = {"epochs": 3, "minibatch": 64, "samples_per_prompt": 8, "lr": 3e-3, "lr_end": 1e-3, "iterations": 50}


def slow(*values: int) -> object:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(("seed", "passes"), [(0, 3), slow(1, 3), slow(2, 3), slow(0, 2), slow(0, 4), slow(0, 1)])
def test_the_served_policy_keeps_the_costly_words(build: Build, start: Path, seed: int, passes: int) -> None:
    held_out = planted.examples(64, seed=1)
    algorithm = build(algorithm="ppo", runners=1, seed=seed, passes=passes, texts=256, **SETTINGS)
    assert planted.share_of_best(planted.served(algorithm, start), held_out, passes=passes) < 0.8
    for _ in range(SETTINGS["iterations"]):
        algorithm.train()
    assert planted.share_of_best(planted.served(algorithm, start), held_out, passes=passes) >= 0.95
    assert algorithm.last_metrics["learner/explained_variance"] > 0.5, "the critic has learned too"

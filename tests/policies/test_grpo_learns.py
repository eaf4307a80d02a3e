"""The whole of GRPO learns a task with a known best mask: through Ray, RLlib, the environment and the served policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.policies import planted
from tests.policies.conftest import Build

pytestmark = [pytest.mark.ray, pytest.mark.learning]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_the_served_policy_keeps_the_costly_words(build: Build, start: Path, seed: int) -> None:
    held_out = planted.examples(64, seed=1)
    algorithm = build(runners=1, seed=seed, texts=256, iterations=40, samples_per_prompt=8, lr=3e-3, lr_end=1e-3)
    assert planted.share_of_best(planted.served(algorithm, start), held_out) < 0.8
    for _ in range(40):
        algorithm.train()
    reached = planted.share_of_best(planted.served(algorithm, start), held_out)
    assert reached >= 0.95

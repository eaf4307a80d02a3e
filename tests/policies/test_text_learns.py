"""The whole of GRPO for texts learns a length that it is paid for: through RLlib, the environment and the reward."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.policies import writing

pytestmark = [pytest.mark.ray, pytest.mark.learning]


def test_texts_take_the_length_that_is_paid_for(ray_cluster: None, llama_start: Path) -> None:
    algorithm = writing.configured(
        llama_start, iterations=25, prompts_per_step=8, samples_per_prompt=8, lr=3e-3, lr_end=1e-3, entropy_coeff=0.01
    ).build_algo()
    rewards = []
    for _ in range(25):
        algorithm.train()
        rewards.append(algorithm.last_metrics["reward/mean"])
    algorithm.stop()
    print(rewards)
    assert np.mean(rewards[:2]) < 0.65
    assert np.mean(rewards[-3:]) > 0.8

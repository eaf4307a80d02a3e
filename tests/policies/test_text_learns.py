"""The whole of GRPO for texts learns a length that it is paid for: through RLlib, the environment and the reward."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.policies import writing

pytestmark = [pytest.mark.ray, pytest.mark.learning]

SHORT = {"terms": {"length": 1.0}, "gates": [], "length": {"target": 0.05, "tolerance": 0.05, "slope": 0.3}}


def test_texts_become_as_short_as_is_paid_for(ray_cluster: None, llama_start: Path) -> None:
    algorithm = writing.configured(
        llama_start, iterations=20, prompts_per_step=8, samples_per_prompt=8, lr=3e-3, lr_end=2e-3, reward=SHORT
    ).build_algo()
    rewards, tokens = [], []
    for _ in range(20):
        algorithm.train()
        rewards.append(algorithm.last_metrics["reward/mean"])
        tokens.append(algorithm.last_metrics["output/tokens"])
    algorithm.stop()
    assert rewards[0] < 0.5
    assert np.mean(rewards[-3:]) > 0.75
    assert tokens[-1] < tokens[0] / 2

"""The Lagrangian target: the multiplier follows the served policy, survives a checkpoint, and reaches its target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from policies.grpo import GRPO
from rlcompress.config.schema import LagrangianConfig
from rlcompress.learning.lagrangian import Multiplier, updated
from rlcompress.models.scorer import TextScorer
from rlcompress.selection import threshold
from rlcompress.text.segment import Segmenter
from tests.policies import planted
from tests.policies.conftest import Build, same_weights
from tests.policies.test_grpo_checkpoint import metrics_of

pytestmark = pytest.mark.ray

PRICED: dict[str, Any] = {
    "judge": "graded",
    "sampler": "bernoulli",
    "terms": {"rate_distortion": 1.0},
    "algorithm": "dr_grpo",
    "entropy_coeff": 0.01,
}


def test_the_multiplier_follows_the_served_policy(build: Build) -> None:
    algorithm = build(runners=0, **PRICED, reward={"target_rate": 0.3, "beta": {"start": 0.7}})
    expected = Multiplier.starting_at(0.7)
    for _ in range(4):
        algorithm.train()
        metrics = algorithm.last_metrics
        assert metrics["price"] == expected.value, "sampled at the multiplier of the iteration before"
        assert metrics["lagrangian/error"] == pytest.approx(metrics["rate/served"] - 0.3)
        expected = updated(expected, metrics["lagrangian/error"], LagrangianConfig())
        assert metrics["lagrangian/multiplier"] == expected.value
    assert expected.value != 0.7


def test_the_price_of_the_iteration_reaches_the_reward(build: Build) -> None:
    algorithm = build(runners=0, **PRICED, reward={"beta": {"kind": "linear", "start": 2.0, "end": 1.0}})
    for price in (2.0, 1.9):
        algorithm.train()
        assert algorithm.last_metrics["price"] == pytest.approx(price)
        texts = planted.examples(64)
        for group in algorithm.rollouts.sample(algorithm.next_tasks(4)):
            bits = [planted.graded_bits(word) for word in texts[group.task.example].text.split()]
            for kept_N, reward in zip(group.kept_GN, group.reward_G, strict=True):
                saved = sum(b for b, k in zip(bits, kept_N, strict=True) if k) / sum(bits)
                assert reward == pytest.approx(saved + price * (1 - kept_N.mean()))


def test_a_restored_run_has_its_multiplier(build: Build, tmp_path: Path) -> None:
    settings = {**PRICED, "reward": {"target_rate": 0.3}}
    first = build(runners=1, **settings)
    for _ in range(3):
        first.train()
    first.save_to_path(str(tmp_path / "checkpoint"))
    for _ in range(2):
        first.train()
    second = build(runners=1, **settings)
    second.restore_from_path(str(tmp_path / "checkpoint"))
    for _ in range(2):
        second.train()
    assert second.multiplier == first.multiplier != Multiplier.starting_at(1.0)
    assert same_weights(first.weights(), second.weights())
    assert metrics_of(first) == metrics_of(second)


def served_rate(scorer: TextScorer, count: int = 256) -> float:
    """Kept tokens / tokens of held-out texts, without noise."""
    segmenter = Segmenter(scorer.features.tokenizer)
    units = [segmenter(example.text) for example in planted.examples(count, seed=1)]
    scores = scorer.scores(units, [None] * len(units))
    kept = sum(threshold(u, s).kept_tokens for u, s in zip(units, scores, strict=True))
    return kept / sum(u.total_cost for u in units)


def iterate(algorithm: GRPO, iterations: int) -> None:
    for _ in range(iterations):
        algorithm.train()


@pytest.mark.learning
@pytest.mark.parametrize(("target", "seed"), [(0.3, 0), pytest.param(0.6, 1, marks=pytest.mark.slow)])
def test_the_served_policy_keeps_the_target(build: Build, start: Path, target: float, seed: int) -> None:
    schedule = {"iterations": 150, "samples_per_prompt": 8, "lr": 3e-3, "lr_end": 3e-4}
    algorithm = build(runners=0, seed=seed, texts=256, **PRICED, reward={"target_rate": target}, **schedule)
    iterate(algorithm, 150)
    assert served_rate(planted.served(algorithm, start)) == pytest.approx(target, abs=0.04)

"""REINFORCE: its loss against a slow twin, the sign of its gradient, one sample a prompt, and that it learns."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from policies.reinforce import Reinforce, reinforce_terms
from rlcompress.config.schema import LearnerConfig
from rlcompress.learning.advantages import ADVANTAGES
from rlcompress.learning.samplers import SAMPLERS
from rlcompress.learning.sampling import pack_rankings
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.words import Units
from tests.policies import planted
from tests.policies.conftest import Build
from tests.policies.sampled import SETTINGS, as_batch, sample_groups, scores_of
from tests.rlcompress.small_models import TEXTS, shaken, small_scorer

DOUBLE = torch.float64


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_terms_equal_the_slow_twin(bpe: TextTokenizer, sampler: str) -> None:
    """−Σ A·logp over decisions / their number, with A = r − mean of the batch's valid rewards."""
    behaviour, later = small_scorer(bpe), small_scorer(bpe)
    shaken(later.network, seed=4)
    for scorer in (behaviour, later):
        scorer.network.to(DOUBLE)
    settings = {**SETTINGS, "sampler": sampler}
    groups = [g for part in (TEXTS[:2], TEXTS[2:]) for g in sample_groups(behaviour, part, sampler=sampler)]
    batch = as_batch(groups, DOUBLE)
    reward_PG = torch.from_numpy(np.stack([group.reward_G for group in groups]))
    batch["advantage_PG"] = ADVANTAGES["reinforce"](reward_PG, batch["ok_PG"])
    with torch.no_grad():
        scores, reference = scores_of(later, batch), scores_of(behaviour, batch)
        terms = reinforce_terms(scores, batch, settings, reference)
    valid = [(p, g) for p, group in enumerate(groups) for g in np.flatnonzero(group.ok_G)]
    mean = sum(groups[p].reward_G[g] for p, g in valid) / len(valid)
    total = kl = entropy = 0.0
    count = 0
    for p, g in valid:
        group = groups[p]
        for i in range(int(group.draws_G[g])):
            logp, choice = slow_decision(scores[p].numpy(), group, g, i, sampler)
            other, _ = slow_decision(reference[p].numpy(), group, g, i, sampler)
            total -= (group.reward_G[g] - mean) * logp
            kl += math.exp(other - logp) - 1 - (other - logp)
            entropy -= sum(x * math.log(x) for x in choice)
            count += 1
    assert float(terms["surrogate"]) == pytest.approx(total / count, abs=1e-6)
    assert float(terms["kl_reference"]) == pytest.approx(kl / count, abs=1e-6)
    expected = total / count + 0.1 * kl / count - 0.01 * entropy / count
    assert float(terms["loss"]) == pytest.approx(expected, abs=1e-6)
    assert count > 50


def slow_decision(scores_N: np.ndarray, group: object, g: int, i: int, sampler: str) -> tuple[float, list[float]]:
    """Log-probability of decision i of a sample, and the probabilities of all that could have been decided."""
    order = group.order_GN[g, : group.free]  # type: ignore[attr-defined]
    z = scores_N[order] / group.task.tau  # type: ignore[attr-defined]
    if sampler == "exact":
        weights = [math.exp(x) for x in z[i:]]
        return math.log(weights[0] / sum(weights)), [w / sum(weights) for w in weights]
    keep = 1 / (1 + math.exp(-z[i]))
    stayed = group.kept_GN[g, order[i]]  # type: ignore[attr-defined]
    return math.log(keep if stayed else 1 - keep), [keep, 1 - keep]


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_the_sign_of_the_gradient(sampler: str, advantage: float) -> None:
    """A good sample raises the scores of what it kept against those of what it dropped; a bad one lowers them."""
    units = planted_units(6)
    rng = np.random.default_rng(0)
    ranking = SAMPLERS[sampler].rank(units, np.array([3.0, -1.0, 2.0, -2.0, 1.0, -3.0]), 0.5)
    order, draws, free = (torch.from_numpy(x) for x in pack_rankings([[ranking]], 6))
    batch = {
        "order_PGN": order,
        "draws_PG": draws,
        "kept_PG": torch.tensor([[ranking.kept]]),
        "free_P": free,
        "tau_P": torch.ones(1, dtype=DOUBLE),
        "ok_PG": torch.ones(1, 1, dtype=torch.bool),
        "advantage_PG": torch.tensor([[advantage]], dtype=DOUBLE),
        "decisions_P": draws.sum()[None].to(DOUBLE),
        "logp_PGN": torch.zeros(1, 1, 6, dtype=DOUBLE),
    }
    scores = torch.from_numpy(0.1 * rng.normal(size=(1, 6))).requires_grad_()
    settings = {**SETTINGS, "sampler": sampler, "entropy_coeff": 0.0}
    reinforce_terms(scores, batch, settings, None)["loss"].backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    step = -scores.grad[0] * advantage
    assert step[[0, 2, 4]].min() > step[[1, 3, 5]].max()
    assert step[0] > 0 > step[5]


def planted_units(n: int) -> Units:
    starts = np.arange(n, dtype=np.int64) * 2
    return Units("a " * n, starts, starts + 2, np.ones(n, np.int64), np.zeros(n, np.bool_))


def test_what_reinforce_asks_of_its_settings() -> None:
    assert LearnerConfig(algorithm="reinforce", samples_per_prompt=1).samples_per_prompt == 1
    with pytest.raises(ValueError, match=r"learner\.epochs is 2.*reinforce"):
        LearnerConfig(algorithm="reinforce", epochs=2)
    with pytest.raises(ValueError, match=r"learner\.samples_per_prompt is 1.*rloo.*reinforce"):
        LearnerConfig(algorithm="rloo", samples_per_prompt=1)


@pytest.mark.ray
def test_one_sample_a_prompt_is_enough_and_failed_ones_stay_out(build: Build) -> None:
    algorithm = build(judge="failing", runners=0, algorithm="reinforce", samples_per_prompt=1, refills=20)
    assert isinstance(algorithm, Reinforce)
    algorithm.train()
    metrics = algorithm.last_metrics
    assert metrics["samples/judge_failed"] > 0
    assert metrics["groups/used"] == 8, "refilled with prompts that were judged"
    assert metrics["learner/decisions"] == 9 * 8
    assert metrics["learner/ratio_deviation"] < 1e-5
    assert np.isfinite(metrics["learner/loss"])


@pytest.mark.ray
@pytest.mark.learning
@pytest.mark.parametrize(
    ("seed", "samples"),
    [(0, 4), pytest.param(1, 1, marks=pytest.mark.slow), pytest.param(2, 4, marks=pytest.mark.slow)],
)
def test_the_planted_task_is_learned(build: Build, start: Path, seed: int, samples: int) -> None:
    held_out = planted.examples(64, seed=1)
    settings = {"samples_per_prompt": samples, "prompts_per_step": 64 // samples, "lr": 3e-3, "lr_end": 1e-3}
    algorithm = build(runners=1, seed=seed, texts=256, iterations=40, algorithm="reinforce", **settings)
    assert planted.share_of_best(planted.served(algorithm, start), held_out) < 0.8
    for _ in range(40):
        algorithm.train()
    assert planted.share_of_best(planted.served(algorithm, start), held_out) >= 0.9

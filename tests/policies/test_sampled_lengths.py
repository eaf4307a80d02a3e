"""The bernoulli sampler inside the learner: its terms against a slow twin, and ratios of 1 before the first update."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch

from policies.groups import Group
from policies.grpo_learner import grpo_terms
from rlcompress.models.scorer import TextScorer
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.words import FloatArray
from tests.policies.sampled import SETTINGS, as_batch, loss_and_gradient, sample_groups, scores_of
from tests.rlcompress.small_models import TEXTS, small_scorer

DOUBLE = torch.float64
BERNOULLI = {**SETTINGS, "sampler": "bernoulli"}


def make(bpe: TextTokenizer, dtype: torch.dtype = DOUBLE) -> tuple[TextScorer, TextScorer, list[Group]]:
    """The policy that sampled, a policy some updates later, and groups of two runner calls."""
    behaviour = small_scorer(bpe)
    behaviour.network.to(dtype)
    later = copy.deepcopy(behaviour)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in later.network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator, dtype=dtype))
    groups = [
        *sample_groups(behaviour, TEXTS[:2], sampler="bernoulli"),
        *sample_groups(behaviour, TEXTS[2:], seed=1, sampler="bernoulli"),
    ]
    return behaviour, later, groups


def slow_terms(scores: FloatArray, groups: list[Group], advantage: FloatArray) -> dict[str, float]:
    """Every unit of every valid sample, one at a time, kept or dropped as the mask says."""
    surrogate = entropy = 0.0
    count = 0
    for p, group in enumerate(groups):
        for g in np.flatnonzero(group.ok_G):
            for i, unit in enumerate(group.order_GN[g, : group.free]):
                keep = 1 / (1 + math.exp(-scores[p, unit] / group.task.tau))
                chance = keep if group.kept_GN[g, unit] else 1 - keep
                ratio, A = math.exp(math.log(chance) - group.logp_GN[g, i]), advantage[p, g]
                surrogate -= min(ratio * A, min(max(ratio, 0.8), 1.28) * A)
                entropy -= keep * math.log(keep) + (1 - keep) * math.log(1 - keep)
                count += 1
    return {
        "surrogate": surrogate / count,
        "entropy": entropy / count,
        "loss": surrogate / count - 0.01 * entropy / count,
    }


def test_terms_equal_the_slow_twin(bpe: TextTokenizer) -> None:
    _, later, groups = make(bpe)
    batch = as_batch(groups, DOUBLE)
    with torch.no_grad():
        scores = scores_of(later, batch)
        terms = grpo_terms(scores, batch, BERNOULLI, None)
    expected = slow_terms(scores.numpy(), groups, batch["advantage_PG"].numpy())
    assert {name: float(terms[name]) for name in expected} == pytest.approx(expected, abs=1e-6)
    assert not batch["ok_PG"].all(), "the mask matters in this case"
    kept = np.concatenate([group.chosen_G / max(1, group.free) for group in groups])
    assert kept.std() > 0.05, "samples differ in length"


@pytest.mark.parametrize(("dtype", "tolerance"), [(DOUBLE, 1e-6), (torch.float32, 1e-5)])
def test_first_ratio_is_one(bpe: TextTokenizer, dtype: torch.dtype, tolerance: float) -> None:
    behaviour, _, groups = make(bpe, dtype)
    for part in ([0, 1, 2, 3, 4], [4, 0], [2]):
        batch = as_batch([groups[i] for i in part], dtype)
        with torch.no_grad():
            terms = grpo_terms(scores_of(behaviour, batch), batch, BERNOULLI, None)
        assert float(terms["ratio_deviation"]) < tolerance
        assert float(terms["clip_fraction"]) == 0.0


@pytest.mark.parametrize("parts", [[[0], [1], [2], [3], [4]], [[0, 1, 2], [3, 4]], [[3, 0], [4, 1, 2]]])
def test_micro_batches_and_row_order_change_nothing(bpe: TextTokenizer, parts: list[list[int]]) -> None:
    _, later, groups = make(bpe)
    batch = as_batch(groups, DOUBLE)
    whole, gradient = loss_and_gradient(later, [batch], None, BERNOULLI)
    sliced = [{name: column[part] for name, column in batch.items()} for part in parts]
    sums, summed = loss_and_gradient(later, sliced, None, BERNOULLI)
    assert sums == pytest.approx(whole, abs=1e-10)
    torch.testing.assert_close(summed, gradient, atol=1e-10, rtol=1e-9)
    assert gradient.abs().max() > 1e-3


def test_a_group_says_what_stayed_and_what_is_served(bpe: TextTokenizer) -> None:
    _, _, groups = make(bpe)
    for group in groups:
        for g, chosen in enumerate(group.chosen_G):
            order = group.order_GN[g, : group.free]
            assert group.kept_GN[g, order[:chosen]].all()
            assert not group.kept_GN[g, order[chosen:]].any()
            assert group.draws_G[g] == group.free
        kept, tokens = group.served
        assert 0 <= kept <= tokens
        again = pickle.loads(pickle.dumps(group))
        assert again.served == group.served
        assert (again.chosen_G == group.chosen_G).all()

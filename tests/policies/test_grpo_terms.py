"""The GRPO loss: against a slow twin, and the same whatever the micro-batches, padding, order and sharing."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from policies.groups import Group, pad_stack
from policies.grpo_learner import grpo_terms
from policies.learner import DECISIONS
from rlcompress.models.scorer import TextScorer
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.words import FloatArray
from tests.policies.sampled import FEATURES, SETTINGS, Columns, as_batch, loss_and_gradient, sample_groups, scores_of
from tests.rlcompress.small_models import TEXTS, shaken, small_scorer

DOUBLE = torch.float64


def make(bpe: TextTokenizer, dtype: torch.dtype = DOUBLE) -> tuple[TextScorer, TextScorer, TextScorer, list[Group]]:
    """The policy that sampled, a policy some updates later, the reference, and groups of two runner calls."""
    behaviour = small_scorer(bpe)
    behaviour.network.to(dtype)
    later, reference = copy.deepcopy(behaviour), copy.deepcopy(behaviour)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in later.network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator, dtype=dtype))
    shaken(reference.network, seed=4)
    groups = [*sample_groups(behaviour, TEXTS[:2]), *sample_groups(behaviour, TEXTS[2:], seed=1)]
    return behaviour, later, reference, groups


def slow_terms(
    scores: FloatArray, groups: list[Group], advantage: FloatArray, reference: FloatArray
) -> dict[str, float]:
    """Every decision of every valid sample, one at a time."""
    sums = dict.fromkeys(("surrogate", "entropy", "kl_reference", "clip_fraction", "ratio_deviation", "kl_old"), 0.0)
    count = 0
    for p, group in enumerate(groups):
        for g in np.flatnonzero(group.ok_G):
            order = group.order_GN[g, : group.free]
            for i in range(int(group.draws_G[g])):
                z, other = scores[p, order[i:]] / group.task.tau, reference[p, order[i:]] / group.task.tau
                logp = z[0] - math.log(sum(math.exp(x) for x in z))
                logp_reference = other[0] - math.log(sum(math.exp(x) for x in other))
                share = [math.exp(x) / sum(math.exp(y) for y in z) for x in z]
                ratio, gap = math.exp(logp - group.logp_GN[g, i]), logp_reference - logp
                A = advantage[p, g]
                sums["surrogate"] -= min(ratio * A, min(max(ratio, 0.8), 1.28) * A)
                sums["entropy"] -= sum(x * math.log(x) for x in share)
                sums["kl_reference"] += math.exp(gap) - 1 - gap
                sums["clip_fraction"] += ratio < 0.8 or ratio > 1.28
                sums["ratio_deviation"] += abs(ratio - 1)
                sums["kl_old"] += 1 / ratio - 1 + math.log(ratio)
                count += 1
    means = {name: value / count for name, value in sums.items()}
    loss = means["surrogate"] - 0.01 * means["entropy"] + 0.1 * means["kl_reference"]
    return {**means, "loss": loss}


def test_terms_equal_the_slow_twin(bpe: TextTokenizer) -> None:
    _, later, reference, groups = make(bpe)
    batch = as_batch(groups, DOUBLE)
    with torch.no_grad():
        scores, other = scores_of(later, batch), scores_of(reference, batch)
        terms = grpo_terms(scores, batch, SETTINGS, other)
    expected = slow_terms(scores.numpy(), groups, batch["advantage_PG"].numpy(), other.numpy())
    assert {name: float(value) for name, value in terms.items()} == pytest.approx(expected, abs=1e-6)
    assert 0.05 < expected["clip_fraction"] < 0.95  # the clip matters in this case
    assert not batch["ok_PG"].all()  # and so does the mask


def test_without_a_reference_there_is_no_kl(bpe: TextTokenizer) -> None:
    _, later, _, groups = make(bpe)
    batch = as_batch(groups, DOUBLE)
    with torch.no_grad():
        terms = grpo_terms(scores_of(later, batch), batch, SETTINGS, None)
    assert "kl_reference" not in terms
    assert float(terms["loss"]) == pytest.approx(float(terms["surrogate"] - 0.01 * terms["entropy"]))


@pytest.mark.parametrize(("dtype", "tolerance"), [(DOUBLE, 1e-6), (torch.float32, 1e-5)])
def test_first_ratio_is_one(bpe: TextTokenizer, dtype: torch.dtype, tolerance: float) -> None:
    """The learner pads and batches otherwise than the runner; the weights are the same."""
    behaviour, _, _, groups = make(bpe, dtype)
    shapes = {group.features["ids_PWT"].shape for group in groups}
    assert len(shapes) > 1
    for part in ([0, 1, 2, 3, 4], [4, 0], [2]):
        batch = as_batch([groups[i] for i in part], dtype)
        with torch.no_grad():
            terms = grpo_terms(scores_of(behaviour, batch), batch, SETTINGS, None)
        assert float(terms["ratio_deviation"]) < tolerance
        assert float(terms["clip_fraction"]) == 0.0
        assert float(terms["kl_old"]) < tolerance
        assert float(terms["surrogate"]) == pytest.approx(surrogate_at_one(batch), abs=tolerance)


def surrogate_at_one(batch: Columns) -> float:
    return -float((batch["advantage_PG"] * batch["draws_PG"] * batch["ok_PG"]).sum() / batch[DECISIONS][0])


@pytest.mark.parametrize(
    "parts", [[[0], [1], [2], [3], [4]], [[0, 1, 2], [3, 4]], [[4, 2, 0, 3, 1]], [[3, 0], [4, 1, 2]]]
)
def test_micro_batches_and_row_order_change_nothing(bpe: TextTokenizer, parts: list[list[int]]) -> None:
    _, later, reference, groups = make(bpe)
    batch = as_batch(groups, DOUBLE)
    whole, gradient = loss_and_gradient(later, [batch], reference)
    sliced = [{name: column[part] for name, column in batch.items()} for part in parts]
    sums, summed = loss_and_gradient(later, sliced, reference)
    assert sums == pytest.approx(whole, abs=1e-10)
    torch.testing.assert_close(summed, gradient, atol=1e-10, rtol=1e-9)
    assert gradient.abs().max() > 1e-3


def widened(batch: Columns, windows: int, tokens: int, units: int) -> Columns:
    """The same batch with more padding, as beside a larger prompt."""
    wide = dict(batch)
    for name in (*FEATURES, "order_PGN", "logp_PGN"):
        one = batch[name][:1].numpy()
        more = (units,) if name == "exists_PN" else (0, units) if name[-3:] == "PGN" else (windows, tokens)
        larger = np.zeros([1, *(a + b for a, b in zip(one.shape[1:], more, strict=True))], one.dtype)
        wide[name] = torch.from_numpy(pad_stack([batch[name].numpy(), larger])[:-1].copy())
    wide["valid_PWT"][:, :, 0] = True
    return wide


@pytest.mark.parametrize("more", [(0, 0, 7), (0, 13, 0), (2, 0, 0), (3, 5, 11)])
def test_padding_changes_nothing(bpe: TextTokenizer, more: tuple[int, int, int]) -> None:
    _, later, reference, groups = make(bpe)
    batch = as_batch(groups, DOUBLE)
    whole, gradient = loss_and_gradient(later, [batch], reference)
    sums, padded = loss_and_gradient(later, [widened(batch, *more)], reference)
    assert sums == pytest.approx(whole, abs=1e-10)
    torch.testing.assert_close(padded, gradient, atol=1e-10, rtol=1e-9)


@pytest.mark.parametrize(("dtype", "tolerance"), [(DOUBLE, 1e-10), (torch.float32, 1e-5)])
def test_group_shared_forward_equals_repeated_rows(bpe: TextTokenizer, dtype: torch.dtype, tolerance: float) -> None:
    _, later, reference, groups = make(bpe, dtype)
    batch = as_batch(groups, dtype)
    G = batch["draws_PG"].shape[1]
    repeated = {}
    for name, column in batch.items():
        if "PG" in name:
            repeated[name] = column.flatten(0, 1)[:, None]
        else:
            repeated[name] = column.repeat_interleave(G, 0)
    shared, gradient = loss_and_gradient(later, [batch], reference)
    sums, other = loss_and_gradient(later, [repeated], reference)
    assert sums == pytest.approx(shared, abs=tolerance)
    torch.testing.assert_close(other, gradient, atol=tolerance, rtol=tolerance)


def test_failed_samples_and_undecided_prompts_give_nothing(bpe: TextTokenizer) -> None:
    """NaN rewards, a text of one word and texts that fit give finite terms and the gradient of the others alone."""
    _, later, _, groups = make(bpe)
    assert not groups[3].ok_G.any()  # one word: nothing to decide
    whole, gradient = loss_and_gradient(later, [as_batch(groups, DOUBLE)], None)
    rest, alone = loss_and_gradient(later, [as_batch([g for i, g in enumerate(groups) if i != 3], DOUBLE)], None)
    assert all(math.isfinite(value) for value in whole.values())
    assert whole == pytest.approx(rest, abs=1e-10)
    torch.testing.assert_close(gradient, alone, atol=1e-10, rtol=1e-9)


def test_a_step_along_the_gradient_favours_the_better_samples(bpe: TextTokenizer) -> None:
    behaviour, _, _, groups = make(bpe)
    batch = as_batch(groups, DOUBLE)
    settings = {**SETTINGS, "entropy_coeff": 0.0, "kl_coeff": 0.0}
    before, _ = loss_and_gradient(behaviour, [batch], None, settings)
    with torch.no_grad():
        for parameter in behaviour.network.parameters():
            if parameter.grad is not None:
                parameter.sub_(0.002 * parameter.grad)
    after, _ = loss_and_gradient(behaviour, [batch], None, settings)
    assert after["loss"] < before["loss"] - 1e-6

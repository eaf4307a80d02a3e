"""Independent decisions: log-probabilities and entropies against slow twins, sampling against its distribution."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from rlcompress.learning.bernoulli import logistic_priorities, unit_entropy, unit_logp
from rlcompress.learning.sampling import pack_rankings
from rlcompress.selection import Ranking, cut
from rlcompress.words import FloatArray, Units

LONGEST = 9
Case = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def random_case(seed: int, spread: float = 2.0) -> Case:
    """Scores [4, 9], orders, decisions, kept units and τ of 4 prompts with 9, 5, 1 and 0 free units, 3 samples each."""
    rng = np.random.default_rng(seed)
    order_PGN, kept_PG = np.zeros((4, 3, LONGEST), np.int64), np.zeros((4, 3), np.int64)
    free_P = np.array([9, 5, 1, 0])
    for p, g in itertools.product(range(4), range(3)):
        free_units = rng.choice(LONGEST, free_P[p], replace=False)  # some units are protected
        order_PGN[p, g, : free_P[p]] = rng.permutation(free_units)
        kept_PG[p, g] = rng.integers(0, free_P[p] + 1)
    draws_PG = np.repeat(free_P[:, None], 3, 1)
    arrays = (spread * rng.normal(size=(4, LONGEST)), order_PGN, draws_PG, kept_PG, rng.uniform(0.3, 2.0, 4))
    return tuple(torch.from_numpy(x) for x in arrays)  # type: ignore[return-value]


def logp_of(case: Case) -> Tensor:
    return unit_logp(*case)


def entropy_of(case: Case) -> Tensor:
    scores_PN, order_PGN, draws_PG, _, tau_P = case
    return unit_entropy(scores_PN, order_PGN, draws_PG, tau_P)


def slow(case: Case) -> tuple[FloatArray, FloatArray]:
    """One unit at a time, from its probability."""
    scores_PN, order_PGN, draws_PG, kept_PG, tau_P = (x.double().numpy() for x in case)
    logp, entropy = np.zeros(order_PGN.shape), np.zeros(order_PGN.shape)
    for p, g in itertools.product(range(4), range(3)):
        for i in range(int(draws_PG[p, g])):
            keep = 1 / (1 + math.exp(-scores_PN[p, int(order_PGN[p, g, i])] / tau_P[p]))
            logp[p, g, i] = math.log(keep if i < kept_PG[p, g] else 1 - keep)
            entropy[p, g, i] = -keep * math.log(keep) - (1 - keep) * math.log(1 - keep)
    return logp, entropy


@pytest.mark.parametrize("seed", range(5))
def test_log_probabilities_and_entropies_equal_the_slow_twin(seed: int) -> None:
    case = random_case(seed)
    logp, entropy = slow(case)
    np.testing.assert_allclose(logp_of(case), logp, atol=1e-9)
    np.testing.assert_allclose(entropy_of(case), entropy, atol=1e-9)
    assert (logp < 0).sum() == 3 * (9 + 5 + 1)


def test_scores_far_apart() -> None:
    """A hopeless unit that was kept all the same: finite, exact, and with a gradient, in float32 too."""
    scores_PN = torch.tensor([[300.0, -300.0, 0.0]], requires_grad=True)
    order, draws, kept = torch.tensor([[[1, 2, 0]]]), torch.tensor([[3]]), torch.tensor([[1]])
    logp = unit_logp(scores_PN, order, draws, kept, torch.ones(1))
    np.testing.assert_allclose(logp[0, 0].detach(), [-300.0, -math.log(2), -300.0], rtol=1e-6)
    entropy = unit_entropy(scores_PN, order, draws, torch.ones(1))
    np.testing.assert_allclose(entropy[0, 0].detach(), [0.0, math.log(2), 0.0], atol=1e-6)
    (logp.sum() + entropy.sum()).backward()  # type: ignore[no-untyped-call]
    assert scores_PN.grad is not None
    np.testing.assert_allclose(scores_PN.grad[0], [-1.0, 1.0, -0.5], atol=1e-6)


@pytest.mark.parametrize("function", [logp_of, entropy_of])
def test_gradients_and_padding(function: object) -> None:
    scores_PN, order_PGN, *rest = random_case(3)
    wide_order = torch.cat([order_PGN, torch.zeros(4, 3, 6, dtype=torch.long)], 2)
    narrow = function((scores_PN, order_PGN, *rest))  # type: ignore[operator]
    wide_scores = torch.cat([scores_PN, torch.full((4, 6), 7.0)], 1)
    wide = function((wide_scores, wide_order, *rest))  # type: ignore[operator]
    torch.testing.assert_close(wide[..., :LONGEST], narrow)
    assert not wide[..., LONGEST:].any()
    assert torch.autograd.gradcheck(
        lambda s: function((s, order_PGN, *rest)),  # type: ignore[operator]
        scores_PN.requires_grad_(),
    )


def make_units(costs: list[int], protected: tuple[int, ...] = ()) -> Units:
    text, n = "a " * len(costs), len(costs)
    starts = np.arange(n, dtype=np.int64) * 2
    flags = np.isin(np.arange(n), protected)
    return Units(text, starts, starts + 2, np.array(costs, np.int64), flags)


def every_mask(units: Units) -> list[Ranking]:
    """One ranking for each way to keep some of the free units."""
    signs = itertools.product((-1.0, 1.0), repeat=int((~units.protected_N).sum()))
    rankings = []
    for some in signs:
        priorities_N = np.zeros(len(units))
        priorities_N[~units.protected_N] = some
        rankings.append(cut(units, priorities_N))
    return rankings


def test_probabilities_of_all_masks_sum_to_one() -> None:
    units = make_units([1, 2, 1, 3, 1], protected=(2,))
    rankings = every_mask(units)
    order, draws, _ = (torch.from_numpy(x) for x in pack_rankings([rankings], len(units)))
    kept = torch.tensor([[ranking.kept for ranking in rankings]])
    scores = torch.from_numpy(np.random.default_rng(0).normal(size=(1, len(units))))
    logp = unit_logp(scores, order, draws, kept, torch.tensor([0.7], dtype=torch.float64))
    assert logp.shape[1] == 16
    assert float(logp.sum(-1).exp().sum()) == pytest.approx(1.0, abs=1e-12)


def test_logistic_priorities_keep_with_the_probability_of_the_policy() -> None:
    scores, tau, rng = np.array([0.3, -1.0, 1.2, 0.0]), 0.8, np.random.default_rng(5)
    kept = np.stack([logistic_priorities(scores, tau, rng) >= 0 for _ in range(20_000)])
    expected = 1 / (1 + np.exp(-scores / tau))
    for unit in range(4):
        seen = int(kept[:, unit].sum())
        assert stats.binomtest(seen, 20_000, expected[unit]).pvalue > 0.001
        assert stats.binomtest(seen, 20_000, expected[unit] + 0.03).pvalue < 1e-9
    assert np.abs(np.corrcoef(kept.T) - np.eye(4)).max() < 0.03, "each by itself"


def test_logistic_priorities_follow_their_seed() -> None:
    draws = [logistic_priorities(np.zeros(5), 1.0, np.random.default_rng([4, seed])) for seed in (0, 0, 1)]
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).all()

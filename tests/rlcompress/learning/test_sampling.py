"""Plackett–Luce: draws, log-probabilities and entropies against slow twins, sampling against its distribution."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from rlcompress.learning.sampling import draw_entropy, draw_logp, draw_mask, gumbel_priorities, pack_rankings
from rlcompress.selection import Ranking, rank
from rlcompress.words import FloatArray, Units

LONGEST = 9


def random_case(seed: int, spread: float = 2.0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Scores [4, 9] and orders of 4 prompts with 9, 5, 1 and 0 free units, 3 samples each."""
    rng = np.random.default_rng(seed)
    order_PGN, draws_PG = np.zeros((4, 3, LONGEST), np.int64), np.zeros((4, 3), np.int64)
    free_P = np.array([9, 5, 1, 0])
    for p, g in itertools.product(range(4), range(3)):
        free_units = rng.choice(LONGEST, free_P[p], replace=False)  # some units are protected
        order_PGN[p, g, : free_P[p]] = rng.permutation(free_units)
        draws_PG[p, g] = rng.integers(0, free_P[p] + 1)
    scores_PN = spread * rng.normal(size=(4, LONGEST))
    tau_P = rng.uniform(0.3, 2.0, 4)
    return tuple(torch.from_numpy(x) for x in (scores_PN, order_PGN, draws_PG, free_P, tau_P))  # type: ignore[return-value]


def slow(case: tuple[Tensor, Tensor, Tensor, Tensor, Tensor]) -> tuple[FloatArray, FloatArray]:
    """Log-probability and entropy of each draw, one choice at a time."""
    scores_PN, order_PGN, draws_PG, free_P, tau_P = (x.double().numpy() for x in case)
    logp, entropy = np.zeros(order_PGN.shape), np.zeros(order_PGN.shape)
    for p, g in itertools.product(range(len(free_P)), range(order_PGN.shape[1])):
        free = order_PGN[p, g, : int(free_P[p])].astype(int)
        for i in range(int(draws_PG[p, g])):
            z = scores_PN[p, free[i:]] / tau_P[p]
            share = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
            logp[p, g, i] = z[0] - z.max() - math.log(np.exp(z - z.max()).sum())
            entropy[p, g, i] = -sum(x * math.log(x) for x in share if x > 0)
    return logp, entropy


@pytest.mark.parametrize("seed", range(5))
def test_log_probabilities_and_entropies_equal_the_slow_twin(seed: int) -> None:
    case = random_case(seed)
    logp, entropy = slow(case)
    np.testing.assert_allclose(draw_logp(*case), logp, atol=1e-9)
    np.testing.assert_allclose(draw_entropy(*case), entropy, atol=1e-9)
    assert (np.abs(logp) > 0).sum() > 10


def test_scores_far_apart() -> None:
    """A rare or cold draw is still exact: nothing underflows, in float32 either."""
    scores_PN, *rest = random_case(1, spread=150.0)
    case = (scores_PN.float().requires_grad_(), *rest[:-1], rest[-1].float())
    logp, entropy = slow((case[0].detach(), *case[1:]))  # type: ignore[arg-type]
    np.testing.assert_allclose(draw_logp(*case).detach(), logp, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(draw_entropy(*case).detach(), entropy, rtol=1e-3, atol=1e-4)
    (draw_logp(*case).sum() + draw_entropy(*case).sum()).backward()  # type: ignore[no-untyped-call]
    assert case[0].grad is not None
    assert torch.isfinite(case[0].grad).all()


def test_late_draws_among_low_scores_keep_their_entropy() -> None:
    """What is left after the favourites were drawn may be equally likely however unlikely it was at first."""
    scores_PN = torch.tensor([[200.0, 0.0, 0.0, 0.0]])
    order = torch.tensor([[[0, 1, 2, 3]]])
    entropy = draw_entropy(scores_PN, order, torch.tensor([[4]]), torch.tensor([4]), torch.ones(1))
    np.testing.assert_allclose(entropy[0, 0], [0.0, math.log(3), math.log(2), 0.0], atol=1e-4)


def test_padding_changes_nothing_and_gives_no_nan() -> None:
    scores_PN, order_PGN, draws_PG, free_P, tau_P = random_case(2)
    wide_scores = torch.cat([scores_PN, torch.full((4, 6), 7.0)], 1)
    wide_order = torch.cat([order_PGN, torch.zeros(4, 3, 6, dtype=torch.long)], 2)
    for function in (draw_logp, draw_entropy):
        scores, wide = scores_PN.clone().requires_grad_(), wide_scores.clone().requires_grad_()
        narrow_value = function(scores, order_PGN, draws_PG, free_P, tau_P)
        wide_value = function(wide, wide_order, draws_PG, free_P, tau_P)
        torch.testing.assert_close(wide_value[..., :LONGEST], narrow_value)
        assert not wide_value[..., LONGEST:].any()
        (narrow_grad,) = torch.autograd.grad(narrow_value.square().sum(), scores)
        (wide_grad,) = torch.autograd.grad(wide_value.square().sum(), wide)
        torch.testing.assert_close(wide_grad[:, :LONGEST], narrow_grad)
        assert not wide_grad[:, LONGEST:].any()
        assert not narrow_grad[3].any()  # no free unit: nothing to learn
        assert narrow_grad[2].abs().max() < 1e-30  # one free unit: no choice


@pytest.mark.parametrize("function", [draw_logp, draw_entropy])
def test_gradients(function: object) -> None:
    scores_PN, *rest = random_case(3)
    assert torch.autograd.gradcheck(lambda s: function(s, *rest), scores_PN.requires_grad_())  # type: ignore[operator]


def test_draw_mask() -> None:
    assert draw_mask(torch.tensor([[0, 2], [3, 1]]), 3).tolist() == [
        [[False, False, False], [True, True, False]],
        [[True, True, True], [True, False, False]],
    ]


def make_units(costs: list[int], protected: tuple[int, ...] = ()) -> Units:
    text, n = "a " * len(costs), len(costs)
    starts = np.arange(n, dtype=np.int64) * 2
    flags = np.isin(np.arange(n), protected)
    return Units(text, starts, starts + 2, np.array(costs, np.int64), flags)


def prefixes(units: Units, budget: int) -> dict[tuple[int, ...], Ranking]:
    """Every distinct sequence of decisions that some order of the units leads to."""
    found = {}
    for order in itertools.permutations(range(len(units))):
        priorities = np.empty(len(units))
        priorities[list(order)] = -np.arange(len(units), dtype=float)
        ranking = rank(units, priorities, budget)
        found[tuple(ranking.order_M[: ranking.draws].tolist())] = ranking
    return found


@pytest.mark.parametrize(
    ("costs", "protected", "budget"),
    [([1, 2, 1, 3], (), 3), ([2, 2, 2, 2, 1], (), 4), ([1, 1, 1, 1], (2,), 2), ([1, 5, 1, 1, 2], (0,), 4)],
)
def test_probabilities_of_all_decisions_sum_to_one(costs: list[int], protected: tuple[int, ...], budget: int) -> None:
    units = make_units(costs, protected)
    rankings = list(prefixes(units, budget).values())
    assert len(rankings) > 3
    order, draws, free = (torch.from_numpy(x) for x in pack_rankings([rankings], len(units)))
    scores = torch.from_numpy(np.random.default_rng(0).normal(size=(1, len(units))))
    logp = draw_logp(scores, order, draws, free, torch.tensor([0.7], dtype=torch.float64))
    assert float(logp.sum(-1).exp().sum()) == pytest.approx(1.0, abs=1e-12)


def test_gumbel_priorities_draw_plackett_luce() -> None:
    scores, tau, rng = np.array([0.3, -1.0, 1.2, 0.0]), 0.8, np.random.default_rng(5)
    seen = Counter(tuple(np.argsort(-gumbel_priorities(scores, tau, rng)).tolist()) for _ in range(20_000))
    orders = list(itertools.permutations(range(4)))
    rankings = [Ranking(np.array(order), 4, 4, False) for order in orders]
    order, draws, free = (torch.from_numpy(x) for x in pack_rankings([rankings], 4))
    logp = draw_logp(torch.from_numpy(scores)[None], order, draws, free, torch.tensor([tau], dtype=torch.float64))
    expected = 20_000 * logp.sum(-1).exp()[0].numpy()
    assert expected.min() > 20
    assert stats.chisquare([seen[order] for order in orders], expected).pvalue > 0.001
    assert stats.chisquare([seen[order] for order in orders], np.full(24, 20_000 / 24)).pvalue < 1e-9


def test_gumbel_priorities_follow_their_seed() -> None:
    draws = [gumbel_priorities(np.zeros(5), 1.0, np.random.default_rng([4, seed])) for seed in (0, 0, 1)]
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).all()


def test_pack_rankings() -> None:
    units = make_units([1, 1, 1, 1], (1,))
    some = [rank(units, np.array(p, float), 2) for p in ([4, 9, 1, 3], [1, 9, 4, 3])]
    fits, none = rank(units, np.zeros(4), 4), rank(units, np.zeros(4), 0)
    order_PGN, draws_PG, free_P = pack_rankings([some, [fits, none]], 6)
    assert order_PGN[0].tolist() == [[0, 3, 2, 0, 0, 0], [2, 3, 0, 0, 0, 0]]
    assert draws_PG.tolist() == [[2, 2], [0, 0]]  # everything fits, or protected text alone is too much: no draws
    assert free_P.tolist() == [3, 3]

"""Both samplers through their one interface: what was drawn is what is kept, and its probability is normalised."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.learning.samplers import SAMPLERS
from rlcompress.learning.sampling import pack_rankings
from rlcompress.selection import select, threshold
from rlcompress.words import FloatArray, Units


@st.composite
def texts(draw: st.DrawFn) -> tuple[Units, FloatArray]:
    """Units with costs, some protected, and a score for each."""
    n = draw(st.integers(0, 12))
    costs = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    protected = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    scores = draw(st.lists(st.integers(-500, 500), min_size=n, max_size=n))
    starts = np.arange(n, dtype=np.int64) * 2
    units = Units("a " * n, starts, starts + 2, np.array(costs, np.int64), np.array(protected, np.bool_))
    return units, np.array(scores, np.float64) / 100


@given(texts(), st.sampled_from(sorted(SAMPLERS)), st.floats(0.05, 1.0), st.integers(0, 9))
def test_the_ranking_keeps_what_the_environment_keeps(
    text: tuple[Units, FloatArray], name: str, rate: float, seed: int
) -> None:
    (units, scores_N), sampler = text, SAMPLERS[name]
    priorities_N = sampler.priorities(scores_N, 0.7, np.random.default_rng(seed))
    ranking = sampler.rank(units, priorities_N, rate)
    kept_N = units.protected_N.copy()
    kept_N[ranking.order_M[: ranking.kept]] = True
    made = select(units, priorities_N, rate) if name == "exact" else threshold(units, priorities_N)
    assert kept_N.tolist() == made.kept_N.tolist()
    assert sorted(ranking.order_M.tolist()) == np.flatnonzero(~units.protected_N).tolist()
    assert sampler.served(units, priorities_N, rate).kept_N.tolist() == made.kept_N.tolist()


@given(texts(), st.sampled_from(sorted(SAMPLERS)), st.integers(0, 9))
def test_probabilities_and_entropies_are_those_of_the_decisions(
    text: tuple[Units, FloatArray], name: str, seed: int
) -> None:
    (units, scores_N), sampler = text, SAMPLERS[name]
    rng = np.random.default_rng(seed)
    rankings = [sampler.rank(units, sampler.priorities(scores_N, 0.7, rng), 0.5) for _ in range(3)]
    width = len(units) + 2
    order, draws, free = (torch.from_numpy(x) for x in pack_rankings([rankings], width))
    columns = {
        "order_PGN": order,
        "draws_PG": draws,
        "kept_PG": torch.tensor([[ranking.kept for ranking in rankings]]),
        "free_P": free,
        "tau_P": torch.tensor([0.7], dtype=torch.float64),
    }
    padded = torch.from_numpy(np.concatenate([scores_N, np.zeros(2)]))[None]
    logp, entropy = sampler.logp(padded, columns), sampler.entropy(padded, columns)
    decisions = torch.arange(width) < draws[..., None]
    assert (logp <= 1e-12).all()
    assert not logp[~decisions].any()
    assert not entropy[~decisions].any()
    most = sampler.largest_entropy(np.array([max(2, int(free[0]))]))
    assert (entropy <= most + 1e-9).all()
    if name == "bernoulli":
        assert int(draws[0, 0]) == int((~units.protected_N).sum()), "every free unit is a decision"


@given(texts(), st.floats(0.1, 10))
def test_what_is_served_without_a_rate_follows_from_the_signs_alone(text: tuple[Units, FloatArray], tau: float) -> None:
    units, scores_N = text
    served = SAMPLERS["bernoulli"].served(units, scores_N, 0.5)
    probability_N = 1 / (1 + np.exp(-scores_N / tau))
    assert served.kept_N.tolist() == (units.protected_N | (probability_N >= 0.5)).tolist()
    assert served.rate == served.achieved_rate
    assert served.status == "ok"


def test_a_priority_that_is_no_number_is_refused() -> None:
    starts = np.arange(3, dtype=np.int64) * 2
    units = Units("a a a ", starts, starts + 2, np.ones(3, np.int64), np.zeros(3, np.bool_))
    with pytest.raises(ValueError, match="NaN"):
        threshold(units, np.array([1.0, np.nan, 0.0]))
    with pytest.raises(ValueError, match="3 units need"):
        threshold(units, np.ones(2))

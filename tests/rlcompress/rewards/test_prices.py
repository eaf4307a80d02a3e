"""Rewards that price the rate: their formulas, their ranges, and optima that lie in between."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.config.schema import PRICE_LIMIT, RewardConfig
from rlcompress.rewards.reward import Reward
from rlcompress.rewards.terms import RewardInput, rate_distortion, simple
from rlcompress.words import Compression, Example, Judgement, Status, Units

N = 20


def item_for(kept: int, left: float, price: float = 1.0, empty: float = 40.0) -> RewardInput:
    """The first `kept` of 20 words stay; `left` of `empty` bits are lost."""
    starts = np.arange(N, dtype=np.int64) * 2
    units = Units("a " * N, starts, starts + 2, np.ones(N, np.int64), np.zeros(N, np.bool_))
    compression = Compression(units, np.arange(N) < kept, kept / N)
    verdicts = Judgement(left, version="v"), Judgement(empty, version="v")
    return RewardInput(Example("x", units.text), compression, *verdicts, price=price)


kept_units = st.integers(0, N)
lost_bits = st.floats(0.0, 40.0)
prices = st.floats(0.0, PRICE_LIMIT)


@given(kept_units, lost_bits, prices)
def test_formulas_equal_their_slow_twins_and_stay_in_range(kept, lost, price):
    item = item_for(kept, lost, price)
    saved, dropped = 1 - lost / 40.0, 1 - kept / N
    assert simple(item) == pytest.approx(saved * dropped, abs=1e-12)
    assert rate_distortion(item) == pytest.approx(saved + price * dropped, abs=1e-12)
    assert 0.0 <= simple(item) <= 1.0
    assert 0.0 <= rate_distortion(item) <= 1.0 + price + 1e-12


@given(st.integers(0, N - 1), lost_bits, st.floats(1e-3, PRICE_LIMIT))
def test_the_reward_falls_in_the_kept_fraction_at_fixed_distortion(kept, lost, price):
    reward = Reward(RewardConfig(terms={"rate_distortion": 1.0}))
    fewer, more = (reward.score(item_for(k, lost, price)).total for k in (kept, kept + 1))
    assert more == pytest.approx(fewer - price / N, abs=1e-9)
    assert more < fewer


@given(kept_units, st.floats(0.0, 39.0), prices)
def test_the_reward_falls_in_the_distortion_at_a_fixed_fraction(kept, lost, price):
    assert rate_distortion(item_for(kept, lost + 1.0, price)) < rate_distortion(item_for(kept, lost, price))


def test_a_judge_that_is_worse_than_blind_pays_no_less_than_nothing():
    """Bits above D(∅) count as D(∅), in these terms as in `distortion`."""
    assert simple(item_for(5, 50.0)) == 0.0
    assert rate_distortion(item_for(5, 50.0, 2.0)) == pytest.approx(2.0 * 0.75)


@pytest.mark.parametrize("name", ["simple", "rate_distortion"])
def test_no_verdict_is_no_reward(name):
    reward = Reward(RewardConfig(terms={name: 1.0}))
    item = item_for(5, 10.0)
    failed = RewardInput(item.example, item.compression, Judgement.failed("away"), item.empty_judgement)
    assert reward.score(failed).status is Status.JUDGE_FAILED
    nothing = reward.score(item_for(5, float("nan")))
    assert nothing.status is Status.REWARD_FAILED


def best_kept(reward: Reward, bits_N: np.ndarray, price: float = 1.0) -> int:
    """How many words the best mask keeps: the most telling ones first, and each costs its own bits when dropped."""
    order = np.sort(bits_N)[::-1]
    paid = [reward.score(item_for(k, order[k:].sum(), price, empty=bits_N.sum())).total for k in range(N + 1)]
    return int(np.argmax(paid))


def test_simple_has_an_interior_optimum():
    """Half of the words where all tell the same; fewer, but some, where a few tell most of it."""
    reward = Reward(RewardConfig(terms={"simple": 1.0}))
    assert best_kept(reward, np.ones(N)) == N // 2
    uneven = np.where(np.arange(N) < 4, 16.0, 1.0)
    assert best_kept(reward, uneven) == 4
    assert reward.score(item_for(0, 40.0)).total == reward.score(item_for(N, 0.0)).total == 0.0


def test_a_higher_price_keeps_less_and_some_price_keeps_each_amount():
    reward = Reward(RewardConfig(terms={"rate_distortion": 1.0}))
    bits_N = np.linspace(1.0, 5.0, N)
    kept = [best_kept(reward, bits_N, price) for price in np.linspace(0.0, 2.0, 81)]
    assert kept == sorted(kept, reverse=True)
    assert kept[0] == N
    assert kept[-1] == 0
    assert set(range(N + 1)) <= set(kept)
    assert 0 < best_kept(reward, bits_N, 1.0) < N


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"beta": {"kind": "adaptive"}}, "reward.beta.kind adaptive"),
        ({"beta": {"start": 11.0}}, "reward.beta must not exceed 10"),
        ({"target_rate": 0.5}, "rate_distortion"),
        ({"target_rate": 0.5, "terms": {"rate_distortion": -1.0}}, "weight above 0"),
    ],
)
def test_a_price_that_makes_no_sense_is_refused(section, says):
    with pytest.raises(ValueError, match=says):
        RewardConfig.model_validate(section)

"""Known ways to cheat a compression reward; each must pay less than an honest output."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.config.schema import GatesConfig, RewardConfig
from rlcompress.rewards.reward import Reward
from rlcompress.rewards.terms import RewardInput
from rlcompress.selection import select
from rlcompress.text.segment import Segmenter
from rlcompress.text.units import unit_starts
from rlcompress.words import Compression, Example, Judgement, Units
from tests.rlcompress.evaluation_fakes import WordTokenizer

TEXT = "Oslo is the capital of Norway and it lies at the end of a long fjord"
BITS_N = np.asarray([14, 3, 1, 9, 1, 11, 2, 3, 6, 4, 1, 7, 1, 2, 5, 13], np.float64)  # guessing each word blind
ANSWERED = Example("a#0", TEXT, question="Which city?", answer="Oslo")
N = len(BITS_N)


class NeighbourJudge:
    """A dropped word costs its bits, half of them where a neighbour was kept: monotone, and not additive."""

    def judge(self, kept_N: np.ndarray) -> Judgement:
        padded = np.concatenate([[False], kept_N, [False]])
        helped_N = padded[:-2] | padded[2:]
        per_unit_N = np.where(kept_N, 0.0, BITS_N * np.where(helped_N, 0.5, 1.0))
        return Judgement(float(per_unit_N.sum()), version="v", per_unit_N=per_unit_N)


def cut() -> Units:
    starts_N = unit_starts(TEXT)
    ends_N = np.append(starts_N[1:], len(TEXT)).astype(np.int64)
    return Units(TEXT, starts_N, ends_N, np.ones(N, np.int64), np.zeros(N, np.bool_))


def pay(reward: Reward, kept_N: np.ndarray, example: Example = ANSWERED) -> float:
    judge = NeighbourJudge()
    compression = Compression(cut(), np.asarray(kept_N, np.bool_), 0.5)
    importance_N = reward.importance(compression.units)
    nothing_N = np.zeros(N, np.bool_)
    return reward.score(
        RewardInput(example, compression, judge.judge(compression.kept_N), judge.judge(nothing_N), importance_N)
    ).total


HONEST_N = select(cut(), BITS_N, 0.5).kept_N
CONFIGS = {
    "distortion": RewardConfig(),
    "answer": RewardConfig(terms={"answer_kept": 1.0, "distortion": 0.3}),
    "with rate": RewardConfig(terms={"distortion": 1.0, "rate": 0.5}),
    "floor": RewardConfig(terms={"distortion": 1.0, "rate": 1.0}, gates=GatesConfig(floor=0.2)),
    "numbers": RewardConfig(importance="numbers"),
    "position": RewardConfig(importance="position"),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_keeping_nothing_or_one_word_pays_less_than_an_honest_half(config):
    reward = Reward(config)
    honest = pay(reward, HONEST_N)
    assert pay(reward, np.zeros(N)) < honest
    for u in range(N):
        assert pay(reward, np.arange(N) == u) < honest


def test_keeping_everything_is_impossible_under_a_budget():
    for priorities_N in (np.full(N, np.inf), np.full(N, 1e30), BITS_N):
        assert select(cut(), priorities_N, 0.5).kept_tokens <= 0.5 * N


def test_at_equal_distortion_keeping_more_pays_less():
    """A word that carries no bits is not worth its tokens once the rate has a price."""
    judge = Judgement(10.0, version="v")
    reward = Reward(CONFIGS["with rate"])

    def paid(kept: int) -> float:
        compression = Compression(cut(), np.arange(N) < kept, 1.0)
        return reward.score(RewardInput(Example("a#0", TEXT), compression, judge, Judgement(20.0, version="v"))).total

    assert all(paid(k) > paid(k + 1) for k in range(N))


def test_keeping_everything_pays_less_than_an_honest_half_once_the_rate_has_a_price():
    reward = Reward(RewardConfig(terms={"distortion": 1.0, "rate": 1.0}))
    assert pay(reward, np.ones(N)) < pay(reward, HONEST_N)


@given(st.lists(st.booleans(), min_size=N, max_size=N), st.integers(0, N - 1), st.sampled_from(sorted(CONFIGS)))
def test_one_more_kept_word_never_lowers_the_distortion_term_and_never_jumps(kept, u, name):
    """No cliff to sit on: the gain of a word is at most what it and its neighbours carry."""
    config = RewardConfig(terms={"distortion": 1.0}, importance=CONFIGS[name].importance)
    reward = Reward(config)
    fewer_N = np.asarray(kept, np.bool_)
    fewer_N[u] = False
    more_N = fewer_N.copy()
    more_N[u] = True
    gain = pay(reward, more_N) - pay(reward, fewer_N)
    weights_N = reward.importance(cut())
    worth_N = BITS_N * (np.ones(N) if weights_N is None else weights_N)
    assert -1e-12 <= gain <= worth_N[max(u - 1, 0) : u + 2].sum() / worth_N.sum() + 1e-12


def test_no_cliff_at_the_edge_of_the_budget():
    """Rates that differ by one token differ by one word, and the reward never falls with a larger budget."""
    reward = Reward()
    kept = [select(cut(), BITS_N, target_tokens=b).kept_N for b in range(N + 1)]
    paid = [pay(reward, kept_N, Example("a#0", TEXT)) for kept_N in kept]
    assert paid[0] == 0.0
    assert paid[-1] == pytest.approx(1.0)
    steps = np.diff(paid)
    assert (steps >= 0).all()
    assert steps.max() < 0.25


def test_the_answer_term_grows_word_by_word():
    example = Example("a#1", TEXT, answer="the capital of Norway")
    reward = Reward(RewardConfig(terms={"answer_kept": 1.0}))
    paid = [pay(reward, np.arange(N) < k, example) for k in range(7)]
    assert paid == [0.0, 0.0, 0.0, 0.25, 0.5, 0.75, 1.0]


def test_writing_the_answer_instead_of_keeping_the_text_pays_nothing():
    """The best verdict of all does not help an output with a word that the source does not have."""
    reward = Reward(RewardConfig(terms={"answer_kept": 1.0, "distortion": 1.0}))
    example = Example("a#2", TEXT, question="In which country?", answer="Scandinavia")
    compression = Compression(cut(), np.zeros(N, np.bool_), 0.5)
    perfect, nothing = Judgement(0.0, version="v"), Judgement(20.0, version="v")
    cheat = reward.score(RewardInput(example, compression, perfect, nothing, written="Scandinavia"))
    assert cheat.terms == {"answer_kept": 1.0, "distortion": 1.0}
    assert cheat.gates == {"leak": False, "bare": False}
    assert cheat.total == 0.0
    assert reward.score(RewardInput(example, compression, perfect, nothing, written="Oslo, Norway")).total > 0.0
    assert pay(reward, HONEST_N) > 0.0


def test_a_mask_that_finds_the_answer_is_paid_for_it():
    """The gate against answers is for what is written: of four words, only the one that was asked for may stay."""
    units = Segmenter(WordTokenizer())("alpha beta gamma delta")
    kept = select(units, np.array([0.0, 1.0, 0.0, 0.0]), 0.25)
    assert kept.text.strip() == "beta"
    example = Example("e", units.text, "Which?", "beta")
    config = RewardConfig(terms={"distortion": 0.0, "answer_retention": 1.0})
    nothing = Judgement(math.nan)
    assert Reward(config).score(RewardInput(example, kept, nothing, nothing)).total == 1.0
    written = RewardInput(example, kept, nothing, nothing, written="beta")
    assert Reward(config).score(written).total == 0.0

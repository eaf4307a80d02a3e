"""Progressive episodes: K steps whose rewards add up to the one reward of `single`."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from envs.masking import TokenMasking
from envs.masking_vector import TokenMaskingVector
from rlcompress.rewards.terms import RewardInput
from rlcompress.selection import budget_tokens
from rlcompress.words import Compression, Judgement, JudgeRequest, Status
from tests.envs.conftest import EXAMPLES, CountingJudge

INDICES, RATES = [0, 3, 1, 0], [0.33, 0.5, 0.7, 0.2]
K = 3


@pytest.fixture
def vector(arguments) -> TokenMaskingVector:
    return TokenMaskingVector(num_envs=len(INDICES), **arguments(form="progressive", passes=K))


@pytest.fixture(scope="session")
def make(arguments):
    made: dict[int, TokenMasking] = {}

    def one(passes: int) -> TokenMasking:
        if passes not in made:
            form = {"form": "progressive", "passes": passes} if passes else {}
            made[passes] = TokenMasking(**arguments(protect=("numbers",), **form))
        return made[passes]

    return one


def actions(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def walk(env: TokenMasking, index: int, rate: float, seed: int) -> list[tuple[dict[str, Any], float, bool, dict]]:
    env.reset(options={"index": index, "rate": rate})
    steps, over = [], False
    while not over:
        seen, reward, over, truncated, info = env.step(actions(env.action_space.shape, seed + len(steps)))
        assert not truncated
        steps.append((seen, reward, over, info))
    return steps


def reward_of(env: TokenMasking, kept_N: np.ndarray, index: int, rate: float) -> float:
    """The whole reward of a text from which the others were dropped, computed beside the environment."""
    example = env.world.examples[index]
    compression = Compression(env.world.units[index], kept_N, rate)
    request = JudgeRequest.of(compression, example)
    verdict, empty = CountingJudge().judge([request, request.emptied()])
    return env.world.reward.score(RewardInput(example, compression, verdict, empty)).total


WALKS = (st.integers(0, len(EXAMPLES) - 1), st.floats(0.05, 1.0), st.integers(0, 999))


@given(*WALKS)
def test_one_pass_is_single(make, index: int, rate: float, seed: int) -> None:
    single, progressive = make(0), make(1)
    [(_, reward, _, info)] = walk(progressive, index, rate, seed)
    [(_, expected, _, told)] = walk(single, index, rate, seed)
    assert reward == expected
    assert info == told
    assert progressive.observation_space["text"] == single.observation_space["text"]


@given(*WALKS, st.integers(2, 6))
def test_the_return_is_the_reward_of_single(make, index: int, rate: float, seed: int, passes: int) -> None:
    env = make(passes)
    units = env.world.units[index]
    steps = walk(env, index, rate, seed)
    assert len(steps) == passes
    before_N = np.ones(len(units), np.bool_)
    for t, (seen, _, over, info) in enumerate(steps, 1):
        alive_N = seen["alive"][: len(units)].astype(np.bool_)
        assert seen in env.observation_space
        assert not (alive_N & ~before_N).any(), "keep-sets shrink"
        assert not seen["alive"][len(units) :].any()
        used, budget = int(units.costs_N[alive_N].sum()), budget_tokens(units, rate ** (t / passes))
        if info["status"] is Status.OK:
            gone_N = before_N & ~alive_N
            assert 0 <= budget - used < (units.costs_N[gone_N].max() if gone_N.any() else np.inf)
        assert seen["progress"][0] == t / passes
        assert seen["budget_left"][0] == (used - budget_tokens(units, rate)) / units.total_cost
        assert over == (t == passes)
        before_N = alive_N
    final = steps[-1][3]
    if final["status"] is Status.OK:
        total = sum(reward for _, reward, _, _ in steps)
        assert total == pytest.approx(reward_of(env, before_N, index, rate), abs=1e-12)
        assert final["achieved_rate"] == pytest.approx(units.costs_N[before_N].sum() / units.total_cost)


def test_gymnasium_finds_nothing_wrong(arguments) -> None:
    check_env(TokenMasking(**arguments(form="progressive", passes=K)), skip_render_check=True)


def test_a_vector_walks_like_single_environments_with_one_judge_call_a_step(vector, arguments) -> None:
    observed, infos = vector.reset(options={"indices": INDICES, "rates": RATES})
    assert observed in vector.observation_space
    assert infos["index"].tolist() == INDICES
    taken = [actions(vector.action_space.shape, t) for t in range(K)]
    calls = vector.world.judge.calls
    walks = []
    for t in range(K):
        walks.append(vector.step(taken[t]))
        assert len(calls) == t + 1
        assert walks[t][0] in vector.observation_space
    single = TokenMasking(**arguments(form="progressive", passes=K))
    for b, (index, rate) in enumerate(zip(INDICES, RATES, strict=True)):
        single.reset(options={"index": index, "rate": rate})
        for t in range(K):
            seen, reward, over, _, info = single.step(taken[t][b])
            batched, reward_B, over_B, truncated_B, told = walks[t]
            assert reward_B[b] == reward
            assert over_B[b] == over
            assert not truncated_B[b]
            assert told["compression"][b].text == info["text"]
            for name in ("alive", "protected", "progress", "budget_left"):
                np.testing.assert_array_equal(batched[name][b], seen[name])


def test_the_step_after_the_last_resets(vector) -> None:
    vector.reset(seed=0)
    for _ in range(2):
        ended = [vector.step(actions(vector.action_space.shape, t))[2].all() for t in range(K)]
        assert ended == [False] * (K - 1) + [True]
        observed, reward_B, over_B, _, infos = vector.step(actions(vector.action_space.shape, 9))
        assert reward_B.tolist() == [0.0] * len(INDICES)
        assert not over_B.any()
        assert not observed["progress"].any()
        assert set(infos) == {"index", "id", "rate", "units"}


def test_what_was_returned_stays_as_it_was(vector) -> None:
    first, _ = vector.reset(seed=1)
    alive_BN = first["alive"].copy()
    for t in range(K):
        vector.step(actions(vector.action_space.shape, t))
    np.testing.assert_array_equal(first["alive"], alive_BN)


class SecondCallFails(CountingJudge):
    """No verdict on anything but the emptied texts in its second call."""

    def judge(self, requests: list[JudgeRequest]) -> list[Judgement]:
        verdicts = super().judge(requests)
        if len(self.calls) != 2:
            return verdicts
        return [v if not r.kept_N.any() else Judgement.failed("once") for r, v in zip(requests, verdicts, strict=True)]


def test_a_verdict_that_fails_on_the_way_makes_the_whole_episode_fail(arguments) -> None:
    env = TokenMasking(**arguments(form="progressive", passes=K, judge=SecondCallFails()))
    steps = walk(env, 0, 0.4, 0)
    assert [info["status"] for *_, info in steps] == [Status.OK, Status.JUDGE_FAILED, Status.JUDGE_FAILED]
    rewards = [reward for _, reward, _, _ in steps]
    assert np.isnan(rewards).tolist() == [False, True, True], "never a zero, and no difference to what is not known"
    assert [over for _, _, over, _ in steps] == [False, False, True]


def test_protected_text_over_the_budget_of_a_late_step_is_told_to_the_end(arguments) -> None:
    env = TokenMasking(**arguments(protect=("numbers",), form="progressive", passes=K))
    steps = walk(env, 0, 0.02, 0)
    assert steps[-1][3]["status"] is Status.OVER_BUDGET
    assert np.isfinite(sum(reward for _, reward, _, _ in steps))
    assert steps[-1][3]["achieved_rate"] > 0.02


def test_it_can_be_sent_to_another_process_in_the_middle_of_an_episode(arguments) -> None:
    env = TokenMasking(**arguments(form="progressive", passes=K))
    env.reset(options={"index": 0, "rate": 0.5})
    env.step(actions(env.action_space.shape, 0))
    copy = pickle.loads(pickle.dumps(env))
    one, other = (e.step(actions(env.action_space.shape, 1)) for e in (env, copy))
    assert one[1] == other[1]
    np.testing.assert_array_equal(one[0]["alive"], other[0]["alive"])


def test_gymnasium_makes_it_by_its_id() -> None:
    env = gym.make("rlcompress/TokenMasking-v0", form="progressive", passes=2)
    env.reset(seed=0)
    ends = [env.step(env.action_space.sample())[2] for _ in range(2)]
    assert ends == [False, True]

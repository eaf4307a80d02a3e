"""Many episodes in lockstep: one judge call a step, the same trajectories as one at a time, fresh arrays."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers.vector import DictInfoToList

from envs.masking import TokenMasking
from envs.masking_vector import TokenMaskingVector
from rlcompress.errors import UserError
from rlcompress.words import Status

INDICES = [0, 0, 3, 1, 2, 3]
RATES = [0.33, 0.5, 0.5, 0.7, 0.5, 0.0]


@pytest.fixture
def vector(arguments) -> TokenMaskingVector:
    return TokenMaskingVector(num_envs=len(INDICES), **arguments())


def priorities(envs: gym.vector.VectorEnv, seed: int = 0) -> np.ndarray:
    shape = envs.action_space.shape
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_a_vector_step_equals_single_steps(vector, arguments):
    observations, infos = vector.reset(options={"indices": INDICES, "rates": RATES})
    assert observations in vector.observation_space
    actions = priorities(vector)
    after, rewards_B, terminated_B, truncated_B, results = vector.step(actions)
    assert after in vector.observation_space
    assert terminated_B.all()
    assert not truncated_B.any()
    single = TokenMasking(**arguments())
    for b, (index, rate) in enumerate(zip(INDICES, RATES, strict=True)):
        observation, info = single.reset(options={"index": index, "rate": rate})
        assert {name: column[b] for name, column in observations.items()} == observation
        assert (infos["index"][b], infos["id"][b], infos["rate"][b]) == (index, info["id"], rate)
        assert infos["units"][b].words() == info["units"].words()
        _, reward, *_, result = single.step(actions[b])
        assert rewards_B[b] == reward
        assert results["compression"][b].text == result["text"]
        assert results["judgement"][b].score == result["judgement"]["score"]
        assert results["status"][b] is result["status"]
        assert {name: column[b] for name, column in results["reward_terms"].items()} == result["reward_terms"]
        assert {name: column[b] for name, column in results["reward_gates"].items()} == result["reward_gates"]
        for name in ("rate", "achieved_rate", "kept_tokens"):
            assert results[name][b] == result[name]


def test_a_vector_of_one_walks_like_the_single_environment(arguments):
    vector, single = TokenMaskingVector(num_envs=1, **arguments()), TokenMasking(**arguments())
    observations, _ = vector.reset(seed=3)
    observation, _ = single.reset(seed=3)
    for t in range(12):
        assert (observations["text"][0], observations["rate"][0]) == (observation["text"], observation["rate"])
        actions = priorities(vector, t)
        observations, rewards_B, *_ = vector.step(actions)
        observation, reward, *_ = single.step(actions[0])
        assert rewards_B[0] == reward
        observations, *_ = vector.step(actions)  # the step after the end resets
        observation, _ = single.reset()


def test_one_call_a_step_with_each_emptied_text_once(vector):
    calls = vector.world.judge.calls
    vector.reset(options={"indices": INDICES})
    assert not calls
    vector.step(priorities(vector))
    [asked] = calls
    assert len(asked) == len(INDICES) + len(set(INDICES))
    assert [request.source for request in asked[: len(INDICES)]] == [vector.world.examples[i].text for i in INDICES]
    assert not any(request.kept_N.any() for request in asked[len(INDICES) :])
    vector.step(priorities(vector))
    assert len(calls) == 1
    vector.step(priorities(vector))
    assert len(calls) == vector.judge_calls == 2


def test_the_step_after_the_end_resets_and_pays_nothing(vector):
    vector.reset(seed=0)
    vector.step(priorities(vector))
    _, rewards_B, terminated_B, truncated_B, infos = vector.step(priorities(vector))
    assert rewards_B.tolist() == [0.0] * len(INDICES)
    assert not terminated_B.any()
    assert not truncated_B.any()
    assert set(infos) == {"index", "id", "rate", "units"}
    assert vector.step(priorities(vector))[2].all()
    assert vector.metadata["autoreset_mode"] is gym.vector.AutoresetMode.NEXT_STEP


def test_what_was_returned_stays_as_it_was(vector):
    first, infos = vector.reset(seed=1)
    rates, indices = first["rate"].copy(), infos["index"].copy()
    _, rewards_B, *_ = vector.step(priorities(vector))
    paid = rewards_B.copy()
    for t in range(4):
        vector.step(priorities(vector, t))
    assert (first["rate"] == rates).all()
    assert (infos["index"] == indices).all()
    assert (rewards_B == paid).all()


def test_all_examples_are_dealt_before_any_comes_twice(arguments, examples):
    vector = TokenMaskingVector(num_envs=len(examples), **arguments())
    for _ in range(3):
        _, infos = vector.reset()
        assert set(infos["index"]) == set(range(len(examples)))


def test_a_judge_that_fails_gives_nan_and_a_status_for_each(vector):
    vector.world.judge.away = True
    vector.reset(seed=0)
    _, rewards_B, terminated_B, _, infos = vector.step(priorities(vector))
    assert np.isnan(rewards_B).all()
    assert terminated_B.all()
    assert set(infos["status"]) == {Status.JUDGE_FAILED}
    assert all(math.isnan(x) for x in infos["reward_terms"]["distortion"])


def test_infos_can_be_taken_apart_for_each_environment(vector):
    wrapped = DictInfoToList(vector)
    _, infos = wrapped.reset(options={"indices": INDICES, "rates": RATES})
    assert [info["index"] for info in infos] == INDICES
    *_, infos = wrapped.step(priorities(vector))
    assert all(set(info["reward_terms"]) == {"distortion"} for info in infos)


@pytest.mark.parametrize("options", [{"indices": [0]}, {"rates": [0.5, 0.5]}])
def test_options_of_another_length_are_refused(vector, options):
    with pytest.raises(UserError, match="one for each of 6 envs"):
        vector.reset(options=options)


def test_gymnasiums_own_vector_of_single_environments_takes_our_texts(arguments):
    envs = gym.vector.SyncVectorEnv([lambda: TokenMasking(**arguments()) for _ in range(3)])
    observations, _ = envs.reset(seed=0)
    assert observations in envs.observation_space
    *_, terminated_B, _, infos = envs.step(priorities(envs))
    assert terminated_B.all()
    assert all(isinstance(text, str) for text in infos["text"])

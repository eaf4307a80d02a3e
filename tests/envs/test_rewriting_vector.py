"""Groups of rewrites in lockstep: one call a step, the trajectories of single environments, fresh arrays."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers.vector import DictInfoToList

from envs.rewriting import PromptRewriting
from envs.rewriting_vector import PromptRewritingVector
from rlcompress.errors import UserError
from rlcompress.words import Status, Unfinished
from tests.envs.test_rewriting import PROBLEMS, SHORT, CountingEvaluator

P, G = 3, 2
INDICES, RATES = [0, 3, 1], [0.5, 0.6, 0.7]
TEXTS = [SHORT[0], PROBLEMS[0].text, SHORT[3], "How many? 5", "", SHORT[1]]


@pytest.fixture
def evaluator() -> CountingEvaluator:
    return CountingEvaluator()


@pytest.fixture
def vector(evaluator: CountingEvaluator) -> PromptRewritingVector:
    return PromptRewritingVector(num_envs=P * G, samples=G, examples=PROBLEMS, evaluator=evaluator)


@pytest.mark.parametrize("form", ["single", "iterative"])
def test_vector_steps_equal_single_steps(form):
    world = {"examples": PROBLEMS, "form": form, "rewrites": 2}
    vector, single = PromptRewritingVector(num_envs=P * G, samples=G, **world), PromptRewriting(**world)
    seen, start = vector.reset(options={"indices": INDICES, "rates": RATES})
    assert seen in vector.observation_space
    steps = [vector.step(texts) for texts in ([TEXTS, TEXTS[::-1]] if form == "iterative" else [TEXTS])]
    for b in range(P * G):
        observation, info = single.reset(options={"index": INDICES[b // G], "rate": RATES[b // G]})
        assert {name: column[b] for name, column in seen.items()} == observation
        assert {name: start[name][b] for name in info} == info
        for t, (after, rewards_B, terminated_B, truncated_B, results) in enumerate(steps):
            after_one, reward, terminated, truncated, result = single.step((TEXTS, TEXTS[::-1])[t][b])
            assert after in vector.observation_space
            assert {name: column[b] for name, column in after.items()} == after_one
            assert (rewards_B[b], terminated_B[b], truncated_B[b]) == (reward, terminated, truncated)
            for name in ("status", "rate", "achieved_rate", "tokens", "text"):
                assert results[name][b] == result[name]
            for name in ("reward_terms", "reward_gates", "gates"):
                assert {key: column[b] for key, column in results[name].items()} == result[name]
            for name in ("judgement", "original"):
                assert results[name][b].detail == result[name]["detail"]


def test_a_group_shares_problem_and_rate_and_groups_differ(vector):
    for _ in range(2):
        _, infos = vector.reset()
        assert infos["group"].tolist() == [0, 0, 1, 1, 2, 2]
        indices, rates = infos["index"].reshape(P, G), infos["rate"].reshape(P, G)
        assert (indices == indices[:, :1]).all()
        assert (rates == rates[:, :1]).all()
        assert len(set(indices[:, 0])) == P
    dealt = {int(index) for seed in (1, None) for index in vector.reset(seed=seed)[1]["index"]}
    assert dealt == set(range(len(PROBLEMS)))


def test_one_call_a_step_with_each_original_once(vector, evaluator):
    vector.reset(options={"indices": [0, 3, 0]})
    vector.step(TEXTS)
    [asked] = evaluator.calls
    assert [request.text for request in asked] == [*TEXTS, PROBLEMS[0].text, PROBLEMS[3].text]
    vector.step(TEXTS)  # resets
    assert len(evaluator.calls) == 1
    vector.reset(options={"indices": [0, 3, 0]})
    vector.step([Unfinished(""), *TEXTS[1:]])
    assert [request.text for request in evaluator.calls[1]] == TEXTS[1:]
    assert vector.world.calls == 2


def test_one_unfinished_text_leaves_the_others_as_they_are(vector):
    vector.reset(options={"indices": INDICES, "rates": RATES})
    _, whole_B, *_ = vector.step(TEXTS)
    vector.reset(options={"indices": INDICES, "rates": RATES})
    _, rewards_B, *_, infos = vector.step([*TEXTS[:2], Unfinished(TEXTS[2]), *TEXTS[3:]])
    assert [math.isnan(x) for x in rewards_B] == [False, False, True, False, False, False]
    assert np.delete(rewards_B, 2).tolist() == np.delete(whole_B, 2).tolist()
    assert infos["status"].tolist() == [Status.OK] * 2 + [Status.UNFINISHED] + [Status.OK] * 3
    assert math.isnan(infos["reward_terms"]["guarded"][2])


def test_the_step_after_the_end_resets_and_pays_nothing(vector):
    vector.reset(seed=0)
    vector.step(TEXTS)
    _, rewards_B, terminated_B, truncated_B, infos = vector.step(TEXTS)
    assert rewards_B.tolist() == [0.0] * len(TEXTS)
    assert not (terminated_B | truncated_B).any()
    assert set(infos) == {"index", "id", "rate", "tokens", "group"}
    assert vector.step(TEXTS)[2].all()
    assert vector.metadata["autoreset_mode"] is gym.vector.AutoresetMode.NEXT_STEP


def test_infos_can_be_taken_apart_for_each_environment(vector):
    wrapped = DictInfoToList(vector)
    _, infos = wrapped.reset(options={"indices": INDICES})
    assert [info["index"] for info in infos] == [0, 0, 3, 3, 1, 1]
    *_, infos = wrapped.step(TEXTS)
    assert [info["text"] for info in infos] == TEXTS


def test_gymnasiums_own_vector_of_single_environments_takes_our_texts():
    envs = gym.vector.SyncVectorEnv([lambda: PromptRewriting(examples=PROBLEMS) for _ in range(3)])
    envs.reset(seed=0)
    *_, terminated_B, _, infos = envs.step(tuple(TEXTS[:3]))
    assert terminated_B.all()
    assert list(infos["text"]) == TEXTS[:3]


@pytest.mark.parametrize("options", [{"indices": [0]}, {"rates": [0.5] * 6}])
def test_options_of_another_length_are_refused(vector, options):
    with pytest.raises(UserError, match="one for each of 3 groups"):
        vector.reset(options=options)


@pytest.mark.parametrize("samples", [4, 0])
def test_half_a_group_is_refused(samples):
    with pytest.raises(UserError, match="no whole groups"):
        PromptRewritingVector(num_envs=6, samples=samples, examples=PROBLEMS)

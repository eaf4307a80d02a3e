"""One masking environment: budget, protection, status, coverage, and what it must not show."""

from __future__ import annotations

import math
import pickle

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.masking import TokenMasking
from rlcompress.config.schema import RewardConfig
from rlcompress.errors import UserError
from rlcompress.rewards.reward import Reward
from rlcompress.words import Example, Judgement, Status


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_action_is_legal_and_meets_the_budget(lasting_env, examples, data):
    env = lasting_env
    index = data.draw(st.integers(0, len(examples) - 1))
    rate = data.draw(st.floats(0, 1))
    numbers = st.floats(allow_nan=False, width=32)
    action = np.asarray(data.draw(st.lists(numbers, min_size=env.world.n_max, max_size=env.world.n_max)), np.float32)
    observation, info = env.reset(options={"index": index, "rate": rate})
    units = info["units"]
    assert observation["text"] == examples[index].text == units.text
    assert observation["rate"].tolist() == [rate]
    _, reward, terminated, truncated, info = env.step(action)
    assert (terminated, truncated) == (True, False)
    assert info["status"] is Status.OK
    assert info["kept_tokens"] <= round(rate * units.total_cost)
    assert 0.0 <= reward <= 1.0
    assert reward == pytest.approx(info["reward_terms"]["distortion"])


def test_the_best_priorities_are_kept_and_extra_entries_ignored(env):
    _, info = env.reset(options={"index": 4, "rate": 0.5})
    action = np.zeros(env.world.n_max, np.float32)
    action[[1, 2]] = [3.0, 2.0]
    action[len(info["units"]) :] = 1e9
    *_, info = env.step(action)
    assert info["text"].startswith("beta ")
    assert "alpha" not in info["text"]


def test_protected_text_is_kept_whatever_the_action(arguments):
    env = TokenMasking(**arguments(protect=["numbers"]))
    for rate, status in ((0.6, Status.OK), (0.01, Status.OVER_BUDGET)):
        _, info = env.reset(options={"index": 0, "rate": rate})
        action = np.where(np.arange(env.world.n_max) < len(info["units"]), -5.0, 0.0).astype(np.float32)
        action[: len(info["units"])][info["units"].protected_N] = -1e6
        _, reward, *_, info = env.step(action)
        assert "12 " in info["text"]
        assert "17:30" in info["text"]
        assert info["status"] is status
        assert math.isfinite(reward)


def test_one_judge_call_a_step_holds_the_compression_and_the_emptied_text(env, examples):
    env.reset(options={"index": 3})
    env.step(np.zeros(env.world.n_max, np.float32))
    [[kept, emptied]] = env.world.judge.calls
    assert kept.source == emptied.source == examples[3].text
    assert kept.kept_N.any()
    assert not emptied.kept_N.any()


def test_a_judge_that_fails_is_a_status_and_nan(env):
    env.world.judge.away = True
    env.reset(options={"index": 0})
    _, reward, terminated, _, info = env.step(np.zeros(env.world.n_max, np.float32))
    assert math.isnan(reward)
    assert terminated
    assert info["status"] is Status.JUDGE_FAILED
    assert "deadline" in info["judgement"]["detail"]["why"]


def test_a_judge_that_changes_its_version_in_between_gives_no_reward(arguments, judge):
    class Shifting(type(judge)):
        def judge(self, requests):
            return [Judgement(j.score, version=str(i)) for i, j in enumerate(super().judge(requests))]

    env = TokenMasking(**arguments(judge=Shifting()))
    env.reset(options={"index": 0})
    _, reward, _, _, info = env.step(np.zeros(env.world.n_max, np.float32))
    assert math.isnan(reward)
    assert info["status"] is Status.JUDGE_FAILED


def test_a_judge_with_a_bug_is_not_a_status(env):
    class Short(type(env.world.judge)):
        def judge(self, requests):
            return super().judge(requests)[:1]

    env.world.judge = Short()
    env.reset()
    with pytest.raises(ValueError, match="2 requests need as many verdicts"):
        env.step(np.zeros(env.world.n_max, np.float32))


def test_every_example_comes_before_any_comes_twice(env, examples):
    env.reset(seed=5)
    first = [env.reset(seed=5)[1]["id"]] + [env.reset()[1]["id"] for _ in range(4)]
    second = [env.reset()[1]["id"] for _ in range(5)]
    assert set(first) == set(second) == {example.id for example in examples}
    by_option = {env.reset(options={"index": i})[1]["id"] for i in range(5)}
    assert by_option == set(first)
    assert [env.reset(seed=5)[1]["id"]] + [env.reset()[1]["id"] for _ in range(4)] == first


def test_rates_are_drawn_from_the_list(env):
    env.reset(seed=0)
    assert {env.reset()[1]["rate"] for _ in range(40)} == {0.33, 0.5}


def test_the_answer_is_never_shown(env, examples):
    for index, example in enumerate(examples):
        observation, info = env.reset(options={"index": index})
        after, *_, step_info = env.step(np.zeros(env.world.n_max, np.float32))
        shown = repr((observation, info, after, step_info))
        assert set(observation) == {"text", "question", "rate"}
        assert "SECRET-ANSWER" not in shown
        assert observation["question"] == (example.question or "")


def test_terms_and_weights_come_from_the_configuration(arguments):
    config = {"terms": {"answer_kept": 2.0, "rate": -1.0}}
    for reward in (config, RewardConfig.model_validate(config), Reward(RewardConfig.model_validate(config))):
        env = TokenMasking(**arguments(reward=reward))
        env.reset(options={"index": 3, "rate": 0.5})
        _, total, _, _, info = env.step(np.zeros(env.world.n_max, np.float32))
        terms = info["reward_terms"]
        assert total == pytest.approx(2 * terms["answer_kept"] - terms["rate"] + 1)


def test_stepping_without_a_reset_is_refused(env):
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(env.world.n_max, np.float32))


def test_the_world_can_be_sent_to_another_process(env):
    copy = pickle.loads(pickle.dumps(env.world))
    assert [u.words() for u in copy.units] == [u.words() for u in env.world.units]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"examples": []}, "env.examples is empty"),
        ({"n_max": 3}, "'a' has .* units, more than n_max 3"),
        ({"rates": ()}, "env.rates"),
        ({"rates": (0.5, 0.0)}, "env.rates"),
        ({"judge": "oracle"}, "judge 'oracle' is unknown: use ngram"),
        ({"form": "endless"}, "env.form 'endless' is unknown: use single or progressive"),
        ({"form": "progressive", "passes": 21}, "env.passes 21: give a number from 1 to 20"),
        ({"form": "progressive", "sampler": "bernoulli"}, "env.sampler bernoulli decides once: set env.form to single"),
        ({"reward": {"gates": {"floor": 0.4}}}, "reward.gates.floor 0.4 closes at env.rates 0.33"),
        ({"examples": [Example("z", "text")], "reward": {"terms": {"answer_kept": 1}}}, "needs an answer.*'z'"),
    ],
)
def test_mistakes_are_refused_by_name(arguments, changes, message):
    with pytest.raises(UserError, match=message):
        TokenMasking(**arguments(**changes))


@pytest.mark.parametrize(("options", "message"), [({"index": 5}, "there are 5 examples"), ({"rate": 1.2}, "0 to 1")])
def test_wrong_options_are_refused(env, options, message):
    with pytest.raises(UserError, match=message):
        env.reset(options=options)

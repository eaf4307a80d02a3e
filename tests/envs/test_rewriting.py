"""One rewriting environment: whom it asks, what it pays, what it shows, and what is no rewrite."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.rewriting import PromptRewriting
from rlcompress.errors import JudgeUnavailable, UserError
from rlcompress.judges.clauses import ClauseEvaluator
from rlcompress.problems.generated import generated_problems
from rlcompress.problems.shortening import shorten
from rlcompress.rewards.lengths import around
from rlcompress.rewards.rewriting import REWRITE_GATES
from rlcompress.words import Example, Judgement, Solve, Status, Unfinished
from tests.rlcompress.rewards import test_rewriting as cheated

PROBLEMS = generated_problems(6, distractors=(1, 2))
SHORT = [shorten(problem.text, "strong") for problem in PROBLEMS]


class CountingEvaluator(ClauseEvaluator):
    """Remembers every call; may be away or change its version on demand."""

    def __init__(self) -> None:
        self.calls: list[list[Solve]] = []
        self.away = False
        self.shifting = False

    def judge(self, requests: Sequence[Solve]) -> list[Judgement]:
        self.calls.append(list(requests))
        if self.away:
            raise JudgeUnavailable("no answer within the deadline")
        verdicts = super().judge(requests)
        return [Judgement(v.score, version=str(i)) for i, v in enumerate(verdicts)] if self.shifting else verdicts


@pytest.fixture
def evaluator() -> CountingEvaluator:
    return CountingEvaluator()


@pytest.fixture
def env(evaluator: CountingEvaluator) -> PromptRewriting:
    return PromptRewriting(examples=PROBLEMS, evaluator=evaluator)


@pytest.fixture(scope="module")
def lasting_env() -> PromptRewriting:
    return PromptRewriting(examples=PROBLEMS)


def iterative(rewrites: int = 3, **changes: object) -> PromptRewriting:
    return PromptRewriting(examples=PROBLEMS, form="iterative", rewrites=rewrites, **changes)


def test_gymnasiums_checker_passes_in_the_iterative_form():
    check_env(gym.make("rlcompress/PromptRewriting-v0", form="iterative", rewrites=4).unwrapped)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(PROBLEMS) - 1), st.floats(0, 1), st.text())
def test_any_text_is_an_action_and_its_length_is_counted_by_the_evaluators_tokenizer(lasting_env, index, rate, text):
    env = lasting_env
    observation, info = env.reset(options={"index": index, "rate": rate})
    assert (observation["text"], observation["rate"].tolist()) == (PROBLEMS[index].text, [rate])
    _, reward, terminated, truncated, result = env.step(text)
    assert (terminated, truncated, result["status"]) == (True, False, Status.OK)
    assert 0.0 <= reward <= 1.0
    ids, _ = env.world.tokenizer.encode(text)
    assert result["tokens"] == len(ids)
    assert result["achieved_rate"] == len(ids) / info["tokens"]
    assert result["text"] == text


def test_an_honest_rewrite_is_paid_for_its_answer_and_its_length(env):
    for index, short in enumerate(SHORT):
        env.reset(options={"index": index, "rate": 0.6})
        _, reward, *_, info = env.step(short)
        assert info["judgement"]["detail"]["said"] == PROBLEMS[index].solution
        assert reward == pytest.approx(0.5 * around(info["achieved_rate"], 0.6, 0.05, 0.2))
        assert all(info["gates"].values())
        assert all(info["reward_gates"].values())


def test_a_wrong_answer_pays_nothing_and_is_a_verdict(env):
    env.reset(options={"index": 0, "rate": 0.5})
    *_, info = env.step(PROBLEMS[1].question)
    assert info["reward_terms"]["guarded"] == 0.0
    assert info["status"] is Status.OK


def test_gates_are_reported_by_name_whether_or_not_the_reward_heeds_them(evaluator):
    told = f"{SHORT[0]} Say {PROBLEMS[0].answer}."
    heeding = PromptRewriting(examples=PROBLEMS, evaluator=evaluator)
    deaf = PromptRewriting(examples=PROBLEMS, evaluator=evaluator, reward={"gates": [], "terms": {"shorter": 1.0}})
    paid = []
    for env in (heeding, deaf):
        env.reset(options={"index": 0, "rate": 0.9})
        _, reward, *_, info = env.step(told)
        paid.append(reward)
        assert set(info["gates"]) == set(REWRITE_GATES)
        assert {name for name, is_open in info["gates"].items() if not is_open} == {"leak", "numbers", "instructions"}
    assert paid[0] == 0.0
    assert paid[1] > 0.0
    assert set(info["reward_gates"]) == {"cap"}


class Gullible(ClauseEvaluator):
    """Is right about whatever it is asked, as one that is told the answer would be."""

    def judge(self, requests: Sequence[Solve]) -> list[Judgement]:
        return [Judgement(0.1, version="g", tokens=1, detail={"said": cheated.PROBLEM.solution}) for _ in requests]


def test_no_cheat_is_paid_and_its_gate_is_named():
    env = PromptRewriting(examples=[cheated.PROBLEM], evaluator=Gullible(), reward={"terms": {"correctness": 1.0}})
    env.reset(options={"rate": 0.5})
    assert env.step(cheated.HONEST)[1] == 0.5
    for gate, cheat in cheated.CHEATS.values():
        env.reset(options={"rate": 0.5})
        _, reward, *_, info = env.step(cheat(cheated.HONEST))
        assert reward == 0.0
        assert info["gates"][gate] is False


def test_an_unfinished_text_is_a_status_and_nobody_is_asked(env, evaluator):
    env.reset(options={"index": 0})
    _, reward, terminated, truncated, info = env.step(Unfinished(SHORT[0]))
    assert math.isnan(reward)
    assert (terminated, truncated) == (True, False)
    assert info["status"] is Status.UNFINISHED
    assert evaluator.calls == []
    assert pickle.loads(pickle.dumps([Unfinished("a")]))[0].__class__ is Unfinished


def test_an_evaluator_that_fails_is_a_status_and_is_asked_for_the_original_again(env, evaluator):
    evaluator.away = True
    env.reset(options={"index": 0})
    _, reward, *_, info = env.step(SHORT[0])
    assert math.isnan(reward)
    assert info["status"] is Status.JUDGE_FAILED
    assert "deadline" in info["judgement"]["detail"]["why"]
    evaluator.away = False
    env.reset(options={"index": 0})
    assert env.step(SHORT[0])[1] > 0
    assert [request.text for request in evaluator.calls[-1]] == [SHORT[0], PROBLEMS[0].text]


def test_an_evaluator_that_changes_its_version_in_between_gives_no_reward(env, evaluator):
    evaluator.shifting = True
    env.reset(options={"index": 0})
    _, reward, *_, info = env.step(SHORT[0])
    assert math.isnan(reward)
    assert info["status"] is Status.JUDGE_FAILED


def test_an_evaluator_with_a_bug_is_not_a_status(env):
    env.world.evaluator = type("Short", (ClauseEvaluator,), {"judge": lambda self, requests: []})()
    env.reset()
    with pytest.raises(ValueError, match="2 requests need as many verdicts"):
        env.step("text")


def test_one_call_a_step_and_each_original_once_in_a_life(env, evaluator):
    for _ in range(3):
        env.reset(options={"index": 2})
        env.step(SHORT[2])
    gold = str(PROBLEMS[2].answer)
    assert evaluator.calls == [[Solve(SHORT[2], gold), Solve(PROBLEMS[2].text, gold)], *[[Solve(SHORT[2], gold)]] * 2]
    assert env.world.calls == 3


def test_the_last_of_several_rewrites_counts():
    texts = [PROBLEMS[0].text, "Nothing at all?", SHORT[0]]
    env, single = iterative(), PromptRewriting(examples=PROBLEMS)
    observation, _ = env.reset(options={"index": 0, "rate": 0.6})
    assert (observation["rewrite"], observation["left"].tolist()) == (PROBLEMS[0].text, [3])
    rewards = []
    for t, text in enumerate(texts):
        observation, reward, terminated, truncated, info = env.step(text)
        assert observation in env.observation_space
        assert (observation["text"], observation["rewrite"]) == (PROBLEMS[0].text, text)
        assert observation["left"].tolist() == [2 - t]
        assert (terminated, truncated) == (t == 2, False)
        rewards.append(reward)
    single.reset(options={"index": 0, "rate": 0.6})
    _, alone, *_, result = single.step(SHORT[0])
    assert sum(rewards) == pytest.approx(alone)
    assert info["reward_terms"] == result["reward_terms"]
    assert alone > 0
    discounted = sum(0.5**t * reward for t, reward in enumerate(rewards))
    assert discounted == pytest.approx(0.25 * alone)
    with pytest.raises(gym.error.ResetNeeded):
        env.step("more")


def test_an_unfinished_rewrite_in_between_spoils_its_episode_and_does_not_count_as_the_latest():
    env = iterative()
    env.reset(options={"index": 0, "rate": 0.6})
    env.step(SHORT[0])
    observation, *_ = env.step(Unfinished("cut o"))
    assert observation["rewrite"] == SHORT[0]
    _, reward, terminated, _, info = env.step(SHORT[0])
    assert terminated
    assert math.isnan(reward)
    assert info["status"] is Status.UNFINISHED


def test_every_problem_comes_before_any_comes_twice(env):
    first = [env.reset(seed=5)[1]["id"]] + [env.reset()[1]["id"] for _ in range(5)]
    second = [env.reset()[1]["id"] for _ in range(6)]
    assert set(first) == set(second) == {problem.id for problem in PROBLEMS}
    assert [env.reset(seed=5)[1]["id"]] + [env.reset()[1]["id"] for _ in range(5)] == first
    assert {env.reset()[1]["rate"] for _ in range(40)} == {0.5, 0.7}


def test_the_answer_is_never_shown():
    row = Example("x", "Tom has 80 apples. He buys 110 more. How many has he?", answer="<<80+110=190>>190\n#### 190")
    for form in ("single", "iterative"):
        env = PromptRewriting(examples=[row], form=form)
        observation, info = env.reset()
        after, *_ = env.step("Tom: 80. + 110. How many?")
        assert "190" not in repr((observation, info, after))


def test_the_world_can_be_sent_to_another_process(env):
    copy = pickle.loads(pickle.dumps(env.world))
    assert copy.problems == env.world.problems
    assert copy.tokens == env.world.tokens


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"examples": []}, "env.examples is empty"),
        ({"examples": [Example("z", "How many?")]}, "z: the row has no answer"),
        ({"examples": [Example("z", "How many?", answer="many")]}, "z: no number stands where the answer"),
        ({"rates": ()}, "env.rates"),
        ({"rates": (0.5, 1.5)}, "env.rates"),
        ({"evaluator": "oracle"}, "evaluator 'oracle' is unknown: use clauses"),
        ({"form": "endless"}, "env.form 'endless' is unknown: use single or iterative"),
        ({"form": "iterative", "rewrites": 11}, "env.rewrites 11: give a number from 1 to 10"),
        ({"reward": {"terms": {"corectness": 1.0}}}, r"reward\.terms: 'corectness' is unknown"),
    ],
)
def test_mistakes_are_refused_by_name(changes, message):
    with pytest.raises(UserError, match=message):
        PromptRewriting(**{"examples": PROBLEMS, **changes})


@pytest.mark.parametrize(("options", "message"), [({"index": 6}, "there are 6 problems"), ({"rate": 1.2}, "0 to 1")])
def test_wrong_options_are_refused(env, options, message):
    with pytest.raises(UserError, match=message):
        env.reset(options=options)

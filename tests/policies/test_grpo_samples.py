"""What enters a batch, what is counted, and what ends a run: groups without spread, failed verdicts, exceptions."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from policies.groups import Group
from policies.grpo import GRPO
from policies.rollouts import SamplingFailed
from rlcompress.words import Status
from tests.policies import planted
from tests.policies.conftest import Build, same_weights

pytestmark = pytest.mark.ray


def sampled(algorithm: GRPO, count: int) -> list[Group]:
    return algorithm.rollouts.sample(algorithm.next_tasks(count))


def test_a_reward_belongs_to_the_order_that_was_drawn(build: Build) -> None:
    algorithm = build(runners=0)
    texts = planted.examples(64)
    for group in sampled(algorithm, 8):
        bits_N = np.array([planted.bits_of(word) for word in texts[group.task.example].text.split()])
        for order_N, draws, reward in zip(group.order_GN, group.draws_G, group.reward_G, strict=True):
            assert sorted(order_N) == list(range(24))
            assert draws == 9, "8 of 24 words fit; the ninth overflowed"
            assert reward == pytest.approx(bits_N[order_N[: draws - 1]].sum() / bits_N.sum())


def test_samples_follow_from_the_task_alone(build: Build) -> None:
    algorithm = build(runners=0)
    tasks = algorithm.next_tasks(8)
    together, alone = (
        algorithm.rollouts.sample(tasks),
        [algorithm.rollouts.sample([task])[0] for task in reversed(tasks)][::-1],
    )
    for a, b in zip(together, alone, strict=True):
        assert a.task == b.task
        np.testing.assert_array_equal(a.order_GN, b.order_GN)
        np.testing.assert_array_equal(a.reward_G, b.reward_G)
    orders = {tuple(order) for group in together for order in group.order_GN.tolist()}
    assert len(orders) == 8 * 4, "every sample has noise of its own"


def test_groups_without_spread_are_dropped_and_refilled_within_bounds(build: Build) -> None:
    algorithm = build(judge="constant", runners=0, refills=2)
    before = algorithm.weights()
    algorithm.train()
    metrics = algorithm.last_metrics
    assert metrics["groups/used"] == 0
    assert metrics["groups/dropped"] == 3 * 8
    assert metrics["samples/ok"] == 3 * 8 * 4
    assert algorithm.position == 3 * 8
    assert "learner/loss" not in metrics
    assert same_weights(before, algorithm.weights())
    algorithm.train()
    assert algorithm.iteration == 2, "the run goes on"


def test_dropped_groups_are_replaced_by_new_prompts(build: Build) -> None:
    algorithm = build(judge="half constant", runners=0, refills=10)
    algorithm.train()
    metrics = algorithm.last_metrics
    assert metrics["groups/used"] == 8
    assert metrics["groups/dropped"] > 0
    assert algorithm.position == metrics["groups/used"] + metrics["groups/dropped"]


def test_failed_verdicts_leave_the_loss_and_are_counted(build: Build) -> None:
    algorithm = build(judge="failing", runners=0, samples_per_prompt=8)
    groups = sampled(algorithm, 8)
    failed = np.stack([[status is Status.JUDGE_FAILED for status in group.status_G] for group in groups])
    assert 0 < failed.sum() < failed.size
    assert np.isnan(np.stack([g.reward_G for g in groups])[failed]).all(), "no verdict is no reward, not a reward of 0"
    np.testing.assert_array_equal(np.stack([g.ok_G for g in groups]), ~failed)
    # what is learned is what is learned without those samples: their rewards and draws are nowhere in the loss
    algorithm.train()
    metrics = algorithm.last_metrics
    assert metrics["samples/judge_failed"] > 0
    assert metrics["samples/ok"] + metrics["samples/judge_failed"] == 8 * 8
    assert metrics["learner/decisions"] == 9 * metrics["samples/ok"]
    assert np.isfinite([metrics["reward/mean"], metrics["learner/loss"], metrics["learner/gradient_norm"]]).all()


def test_a_judge_that_stays_away_is_counted_and_ends_the_run_with_its_name(build: Build) -> None:
    algorithm = build(judge="away", runners=0, refills=0, resources={"failures": 3})
    for _ in range(2):
        algorithm.train()
        assert algorithm.last_metrics["samples/judge_failed"] == 8 * 4
        assert algorithm.last_metrics["groups/dropped"] == 8
        assert "reward/mean" not in algorithm.last_metrics
    with pytest.raises(SamplingFailed, match=r"3 times in a row.*\nthe judge gave no verdict"):
        algorithm.train()


def test_an_exception_reaches_the_driver_in_one_iteration(build: Build) -> None:
    algorithm = build(judge="raising", runners=0)
    with pytest.raises(SamplingFailed) as caught:
        algorithm.train()
    message = str(caught.value)
    assert "3 times in a row" in message
    assert "ZeroDivisionError: a bug in the user's own judge" in message
    assert "tests/policies/planted.py" in message, "with its traceback"


def test_an_exception_in_another_process_reaches_the_driver_too(build: Build) -> None:
    algorithm = build(terms={"tests.policies.planted:broken_term": 1.0}, runners=1)
    with pytest.raises(SamplingFailed, match="broken_term") as caught:
        algorithm.train()
    assert "KeyError: 'no such word'" in str(caught.value)


def test_one_exception_is_shown_and_counted_and_the_run_goes_on(
    build: Build, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    algorithm = build(judge="raises once", marker=tmp_path / "marker", runners=0, refills=2, resources={"failures": 2})
    raised = []
    with caplog.at_level(logging.ERROR, logger="policies"):
        for _ in range(5):
            algorithm.train()
            raised.append(algorithm.last_metrics["samples/raised"])
            assert algorithm.last_metrics["groups/used"] == 8, "other prompts took the place"
    assert sorted(raised) == [0, 0, 0, 0, 8 * 4]
    assert "ZeroDivisionError: a bug that shows once" in caplog.text
    assert algorithm.rollouts.failures == [], "failures count in a row only"


def test_a_reward_that_is_not_finite_is_counted_and_left_out(build: Build) -> None:
    algorithm = build(terms={"tests.policies.planted:sometimes_infinite": 1.0, "distortion": 1.0}, runners=0)
    algorithm.train()
    metrics = algorithm.last_metrics
    assert 0 < metrics["samples/reward_failed"] < 8 * 4
    assert metrics["learner/skipped"] == 0
    assert np.isfinite(metrics["learner/gradient_norm"])

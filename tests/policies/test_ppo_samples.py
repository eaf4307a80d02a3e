"""What PPO samples: whole episodes of the tasks, the same whoever plays them; failures leave whole and are counted."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.rllib.core import DEFAULT_MODULE_ID

from policies.ppo import MaskingPPO, Walks
from policies.rollouts import SamplingFailed
from rlcompress.passes import served_priorities
from rlcompress.selection import select
from rlcompress.text.segment import Segmenter
from rlcompress.words import Status
from tests.policies import planted
from tests.policies.conftest import Build, same_weights

pytestmark = pytest.mark.ray

PPO: dict[str, Any] = {"algorithm": "ppo", "epochs": 2, "minibatch": 32}


def trained(algorithm: MaskingPPO, iterations: int = 3) -> tuple[dict[str, Any], list[dict[str, float]]]:
    history = []
    for _ in range(iterations):
        algorithm.train()
        metrics = algorithm.last_metrics
        history.append({k: v for k, v in metrics.items() if not k.startswith(("time/", "runners/", "memory/"))})
    return algorithm.weights(), history


@pytest.mark.parametrize("passes", [1, 4])
def test_an_iteration_says_all_that_there_is_to_know(build: Build, passes: int) -> None:
    """Episodes of length 1 too: nothing in them is NaN."""
    algorithm = build(**PPO, runners=0, passes=passes)
    for _ in range(2):
        algorithm.train()
    metrics = algorithm.last_metrics
    assert all(np.isfinite(value) for value in metrics.values()), metrics
    assert metrics["samples/ok"] == 32
    assert metrics["episode/steps"] == passes
    assert metrics["episode/decisions"] > passes
    steps = [metrics[f"reward/step_{t + 1}"] for t in range(passes)]
    assert sum(steps) == pytest.approx(metrics["reward/mean"], abs=1e-9)
    assert metrics["reward/mean"] == pytest.approx(metrics["reward/distortion"], abs=1e-9), "the return is single's"
    for name in ("value_loss", "explained_variance", "clip_fraction", "kl", "entropy", "updates"):
        assert f"learner/{name}" in metrics
    assert metrics["learner/ratio_deviation"] < 1e-5, "sampler and learner agree on every probability"
    rolled = algorithm.last_rollout
    assert [(one.serial, one.sample) for one in rolled] == [(8 + p, g) for p in range(8) for g in range(4)]
    assert all(one.kept_N.sum() == 8 for one in rolled), "8 of 24 words at rate 0.34"
    assert {one.judge_version for one in rolled} == {"planted"}


def test_the_critic_is_told_what_has_been_paid(build: Build) -> None:
    algorithm = build(**PPO, runners=0, passes=4)
    walks, _ = algorithm.collect(algorithm.config.learner_settings)
    for episode in (episode for walk in walks for episode in walk.episodes):
        paid = episode.get_observations(slice(0, 5))["paid"][:, 0]
        np.testing.assert_allclose(paid, np.cumsum([0.0, *episode.get_rewards()]), atol=1e-12)
        assert paid[-1] > 0


def test_the_number_of_runners_changes_nothing_that_is_sampled(build: Build) -> None:
    in_driver, _ = trained(build(**PPO, runners=0))
    for runners in (1, 2):
        weights, _ = trained(build(**PPO, runners=runners))
        assert same_weights(in_driver, weights, within=1e-6)


def test_a_runner_that_dies_in_the_middle_of_an_episode_changes_nothing(build: Build, tmp_path: Path) -> None:
    undisturbed, history = trained(build(**PPO, runners=2), 4)
    marker = tmp_path / "marker"
    algorithm = build(**PPO, runners=2, judge="dies once", marker=marker)
    pids = algorithm.env_runner_group.foreach_env_runner(lambda runner: os.getpid(), local_env_runner=False)
    weights, disturbed_history = trained(algorithm, 4)
    assert int(marker.read_text()) in pids, "it was a runner, in the middle of a call of the judge"
    assert same_weights(undisturbed, weights)
    assert history == disturbed_history
    assert algorithm.position == 4 * 8, "no prompt twice, none skipped"


def test_a_runner_killed_between_iterations_comes_back_with_the_weights(build: Build) -> None:
    undisturbed, _ = trained(build(**PPO, runners=0))
    algorithm = build(**PPO, runners=1)
    algorithm.train()
    (pid,) = algorithm.env_runner_group.foreach_env_runner(lambda runner: os.getpid(), local_env_runner=False)
    os.kill(pid, signal.SIGKILL)
    weights, _ = trained(algorithm, 2)
    assert algorithm.last_metrics["runners/restarts"] == 1
    assert same_weights(undisturbed, weights, within=1e-6)


def test_equal_seeds_learn_equal_things_and_other_seeds_do_not(build: Build) -> None:
    one, history = trained(build(**PPO, runners=0, seed=3), 2)
    again, history_again = trained(build(**PPO, runners=0, seed=3), 2)
    other, _ = trained(build(**PPO, runners=0, seed=4), 2)
    assert same_weights(one, again)
    assert history == history_again
    assert not same_weights(one, other, within=1e-4)


def test_micro_batches_change_nothing_that_is_learned(build: Build) -> None:
    whole, _ = trained(build(**PPO, runners=0), 2)
    parts, _ = trained(build(**PPO, runners=0, micro_batch=5), 2)
    assert same_weights(whole, parts, within=1e-5)


def test_episodes_without_a_verdict_leave_whole_and_are_counted(build: Build) -> None:
    algorithm = build(**PPO, runners=0, judge="failing")
    algorithm.train()
    metrics = algorithm.last_metrics
    failed = metrics["samples/judge_failed"]
    assert 0 < failed < 32
    assert metrics["samples/ok"] == 32 - failed
    assert all(np.isfinite(value) for value in metrics.values())
    statuses = [one.status for one in algorithm.last_rollout]
    assert statuses.count(Status.JUDGE_FAILED) == failed


def test_a_judge_that_is_away_ends_the_run_by_its_name(build: Build) -> None:
    algorithm = build(**PPO, runners=0, judge="away", resources={"failures": 2})
    algorithm.train()
    assert algorithm.last_metrics["samples/judge_failed"] == 32
    with pytest.raises(SamplingFailed, match="no verdict on any sample"):
        algorithm.train()


def test_an_exception_reaches_the_driver_with_its_traceback(build: Build) -> None:
    algorithm = build(**PPO, runners=1, judge="raising", resources={"failures": 1})
    with pytest.raises(SamplingFailed, match="a bug in the user's own judge") as raised:
        algorithm.train()
    assert "planted.py" in str(raised.value)
    assert "ZeroDivisionError" in str(raised.value)


def test_after_an_exception_the_runner_plays_on(build: Build, tmp_path: Path) -> None:
    algorithm = build(**PPO, runners=0, judge="raises once", marker=tmp_path / "marker")
    for _ in range(4):
        algorithm.train()
    assert (tmp_path / "marker").exists()
    assert algorithm.last_metrics["samples/ok"] == 32


def test_a_policy_that_moved_too_far_ends_the_updates(build: Build) -> None:
    free = build(**PPO, runners=0, target_kl=None, lr=0.02)
    bound = build(**PPO, runners=0, target_kl=1e-4, lr=0.02)
    for algorithm in (free, bound):
        algorithm.train()
    assert free.last_metrics["learner/updates"] == 2 * 3, "two epochs of 96 steps, 32 at once"
    assert bound.last_metrics["learner/updates"] == 2, "the second met a policy that the first had moved"
    assert bound.last_metrics["learner/kl"] > 1e-4


def test_without_noise_the_environment_keeps_what_is_served(build: Build, start: Path) -> None:
    algorithm = build(**PPO, runners=0, passes=4, lr=0.02)
    for _ in range(2):
        algorithm.train()
    runner = algorithm.env_runner_group.local_env_runner
    tasks = algorithm.next_tasks(8)
    runner.env.unwrapped.hand_out([(task, g) for task in tasks for g in range(4)])
    episodes = runner.sample(num_episodes=32, force_reset=True, explore=False)
    scorer = planted.served(algorithm, start)
    assert scorer.network.dropped is not None
    assert scorer.network.dropped.abs().sum() > 0, "it has learned from what was dropped"
    rows = planted.examples(64)
    units = [Segmenter(scorer.features.tokenizer)(rows[task.example].text) for task in tasks]
    priorities = served_priorities(scorer, 4, units, [None] * 8, planted.RATES[0])
    for i, (one, values_N) in enumerate(zip(units, priorities, strict=True)):
        kept = select(one, values_N, planted.RATES[0]).kept_N
        for episode in episodes[4 * i : 4 * i + 4]:
            np.testing.assert_array_equal(episode.get_observations(-1)["alive"][: len(one)], kept)


def test_what_crosses_processes_can_be_pickled(build: Build, start: Path) -> None:
    algorithm = build(**PPO, runners=0)
    tasks = algorithm.next_tasks(8)
    report = MaskingPPO.sample_on(algorithm.env_runner_group.local_env_runner, tasks)
    assert not report.errors
    copy = pickle.loads(pickle.dumps(report))
    assert [walk.task for walk in copy.results] == tasks
    assert isinstance(copy.results[0], Walks)
    np.testing.assert_array_equal(
        copy.results[0].episodes[0].get_rewards(), report.results[0].episodes[0].get_rewards()
    )
    texts = planted.configured(start, **PPO)._learner_connector
    assert pickle.loads(pickle.dumps(texts))(None, None).table.units(0).text == planted.examples(1)[0].text


def test_the_value_pass_in_chunks_is_the_same_and_keeps_no_graph(build: Build) -> None:
    algorithm = build(**PPO, runners=0)
    algorithm.train()
    report = MaskingPPO.sample_on(algorithm.env_runner_group.local_env_runner, algorithm.next_tasks(8))
    episodes = [episode for walk in report.results for episode in walk.episodes]
    learner = algorithm.learner_group._learner
    pieces = learner._learner_connector.connectors
    whole = learner.prepare(pickle.loads(pickle.dumps(episodes)))
    pieces[-1].chunk = 7
    parts = learner.prepare(pickle.loads(pickle.dumps(episodes)))
    for name, values in whole.items():
        np.testing.assert_allclose(values, parts[name], atol=1e-6, err_msg=name)
    batch = learner._learner_connector(
        rl_module=learner.module, batch={}, episodes=episodes, shared_data={}, metrics=learner.metrics
    )
    assert not batch[DEFAULT_MODULE_ID]["value_P"].requires_grad


@pytest.mark.slow
def test_two_learners_learn_what_one_learns(build: Build) -> None:
    one, _ = trained(build(**PPO, runners=0), 2)
    two, _ = trained(build(**PPO, runners=0, learners=2), 2)
    assert same_weights(one, two, within=1e-5)


def test_advantages_count_beyond_the_prompts_other_samples_if_asked(build: Build) -> None:
    """Off, they are GAE's; on, those of a prompt's samples cancel at each step."""
    prepared = {}
    for asked in (False, True):
        algorithm = build(**PPO, runners=0, against_others=asked)
        report = MaskingPPO.sample_on(algorithm.env_runner_group.local_env_runner, algorithm.next_tasks(8))
        episodes = [episode for walk in report.results for episode in walk.episodes]
        columns = algorithm.learner_group._learner.prepare(episodes)
        prepared[asked] = columns["advantage_P"].reshape(8, 4, 3)
        assert abs(columns["advantage_P"].mean()) < 1e-6
        assert columns["advantage_P"].std() == pytest.approx(1.0, abs=1e-5)
    assert np.abs(prepared[True].sum(1)).max() < 1e-5
    assert np.abs(prepared[False].sum(1)).max() > 0.1

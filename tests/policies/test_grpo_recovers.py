"""Runners that are killed: nothing is lost or doubled, and what is learned is equal bit by bit."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from policies.grpo import GRPO
from policies.rollouts import SamplingFailed
from tests.policies.conftest import Build, same_weights

pytestmark = pytest.mark.ray


def runner_pids(algorithm: GRPO) -> list[int]:
    pids: list[int] = algorithm.env_runner_group.foreach_env_runner(lambda runner: os.getpid(), local_env_runner=False)
    return pids


def trained(algorithm: GRPO, iterations: int) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """Weights after the iterations, and the metrics of each that are no times."""
    history = []
    for _ in range(iterations):
        algorithm.train()
        history.append({k: v for k, v in algorithm.last_metrics.items() if not k.startswith(("time/", "runners/"))})
    return algorithm.weights(), history


def test_equal_seeds_learn_equal_things_and_other_seeds_do_not(build: Build) -> None:
    one, history = trained(build(runners=0, seed=3), 3)
    again, history_again = trained(build(runners=0, seed=3), 3)
    other, _ = trained(build(runners=0, seed=4), 3)
    assert same_weights(one, again)
    assert history == history_again
    assert not same_weights(one, other, within=1e-4)


def test_the_number_of_runners_changes_nothing_that_is_sampled(build: Build) -> None:
    """Texts of one size: here even the forward passes round alike, whatever prompts share them."""
    in_driver, _ = trained(build(runners=0), 3)
    for runners in (1, 2):
        weights, _ = trained(build(runners=runners), 3)
        assert same_weights(in_driver, weights, within=1e-6)


def test_a_runner_that_dies_while_it_samples_changes_nothing(build: Build, tmp_path: Path) -> None:
    undisturbed, history = trained(build(runners=2), 5)
    marker = tmp_path / "marker"
    algorithm = build(runners=2, judge="dies once", marker=marker)
    pids = runner_pids(algorithm)
    weights, disturbed_history = trained(algorithm, 5)
    assert int(marker.read_text()) in pids, "it was a runner, in the middle of a call of the judge"
    assert same_weights(undisturbed, weights)
    assert history == disturbed_history
    assert algorithm.position == 5 * 8, "no prompt twice, none skipped"
    killed = time.monotonic()
    while algorithm.last_metrics["runners/healthy"] < 2:
        assert time.monotonic() - killed < 30, "10 s on a free machine"
        algorithm.train()
    assert algorithm.last_metrics["runners/restarts"] == 1


def test_the_only_runner_killed_between_iterations_is_back_within_ten_seconds(build: Build) -> None:
    algorithm = build(runners=1)
    undisturbed, _ = trained(build(runners=0), 3)
    algorithm.train()
    (pid,) = runner_pids(algorithm)
    os.kill(pid, signal.SIGKILL)
    algorithm.train()
    assert algorithm.last_metrics["runners/healthy"] == 1
    assert algorithm.last_metrics["time/sample"] < 30, "10 s on a free machine"
    assert runner_pids(algorithm) != [pid]
    weights, _ = trained(algorithm, 1)
    assert same_weights(undisturbed, weights, within=1e-6)


def test_runners_that_cannot_come_back_end_the_run_in_bounded_time_with_its_name(build: Build) -> None:
    algorithm = build(runners=1, resources={"restarts": 0, "sample_timeout": 3.0})
    (pid,) = runner_pids(algorithm)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(SamplingFailed, match=r"resources\.sample_timeout"):
        algorithm.train()


def test_an_environment_that_cannot_be_made_is_an_error_with_its_cause(build: Build) -> None:
    with pytest.raises(KeyError, match="no such judge"):
        build(runners=1, judge="no such judge")

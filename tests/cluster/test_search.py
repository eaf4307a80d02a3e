"""Search spaces: what they refuse, and that a point of one becomes a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster.search import configured, domains
from cluster.tuning import Trial, conclude
from rlcompress.config.files import load_config
from rlcompress.config.schema import RunConfig, TuneConfig
from rlcompress.errors import UserError

SHIPPED = Path(__file__).resolve().parents[2] / "tune_configs" / "search" / "masking.yaml"


def searching(**space):
    return RunConfig(tune=TuneConfig(space={key.replace("__", "."): domain for key, domain in space.items()}))


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({}, "tune.space is empty"),
        ({"learner__rl": {"uniform": [0.1, 0.2]}}, r"did you mean learner\.lr"),
        ({"judges__reward__steps": {"choice": [10, 20]}}, "judges.reward.steps cannot be searched"),
        ({"learner__lr": {"normal": [0.1, 0.2]}}, "uniform, loguniform, choice"),
        ({"learner__lr": {"uniform": [0.1, 0.2], "choice": [1.0]}}, "takes one of"),
        ({"learner__lr": {"uniform": [0.2, 0.1]}}, r"two numbers, got \[0.2, 0.1\]"),
        ({"learner__lr": {"loguniform": [0.0, 0.1]}}, "two numbers above 0"),
        ({"learner__lr": {"choice": []}}, "no values"),
        ({"learner__lr": {"uniform": [-1.0, 0.1]}}, r"learner\.lr cannot be -1\.0"),
        ({"learner__samples_per_prompt": {"uniform": [4, 8]}}, r"learner\.samples_per_prompt cannot be"),
        ({"learner__algorithm": {"choice": ["grpo", "magic"]}}, "magic"),
    ],
)
def test_a_space_that_cannot_work_is_refused_before_anything_starts(space, said):
    with pytest.raises(UserError, match=said):
        domains(searching(**space))


def test_points_of_a_space_become_runs():
    config = searching(learner__lr={"loguniform": [1e-4, 1e-2]}, reward__terms__distortion={"uniform": [0.5, 2]})
    point = {key: domain.sample() for key, domain in domains(config).items()}
    run = configured(config, point, name="one")
    assert (run.name, run.learner.lr) == ("one", point["learner.lr"])
    assert run.reward.terms == {"distortion": point["reward.terms.distortion"]}
    assert run.learner.samples_per_prompt == config.learner.samples_per_prompt


def test_after_an_interruption_the_results_so_far_are_written(tmp_path):
    trials = [
        Trial("trial-0", {"learner.lr": 0.002}, metric=2.5, iterations=4, status="finished"),
        Trial("trial-1", {"learner.lr": 0.003}, metric=2.0, iterations=1),
        Trial("trial-2", {"learner.lr": 0.004}),
    ]
    with pytest.raises(KeyboardInterrupt):
        conclude(searching(learner__lr={"uniform": [0.001, 0.01]}), tmp_path, trials)
    written = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert [trial["status"] for trial in written["trials"]] == ["finished", "interrupted", "interrupted"]
    assert written["best"] == "trial-1"
    assert load_config(tmp_path / "best_config.yaml").learner.lr == 0.003


def test_the_shipped_search_space_is_one():
    assert domains(load_config(SHIPPED))

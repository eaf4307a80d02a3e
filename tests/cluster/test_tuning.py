"""A search with real Ray Tune and an objective whose optimum is known."""

from __future__ import annotations

import json

import pytest

from cluster.tuning import METRIC, tune
from rlcompress.config.files import load_config
from rlcompress.config.schema import RunConfig
from rlcompress.errors import ResourceShortage, UserError
from rlcompress.recording.directory import RunDirectory

pytestmark = pytest.mark.ray

SMALL = {"env_runners": 0, "cpus_for_driver": 0.5}
JUDGES = {"reward": {"cpus": 0.5}}


def bowl(config, report):
    """Least at lr 0.01 and four layers; comes closer to its floor with each validation. Two layers always break."""
    if config.policy.layers == 2:
        raise ValueError("two layers are planted to fail")
    floor = abs(config.learner.lr - 0.01) + (config.policy.layers != 4)
    for step in range(1, 5):
        report(step, {METRIC: floor + 1 / step, "other": 0.0})


def broken(config, report):
    raise ValueError("planted")


def searching(tmp_path, **changes):
    space = {"learner.lr": {"choice": [0.01, 0.05]}, "policy.layers": {"choice": [1, 2, 4]}}
    values = {
        "name": "bowl",
        "runs": str(tmp_path),
        "resources": SMALL,
        "judges": JUDGES,
        "learner": {"iterations": 40},
        "checkpoint": {"validate_every": 10},
        "tune": {"space": space, "trials": 6, "concurrent": 2},
    }
    return RunConfig.model_validate(values | changes)


def test_a_planted_optimum_is_found_and_its_configuration_runs(ray_cluster, tmp_path):
    found = tune(searching(tmp_path), objective=bowl)
    assert found.best.params == {"learner.lr": 0.01, "policy.layers": 4}
    assert found.best.metric == pytest.approx(0.25)
    best = load_config(found.best_config)
    assert (best.learner.lr, best.policy.layers, best.name, best.runs) == (0.01, 4, "bowl-best", str(tmp_path))
    written = json.loads(found.results.read_text(encoding="utf-8"))
    assert (written["best"], written["metric"], len(written["trials"])) == (found.best.name, METRIC, 6)
    for trial in written["trials"]:  # which trials ASHA stops depends on which came first
        if trial["params"]["policy.layers"] == 2:
            assert (trial["status"], trial["iterations"]) == ("failed", 0)
            assert trial["error"].endswith("two layers are planted to fail")
        else:
            assert trial["status"] == ("finished" if trial["iterations"] == 4 else "stopped")
    assert {"finished", "failed"} <= {trial["status"] for trial in written["trials"]}
    assert str(found.best_config) in str(found)


def test_a_search_without_a_single_result_says_why(ray_cluster, tmp_path):
    config = searching(tmp_path, tune={"space": {"learner.lr": {"choice": [0.01]}}, "trials": 1})
    with pytest.raises(UserError, match=r"ValueError: planted.*results\.json"):
        tune(config, objective=broken)
    (trial,) = json.loads((tmp_path / "bowl-search" / "results.json").read_text(encoding="utf-8"))["trials"]
    assert (trial["status"], trial["metric"]) == ("failed", None)
    with pytest.raises(UserError, match="not empty"):
        tune(config, objective=bowl)


def test_a_trial_that_does_not_fit_is_refused_and_does_not_wait(ray_cluster, tmp_path):
    config = searching(tmp_path, resources={**SMALL, "env_runners": 8, "cpus_per_env_runner": 1.0})
    with pytest.raises(ResourceShortage, match="the cluster has 4"):
        tune(config, objective=bowl)


def test_a_real_trial_learns_where_its_placement_puts_it(ray_cluster, tmp_path):
    """Judge and env runner share the trial's placement: with the seats in another order this waits for ever."""
    judge = {"steps": 20, "width": 32, "cpus": 0.5}
    config = searching(
        tmp_path,
        data={"max_sequences": 200},
        judges={"gate": 0.0, "reward": judge, "heldout": {**judge, "model": "builtin:convolution", "seed": 1}},
        policy={"width": 32, "layers": 1},
        warm_start={"steps": 2, "texts": 16},
        learner={"iterations": 2, "prompts_per_step": 4, "samples_per_prompt": 4},
        resources={"env_runners": 1, "cpus_per_env_runner": 0.5, "cpus_for_driver": 0.5},
        checkpoint={"validate_every": 1, "validation_texts": 8},
        tune={"space": {"learner.lr": {"loguniform": [1e-4, 1e-2]}}, "trials": 1},
    )
    found = tune(config)
    run = RunDirectory.open(found.results.parent / "trials" / found.best.name)
    assert (found.best.status, found.best.iterations, run.state()["state"]) == ("finished", 2, "finished")
    assert run.config.learner.lr == found.best.params["learner.lr"]
    assert (run.artifact / "manifest.json").is_file()

"""Profiles as they are used: laid over the shipped run, each runs from data to report on two cores in minutes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster.evaluating import baselines
from cluster.training import train
from rlcompress.config.files import load_config
from rlcompress.config.schema import RunConfig
from rlcompress.measuring.results import load_results
from rlcompress.recording.directory import RunDirectory
from rlcompress.recording.meters import HOST

pytestmark = pytest.mark.ray

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all runs here: they share prepared data and judges, as runs of a user do."""
    return tmp_path_factory.mktemp("runs")


def configured(runs: Path, *profiles: str) -> RunConfig:
    overrides = [f"runs={runs}", f"name={'-'.join(profiles)}"]
    return load_config(ROOT / "tune_configs" / "masking" / "quickstart.yaml", overrides, profiles)


def trained(config: RunConfig) -> tuple[RunDirectory, list[dict[str, float]]]:
    run = train(config, command="the test")
    assert run.state()["state"] == "finished"
    assert RunDirectory.open(run.path).config == config, "the saved configuration is the merged one"
    return run, [json.loads(line) for line in run.metrics.read_text().splitlines()]


def test_quick_runs_every_stage_and_says_what_it_cost(ray_cluster: None, runs: Path) -> None:
    run, rows = trained(configured(runs, "quick", "cpu"))
    assert [row["step"] for row in rows] == list(range(9))
    tokens = run.config.data.max_tokens
    for row in rows[1:]:
        assert row["speed/samples"] >= 4 * row["speed/iterations"]
        assert row["speed/samples"] == pytest.approx(4 * row["speed/prompts"]) == pytest.approx(row["speed/steps"])
        assert 16 <= row["speed/source_tokens"] / row["speed/samples"] <= tokens
        assert 0 < row["memory/driver"] < 20
        assert 0 < row["memory/runners"] < 20
        assert row["time/sample"] + row["time/learn"] <= 1 / row["speed/iterations"]
    judged = [row for row in rows if "time/judge_call" in row]
    assert len(judged) >= 6, "all but the first iteration"
    assert all(0 < row["time/judge_call"] <= row["time/sample"] for row in judged)
    page = run.report.read_text(encoding="utf-8")
    for name in ("speed/source_tokens", "time/judge_call", "memory/runners"):
        assert name.startswith(HOST)
        assert f"<td>{name}</td>" in page
    assert "\nspeed      iterations " in run.summary()
    assert "\nmemory     driver " in run.summary()


@pytest.mark.slow
def test_integration_uses_what_a_run_can_do_beside_its_defaults(ray_cluster: None, runs: Path) -> None:
    run, rows = trained(configured(runs, "integration"))
    assert run.config.learner.precision == "bfloat16"
    assert {row["runners/healthy"] for row in rows[1:]} == {2.0}
    assert {row["learner/micro_batch"] for row in rows[1:]} == {3.0}
    document = load_results(run.path / "evaluation" / "results.json")
    assert {row["method"] for row in document["results"]} == {"rl", *run.config.evaluate.methods}
    assert "distortion_bits_adapted" in document["settings"]["metrics"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "profiles", [("full", "quick"), ("ablation", "quick"), ("evaluation", "quick")], ids=lambda names: "+".join(names)
)
def test_profiles_of_a_purpose_run(ray_cluster: None, runs: Path, profiles: tuple[str, ...]) -> None:
    run, _ = trained(configured(runs, *profiles))
    document = load_results(run.path / "evaluation" / "results.json")
    measured = {(row["method"], row["rate"]) for row in document["results"]}
    assert measured == {(m, rate) for m in ("rl", *run.config.evaluate.methods) for rate in run.config.evaluate.rates}


@pytest.mark.slow
def test_baselines_are_measured_under_their_profile(ray_cluster: None, runs: Path) -> None:
    config = configured(runs, "quick", "baselines")
    document = load_results(baselines(config, out=runs / "measured") / "results.json")
    assert {row["method"] for row in document["results"]} == set(config.evaluate.methods)
    assert document["unavailable"] == {}

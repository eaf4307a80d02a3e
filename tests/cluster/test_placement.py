"""The plan of a run: what it says, and that what cannot fit is refused at once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cluster import placement
from rlcompress import __main__ as cli
from rlcompress.config.files import load_run
from rlcompress.config.schema import RunConfig
from rlcompress.errors import ResourceShortage


def run(**sections: dict[str, object]) -> RunConfig:
    return RunConfig.model_validate(sections)


LARGE = {"env_runners": 6, "cpus_per_env_runner": 1.0, "gpus_per_env_runner": 0.25, "cpus_for_driver": 0.5}


def test_needed_is_everything_that_runs_at_once() -> None:
    config = run(
        resources=LARGE,
        learner={"learners": 2, "gpus_per_learner": 1.0},
        judges={"reward": {"cpus": 2.0, "gpus": 0.5}},
    )
    assert placement.needed(config) == (0.5 + 2.0 + 6 * 1.0 + 2 * 1.0, 0.5 + 6 * 0.25 + 2 * 1.0)


def test_the_default_run_fits_two_cores() -> None:
    cpus, gpus = placement.needed(RunConfig())
    assert cpus <= 2.0
    assert gpus == 0.0


def test_the_plan_is_a_table_of_what_there_is() -> None:
    text = placement.describe(run(resources=LARGE, judges={"reward": {"cpus": 2.0, "gpus": 0.5}}))
    rows = {line[:14].strip(): line[14:].split() for line in text.splitlines()}
    assert rows["env runner"] == ["6", "1", "0.25"]
    assert rows["reward judge"] == ["1", "2", "0.5"]
    assert rows["in all"] == ["8.5", "2"]
    assert "learner" not in rows, "it learns in the driver"
    assert len({len(line) for line in text.splitlines()}) == 1, "the columns are aligned"


def test_too_many_cpus_or_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "available", lambda: (2.0, 0.0))
    placement.require(run())
    with pytest.raises(ResourceShortage) as caught:
        placement.require(run(resources=LARGE))
    first, *table = str(caught.value).splitlines()
    assert "needs 7.5 CPUs and 1.5 GPUs, the cluster has 2 and 0" in first
    assert "resources.env_runners" in first
    assert any(line.startswith("env runner") for line in table)
    with pytest.raises(ResourceShortage, match="needs 2 CPUs and 1 GPUs, the cluster has 2 and 0"):
        placement.require(run(judges={"reward": {"gpus": 1.0}}))


@pytest.mark.ray
def test_a_run_beyond_the_cluster_is_refused_within_two_seconds(ray_cluster: None) -> None:
    assert placement.available() == (4.0, 0.0)
    started = time.monotonic()
    with pytest.raises(ResourceShortage, match=r"needs 7\.5 CPUs and 1\.5 GPUs, the cluster has 4 and 0"):
        placement.require(run(resources=LARGE))
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("file", sorted(Path("tune_configs/rewriting").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_plan_of_every_rewriting_run(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", str(file), "--dry-run"]) == 0
    assert "evaluator" in capsys.readouterr().out.partition("# resource plan")[2]
    config = load_run(file)
    cpus, gpus = placement.needed(config)
    assert gpus == pytest.approx({"phi3_24gb": 1.0, "phi3_a100": 1.0, "phi3_8xa100": 8.0}.get(file.stem, 0.0))
    if not gpus:
        assert cpus <= 2.0

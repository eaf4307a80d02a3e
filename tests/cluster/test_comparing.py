"""Several artifacts on the same rows: what is paired with what, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cluster.comparing import compare
from cluster.training import train
from rlcompress.artifact import MANIFEST
from rlcompress.config.files import load_config
from rlcompress.errors import UserError
from rlcompress.measuring.results import load_results, recompute
from rlcompress.recording.directory import RunDirectory
from rlcompress.reporting.report import write_report
from tests.cluster.test_training import TINY

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def run(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    quick = ["learner.iterations=1", "resources.env_runners=0", f"runs={tmp_path_factory.mktemp('runs')}", "name=tiny"]
    return train(load_config(None, [*TINY, *quick]))


@pytest.fixture(scope="module")
def folder(run: RunDirectory) -> Path:
    return compare([run.path, run.path / "warm_start"], rates=[0.5], methods=["random", "prior"])


def test_all_are_measured_and_paired_with_the_first(folder: Path) -> None:
    document = load_results(folder)
    measured = {row["method"] for row in document["results"]}
    assert measured == {"tiny", "warm_start", "random", "prior"}
    assert {row["against"] for row in document["comparisons"]} == measured - {"tiny"}
    assert recompute(folder)["comparisons"] == document["comparisons"]


def test_it_says_what_evaluate_says(run: RunDirectory, folder: Path) -> None:
    alone = load_results(run.path / "evaluation")

    def bits(document: dict[str, object], method: str) -> object:
        rows = [
            row
            for row in document["results"]  # type: ignore[attr-defined]
            if (row["method"], row["rate"], row["metric"]) == (method, 0.5, "distortion_bits")
        ]
        return rows[0]["mean"]

    together = load_results(folder)
    assert bits(together, "tiny") == bits(alone, "rl")
    assert bits(together, "warm_start") == bits(alone, "warm_start")


def test_runs_that_differ_by_seed_are_also_one_method(run: RunDirectory, tmp_path: Path) -> None:
    again = tmp_path / "tiny-1"
    shutil.copytree(run.path, again)
    config = (again / "config.yaml").read_text()
    (again / "config.yaml").write_text(config.replace("\nseed: 0\n", "\nseed: 1\n"))
    folder = compare([run.path, again], rates=[0.5], methods=["rare"], out=tmp_path / "compared")
    document = load_results(folder)
    assert document["trainings"] == {"tiny": "tiny", "tiny-1": "tiny"}
    together = document["over_seeds"]
    assert {row["method"] for row in together["results"]} == {"tiny", "rare"}
    assert all(len(row["marks"]) == 2 for row in together["comparisons"])
    assert recompute(folder) == document
    page = write_report([folder], out=tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h1>compared over seeds</h1>" in page
    assert "tiny, tiny-1: one method" in page


def test_two_of_one_name_are_refused(run: RunDirectory) -> None:
    with pytest.raises(UserError, match="two targets are called tiny"):
        compare([run.path, run.path])


def test_other_budgets_are_refused(run: RunDirectory, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run.path / "warm_start", other)
    manifest = json.loads((other / MANIFEST).read_text())
    (other / MANIFEST).write_text(json.dumps({**manifest, "granularity": "sentence"}))
    with pytest.raises(UserError, match="granularity"):
        compare([run.path, other])


def test_rows_that_any_of_them_trained_on_are_refused(run: RunDirectory, tmp_path: Path) -> None:
    data = tmp_path / "seen.jsonl"
    texts = [line for line in (run.path / "evaluation" / "texts.jsonl").read_text().splitlines()]
    data.write_text("\n".join(texts) + "\n")
    other = tmp_path / "other"
    shutil.copytree(run.path / "warm_start", other)
    manifest = json.loads((other / MANIFEST).read_text())
    from rlcompress.data.dataset import row_hash
    from rlcompress.data.readers import read_rows

    seen = [row_hash(example) for example in read_rows(str(data), run.config.data)]
    (other / MANIFEST).write_text(json.dumps({**manifest, "trained_rows": seen[:1]}))
    with pytest.raises(UserError, match="trained on"):
        compare([run.path, other], data=str(data))


def test_an_artifact_alone_needs_a_judge(run: RunDirectory) -> None:
    with pytest.raises(UserError, match="--judge MODEL and --data FILE"):
        compare([run.path / "warm_start", run.path])

"""One tiny run from data to report through the real stages, and what can be done with it afterwards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cluster.evaluating import baselines, evaluate
from cluster.training import sft, train
from rlcompress.compressor import Compressor
from rlcompress.config.files import load_config
from rlcompress.config.schema import RunConfig
from rlcompress.data.dataset import load_split
from rlcompress.errors import UserError
from rlcompress.measuring.results import load_results
from rlcompress.recording.directory import RunDirectory
from rlcompress.recording.publish import find_checkpoint, why_torn

pytestmark = pytest.mark.ray

TINY = [
    "data.source=builtin:docs-mini-300",
    "reader.vocabulary=512",
    "judges.reward.steps=30",
    "judges.heldout.steps=30",
    "judges.reward.width=32",
    "judges.heldout.width=32",
    "judges.gate=0.0",
    "policy.width=32",
    "policy.layers=1",
    "warm_start.steps=4",
    "warm_start.texts=16",
    "learner.iterations=4",
    "learner.prompts_per_step=4",
    "learner.samples_per_prompt=4",
    "checkpoint.every=2",
    "checkpoint.validate_every=2",
    "checkpoint.validation_texts=8",
    "checkpoint.keep=5",
    "evaluate.texts=12",
    "evaluate.seeds=2",
    "evaluate.bootstrap=200",
    "evaluate.adapt_steps=2",
    "evaluate.methods=[identity,random,rare,self_information,adaptive_add,prior,warm_start]",
    "resources.cpus_per_env_runner=0.5",
]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return load_config(None, [*TINY, f"runs={tmp_path_factory.mktemp('runs')}", "name=tiny"])


@pytest.fixture(scope="module")
def run(ray_cluster: None, config: RunConfig) -> RunDirectory:
    return train(config, command="the test")


def _metrics(run: RunDirectory) -> list[dict[str, float]]:
    return [json.loads(line) for line in run.metrics.read_text().splitlines()]


def test_a_run_leaves_everything_that_it_promises(run: RunDirectory) -> None:
    for name in ("config.yaml", "environment.json", "metrics.jsonl", "metrics.csv", "report.html", "artifact", "prior"):
        assert (run.path / name).exists(), name
    assert run.state()["state"] == "finished"
    assert [row["step"] for row in _metrics(run)] == [0, 1, 2, 3, 4]
    for name in ("best", "last"):
        assert why_torn(find_checkpoint(run.checkpoints, name)) is None
    assert find_checkpoint(run.checkpoints, "last").name == "iteration-000004"


def test_every_configured_method_was_measured_at_every_rate(run: RunDirectory, config: RunConfig) -> None:
    document = load_results(run.path / "evaluation" / "results.json")
    measured = {(row["method"], row["rate"]) for row in document["results"] if row["metric"] == "distortion_bits"}
    assert measured == {(m, r) for m in ("rl", *config.evaluate.methods) for r in config.evaluate.rates}
    assert document["unavailable"] == {}
    adapted = {row["method"] for row in document["results"] if row["metric"] == "distortion_bits_adapted"}
    assert {"rl", "rare", "warm_start"} <= adapted


def test_the_served_compressor_keeps_the_rate_it_was_trained_at(run: RunDirectory) -> None:
    """Training's samples and the artifact go through one `select`: their kept fractions agree within a point."""
    trained = [row for row in _metrics(run) if "rate/achieved" in row]
    gap = sum(row["rate/achieved"] - row["rate/requested"] for row in trained) / len(trained)
    compressor = Compressor.from_pretrained(run.path)
    texts = [e.text for e in load_split(_data(run), "train")]
    for rate in run.config.env.rates:
        kept = [compressor.compress(text, rate) for text in texts]
        achieved = sum(c.kept_tokens for c in kept) / sum(c.original_tokens for c in kept)
        assert abs((achieved - rate) - gap) < 0.01, (achieved, rate, gap)


def _data(run: RunDirectory) -> Path:
    [folder] = (Path(run.config.runs) / "cache" / "data").iterdir()
    return folder


def test_the_best_checkpoint_is_what_was_exported(run: RunDirectory) -> None:
    rows = {
        row["step"]: row["validation/distortion_bits"] for row in _metrics(run) if "validation/distortion_bits" in row
    }
    best = min(rows, key=lambda step: rows[step])
    assert find_checkpoint(run.checkpoints, "best").name == f"iteration-{best:06d}"
    assert Compressor.from_pretrained(run.path).manifest.iteration == best


def test_evaluating_again_gives_the_same_figures(run: RunDirectory, tmp_path: Path) -> None:
    evaluate(run.path, out=tmp_path)
    again, first = load_results(tmp_path / "results.json"), load_results(run.path / "evaluation" / "results.json")
    assert again["results"] == first["results"]


def test_trained_rows_are_refused_and_can_be_skipped(run: RunDirectory, tmp_path: Path) -> None:
    train_rows, test_rows = load_split(_data(run), "train")[:3], load_split(_data(run), "test")[:5]
    file = tmp_path / "mixed.jsonl"
    file.write_text("".join(json.dumps({"text": e.text}) + "\n" for e in [*train_rows, *test_rows]))
    with pytest.raises(UserError, match="3 of 8 rows were trained on"):
        evaluate(run.path, data=str(file), out=tmp_path / "out")
    evaluate(run.path, data=str(file), out=tmp_path / "out", methods=["rare"], rates=[0.5], skip_trained=True)
    assert load_results(tmp_path / "out" / "results.json")["data"]["rows"] == 5


def test_an_artifact_alone_needs_a_judge_and_data(run: RunDirectory, tmp_path: Path) -> None:
    artifact = shutil.copytree(run.artifact, tmp_path / "artifact")
    with pytest.raises(UserError, match="--judge"):
        evaluate(artifact)
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"text": e.text}) + "\n" for e in load_split(_data(run), "test")[:4]))
    evaluate(
        artifact,
        data=str(file),
        judge=str(run.heldout_judge),
        methods=["rare", "prior", "adaptive_add"],
        rates=[0.5],
        out=tmp_path / "out",
    )
    document = load_results(tmp_path / "out" / "results.json")
    assert {row["method"] for row in document["results"]} >= {"rl"}
    assert "adaptive_add" in document["unavailable"]


def _lines(file: Path, count: int) -> list[str]:
    with file.open(encoding="utf-8") as opened:
        return [next(opened) for _ in range(count)]


def test_real_text_is_evaluated_as_it_lies(run: RunDirectory, real_data: Path, tmp_path: Path) -> None:
    """WikiText's .txt and question answering's .jsonl, a part of each so that it takes seconds."""
    wiki = tmp_path / "wiki.txt"
    wiki.write_text("".join(_lines(real_data / "wikitext-2" / "valid.txt", 40)))
    asked = tmp_path / "asked.jsonl"
    asked.write_text("".join(_lines(real_data / "context-qa" / "train.jsonl", 6)))
    for file, metric in ((wiki, "distortion_bits"), (asked, "answer_retention")):
        out = evaluate(run.path, data=str(file), methods=["rare", "head"], rates=[0.5], out=tmp_path / file.stem)
        document = load_results(out / "results.json")
        assert {row["method"] for row in document["results"] if row["metric"] == metric} == {"rl", "rare", "head"}
        rows = [json.loads(line) for line in (out / "outputs.jsonl").read_text(encoding="utf-8").splitlines()]
        assert {"id", "method", "rate", "text"} <= rows[0].keys()


def test_a_finished_run_is_continued_from_its_last_checkpoint(run: RunDirectory, config: RunConfig) -> None:
    """The run is copied with a later end, resumed, and goes on counting where it stopped."""
    path = Path(config.runs) / "longer"
    shutil.copytree(run.path, path)
    text = (path / "config.yaml").read_text()
    (path / "config.yaml").write_text(
        text.replace("iterations: 4", "iterations: 6").replace("name: tiny", "name: longer")
    )
    resumed = train(None, resume=path)
    assert [row["step"] for row in _metrics(resumed)] == [0, 1, 2, 3, 4, 5, 6]
    assert find_checkpoint(resumed.checkpoints, "last").name == "iteration-000006"


def test_early_stopping_ends_a_run_that_no_longer_improves(ray_cluster: None, config: RunConfig) -> None:
    """A learning rate of nearly nothing cannot improve, so one validation without gain ends the run."""
    overrides = ["name=stopped", "checkpoint.patience=1", "learner.lr=1e-12", "learner.lr_end=0.0"]
    stopped = train(load_config(None, [*TINY, f"runs={config.runs}", *overrides]))
    assert _metrics(stopped)[-1]["step"] == 2
    assert find_checkpoint(stopped.checkpoints, "best").name == "iteration-000000"


def test_an_earlier_run_is_never_overwritten_in_silence(run: RunDirectory, config: RunConfig) -> None:
    with pytest.raises(UserError, match="--overwrite"):
        train(config)


def test_sft_alone_gives_an_artifact_that_compresses(run: RunDirectory, config: RunConfig) -> None:
    started = sft(config.model_copy(update={"name": "sft"}))
    manifest = Compressor.from_pretrained(started.path / "warm_start").manifest
    assert (manifest.stage, manifest.iteration) == ("warm_start", 0)


def test_baselines_run_without_a_trained_model(run: RunDirectory, config: RunConfig, tmp_path: Path) -> None:
    out = baselines(config, methods=["random", "rare", "adaptive_add"], rates=[0.5], out=tmp_path / "baselines")
    document = load_results(out / "results.json")
    assert {row["method"] for row in document["results"]} == {"random", "rare", "adaptive_add"}


def test_a_judge_that_does_not_read_is_refused(ray_cluster: None, config: RunConfig) -> None:
    overrides = ["name=blind", "judges.gate=0.99"]
    with pytest.raises(UserError, match=r"judges\.gate"):
        train(load_config(None, [*TINY, f"runs={config.runs}", *overrides]))

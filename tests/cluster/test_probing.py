"""Who is asked beside the judge: loaded where a listed metric needs them, and the original beside all others."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from cluster import stages
from cluster.asking import baseline_methods
from cluster.comparing import compare
from cluster.measuring import Bench, measured
from cluster.probing import probes, sources, with_original
from cluster.training import train
from rlcompress.__main__ import main
from rlcompress.config.files import load_config
from rlcompress.config.schema import ReaderJudgeConfig, RunConfig
from rlcompress.errors import UserError
from rlcompress.judges.reconstruction import ReconstructionJudge
from rlcompress.judges.silent import SilentJudge
from rlcompress.measuring import metrics
from rlcompress.measuring.results import load_results, recompute
from rlcompress.models.reconstructor import MaskedReconstructor
from tests.cluster.test_reading import write_rows
from tests.cluster.test_training import TINY
from tests.rlcompress.small_models import randomise, save_gpt2

NOBODY = SilentJudge()
METRICS = {name: metric for name, metric in metrics.METRICS.items() if metric.source != "evaluator"}  # of kept words


def test_nobody_is_loaded_for_nothing(tmp_path: Path) -> None:
    missing = "evaluate.reader=no/such/folder"
    assert probes(load_config(None, [missing]), None, NOBODY, None) == []
    assert probes(load_config(None, [missing, "evaluate.metrics=[distortion_bits]"]), None, NOBODY, None) == []
    assert probes(load_config(None, ["evaluate.metrics=[reader_f1]"]), None, NOBODY, None) == [], (
        "there is none: refused by its name"
    )


def test_a_reader_is_loaded_by_name() -> None:
    asked = ["evaluate.metrics=[reader_f1,answer_span]", "evaluate.reader=builtin:overlap"]
    [probe] = probes(load_config(None, asked), None, NOBODY, None)
    assert (probe.source, probe.version) == ("reader", "overlap-1")


def test_the_readers_of_a_run_come_before_others_of_their_name(tmp_path: Path) -> None:
    config = load_config(None, ["evaluate.metrics=[reader_f1]", "judges.reader.model=builtin:causal"])
    assert probes(config, tmp_path, NOBODY, None) == []
    record = {"settings": ReaderJudgeConfig().model_dump(mode="json"), "reads": {}}
    (tmp_path / "reader").mkdir()
    (tmp_path / "reader" / "judge.json").write_text(json.dumps(record))
    named = config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"reader": "builtin:causal"})})
    for asked in (config, named):
        [probe] = probes(asked, tmp_path, NOBODY, None)
        assert probe.version == "overlap-1", "what lies in the folder, whatever its name"
    with pytest.raises(UserError, match="builtin:causal is trained in a run"):
        probes(named, None, NOBODY, None)


def test_the_original_is_measured_where_a_reader_is_asked() -> None:
    assert with_original(["random"], ["reader_f1"]) == ["random", "identity"]
    assert with_original(["identity", "random"], ["reader_f1"]) == ["identity", "random"]
    assert with_original(["random"], ["answer_span"]) == with_original(["random"], None) == ["random"]
    assert sources(["reader_f1", "achieved_rate", "bits"][:2]) == {"reader"}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    folder = tmp_path_factory.mktemp("probing")
    small = ["data.min_tokens=8", "data.max_tokens=256", "reader.vocabulary=420", "embedder.dimension=4"]
    splits = "data.splits={train: 0.4, validation: 0.3, test: 0.3}"
    asked = [f"evaluate.{key}" for key in ("rates=[0.5]", "seeds=2", "bootstrap=100", "adapt_steps=1")]
    listed = f"evaluate.metrics=[{','.join(METRICS)}]"
    source = f"data.source={write_rows(folder / 'rows.jsonl')}"
    return load_config(None, [*small, splits, *asked, listed, source, f"runs={folder / 'runs'}"])


@pytest.fixture(scope="module")
def prepared(config: RunConfig) -> stages.Prepared:
    return stages.prepared_data(config)


@pytest.fixture(scope="module")
def judge(prepared: stages.Prepared) -> ReconstructionJudge:
    model = MaskedReconstructor("convolution", prepared.reader.vocabulary, 0, width=16, layers=1).eval()
    randomise(model)
    return ReconstructionJudge(model, prepared.reader, "small", chunk=4)


def test_every_metric_is_computed_where_it_is_listed(
    config: RunConfig, prepared: stages.Prepared, judge: ReconstructionJudge, tmp_path: Path
) -> None:
    """By a small judge, a GPT-2 from its folder and the encoder that is fitted on the training texts."""
    folder = save_gpt2(tmp_path / "gpt2", prepared.reader)
    section = config.evaluate.model_copy(update={"reader": str(folder)})
    asking = config.model_copy(update={"evaluate": section})
    names = with_original(["random"], section.metrics)
    methods = baseline_methods(names, asking, tokenizer=prepared.reader, judge=judge, prepared=prepared)
    train, test = (prepared.examples(split) for split in ("train", "test"))
    found = probes(asking, None, judge, prepared)
    bench = Bench(methods, "random", prepared.segmenter, judge, train, section, 0, probes=found)
    document = load_results(measured(bench, test, None, tmp_path / "evaluation"))
    figures = {row["metric"]: row["mean"] for row in document["results"] if row["method"] == "random"}
    assert figures.keys() == METRICS.keys()
    assert None not in figures.values()
    compared = {row["metric"] for row in document["comparisons"] if row["against"] == "identity"}
    assert compared == METRICS.keys()
    assert set(document["models"]) == {"reader", "reconstruction"}
    assert recompute(tmp_path / "evaluation") == document
    table = (tmp_path / "evaluation" / "table.txt").read_text(encoding="utf-8")
    assert all(name in table for name in METRICS if name != "achieved_rate")


def test_an_artifact_alone_has_no_texts_to_fit_an_encoder_on(config: RunConfig, judge: ReconstructionJudge) -> None:
    with pytest.raises(UserError, match="lists semantic_similarity, and an artifact alone"):
        probes(config, None, judge, None)
    section = config.evaluate.model_copy(update={"metrics": ("rougeL",)})
    [probe] = probes(config.model_copy(update={"evaluate": section}), None, judge, None)
    assert (probe.source, probe.quantities) == ("reconstruction", ("rougeL", "reconstructions"))


@pytest.mark.ray
def test_the_command_asks_a_reader_and_fills_in(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that listed no metrics, measured again with some: the reader is the model in a folder."""
    source = [f"data.source={write_rows(tmp_path / 'rows.jsonl')}", "data.min_tokens=8", "data.max_tokens=256"]
    quick = ["learner.iterations=1", "learner.prompts_per_step=2", "resources.env_runners=0", "warm_start.steps=0"]
    quick += ["judges.reward.steps=2", "judges.heldout.steps=2", "checkpoint.validation_texts=2"]
    splits = "data.splits={train: 0.4, validation: 0.3, test: 0.3}"
    alone = [*source, splits, *quick, "evaluate.adapt_steps=0", "evaluate.methods=[random]", f"runs={tmp_path}"]
    run = train(load_config(None, [*TINY, *alone, "name=plain"]), command="the test")
    assert "reader_f1" not in load_results(run.path / "evaluation")["settings"]["metrics"]
    monkeypatch.setattr(logging.root, "handlers", [])  # the command sets up logging for its process
    folder = save_gpt2(tmp_path / "gpt2", stages.prepared_data(run.config).reader)
    listed = ["reader_exact", "reader_f1", "perplexity", "bleu", "rougeL", "semantic_similarity"]
    words = ["--metrics", *listed, "--reader", folder, "--rates", "0.5", "--out", tmp_path / "again"]
    assert main([str(word) for word in ("evaluate", run.path, *words)]) == 0
    document = load_results(tmp_path / "again")
    assert document["settings"]["metrics"] == listed
    found = {(row["method"], row["metric"]): row["mean"] for row in document["results"]}
    assert all(found["rl", name] is not None for name in listed)
    assert all(found["identity", name] == 1.0 for name in ("bleu", "rougeL", "semantic_similarity"))
    lost = [row for row in document["comparisons"] if (row["against"], row["metric"]) == ("identity", "reader_f1")]
    assert lost[0]["difference"] == pytest.approx(found["rl", "reader_f1"] - found["identity", "reader_f1"])
    assert recompute(tmp_path / "again") == document
    pair = compare([run.path, run.path / "warm_start"], rates=[0.5], metrics=["reader_f1"], reader=str(folder))
    together = {row["method"] for row in load_results(pair)["results"]}
    assert together == {"plain", "warm_start", "identity"}, "the original stands beside all that are asked about"

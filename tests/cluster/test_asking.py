"""Baselines with real models, made once and asked in a real evaluation; nothing here starts Ray."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster import asking, stages
from cluster.asking import baseline_methods
from cluster.measuring import Bench, measured
from rlcompress.baselines import BASELINES
from rlcompress.config.files import load_config
from rlcompress.config.schema import RunConfig
from rlcompress.errors import UserError
from rlcompress.judges.silent import SilentJudge
from rlcompress.measuring.evaluation import evaluate
from rlcompress.measuring.results import load_results, recompute
from rlcompress.models.causal import train_causal
from rlcompress.words import Example

TINY = [
    "name=tiny",
    "data.min_tokens=4",
    "data.max_tokens=100",
    "data.near_duplicates=false",
    "reader.vocabulary=400",
    "env.protect=[numbers]",
    "embedder.dimension=8",
    "baselines.segment=8",
    "evaluate.rates=[0.5]",
    "evaluate.seeds=2",
    "evaluate.bootstrap=100",
    *(f"baselines.language_model.{key}" for key in ("steps=5", "batch=4", "width=32", "layers=1", "window=32")),
]
PEOPLE = ["Ann", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gil", "Hana"]
THINGS = ["a red boat", "the old clock", "a grey horse", "two lamps", "the long ladder"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    folder = tmp_path_factory.mktemp("asking")
    rows = [
        {
            "text": f"{a} bought {x} in May. Later {b} sold {y} for {7 * n} coins. Nobody else came to the market.",
            "question": f"What did {b} sell?",
            "answer": y,
        }
        for n, (a, b, x, y) in enumerate(
            (PEOPLE[i % 8], PEOPLE[(3 * i + 1) % 8], THINGS[i % 5], THINGS[(2 * i + 1) % 5]) for i in range(40)
        )
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return load_config(None, [*TINY, f"runs={folder / 'runs'}", f"data.source={folder / 'rows.jsonl'}"])


@pytest.fixture(scope="module")
def prepared(config: RunConfig) -> stages.Prepared:
    return stages.prepared_data(config)


def bench(config: RunConfig, prepared: stages.Prepared, names: list[str], seed: int = 0) -> Bench:
    built = baseline_methods(names, config, tokenizer=prepared.reader, judge=None, prepared=prepared)
    return Bench(built, names[0], prepared.segmenter, SilentJudge(), [], config.evaluate, seed)


def test_every_baseline_in_one_evaluation(
    config: RunConfig, prepared: stages.Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings: list[Path] = []

    def counted(settings, texts, tokenizer, folder):
        trainings.append(folder)
        return train_causal(settings, texts, tokenizer, folder)

    monkeypatch.setattr(asking, "train_causal", counted)
    rows = prepared.examples("test") + prepared.examples("validation")
    found = []
    for _ in range(2):
        built = bench(config, prepared, list(BASELINES)).methods
        judge, settings = SilentJudge(), config.evaluate
        found.append(evaluate(rows, prepared.segmenter, built, (0.5,), judge, seeds=settings.seeds, reference="head"))
    first, second = found
    assert len(trainings) == 1, "a language model is trained once and found again"
    assert first.outputs == second.outputs
    assert first.unavailable.keys() == {"adaptive_add"}, "there is no judge here"
    sums = {cell.method: {name: cell.quantities[name].sum() for name in cell.quantities} for cell in first.cells}
    assert sums.keys() == set(BASELINES) - {"adaptive_add"}
    achieved = {name: found["kept_tokens"] / found["source_tokens"] for name, found in sums.items()}
    assert achieved.pop("identity") == 1
    assert all(0.45 < rate < 0.53 for rate in achieved.values()), "one budget for all"
    assert sums["bm25_sentences"]["answer_kept"] > sums["head"]["answer_kept"]
    assert first.passes["longllmlingua"] == 2 * first.passes["llmlingua"] > 2
    assert {name for name, count in first.passes.items() if count == 1} == {
        "lm_self_information",
        "embedding_sentences",
        "mix_sentences",
    }


def test_a_row_without_a_question_leaves_the_others_in_the_table(
    config: RunConfig, prepared: stages.Prepared, tmp_path: Path
) -> None:
    rows = [*prepared.examples("test"), Example("bare#1", "A text that nobody asked anything about.")]
    found = bench(config, prepared, ["head", "bm25_sentences", "longllmlingua", "llmlingua"])
    document = load_results(measured(found, rows, None, tmp_path))
    assert document["unavailable"].keys() == {"bm25_sentences", "longllmlingua"}
    assert all("row bare#1 has none" in why for why in document["unavailable"].values())
    assert {row["method"] for row in document["results"]} == {"head", "llmlingua"}
    assert document["passes"].keys() == {"head", "llmlingua"}
    assert document["passes"]["head"] == 0
    table = (tmp_path / "table.txt").read_text(encoding="utf-8")
    assert f"Model passes a text: llmlingua {document['passes']['llmlingua']:.3g}; the others ask no model." in table
    assert recompute(tmp_path) == document


def test_without_a_run_the_models_are_missed_when_they_are_used(config: RunConfig, prepared: stages.Prepared) -> None:
    names = ["llmlingua", "embedding_sentences", "adaptive"]
    built = baseline_methods(names, config, tokenizer=prepared.reader, judge=None, prepared=None)
    example = prepared.examples("test")[0]
    for method in built:
        with pytest.raises(UserError, match=r"a run's configuration|fit it on training texts"):
            method.priorities([prepared.segmenter(example.text)], [example], 0.5, 0)


@pytest.mark.parametrize(
    ("key", "method"),
    [("embedder.model", "embedding_sentences"), ("baselines.language_model.model", "llmlingua")],
)
def test_a_model_that_cannot_be_had_is_refused_before_anything_starts(
    config: RunConfig, prepared: stages.Prepared, tmp_path: Path, key: str, method: str
) -> None:
    source = f"data.source={config.data.source}"
    wrong = load_config(None, [*TINY, f"runs={tmp_path}", source, f"{key}={tmp_path / 'nowhere'}"])
    with pytest.raises(UserError, match=f"{key}: model .*nowhere' cannot be loaded"):
        stages.checked_data(wrong)
    with pytest.raises(UserError, match=r"nowhere' cannot be loaded"):
        baseline_methods([method], wrong, tokenizer=prepared.reader, judge=None, prepared=prepared)

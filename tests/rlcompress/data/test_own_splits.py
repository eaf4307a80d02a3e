"""Sources with splits of their own: an official test split is used as it is, what lacks is cut from training rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlcompress.config.schema import DataConfig, RunConfig
from rlcompress.data.dataset import load_split, row_hash
from rlcompress.data.manifest import Manifest
from rlcompress.data.own_splits import own_splits
from rlcompress.data.prepare import prepare
from rlcompress.data.readers import read_rows
from rlcompress.errors import UserError
from rlcompress.problems.generated import HELD_OUT_TEMPLATES
from rlcompress.problems.problem import problem_of
from tests.rlcompress.data.test_prepare import Words

SPLITS = ("train", "validation", "test")


def question(n: int) -> dict[str, str]:
    words = " ".join(f"{word}{n * k}" for k, word in enumerate(("red", "old", "big", "new", "far", "low")))
    return {"question": f"Of {n} {words} how many?", "answer": f"{n}+1 = <<{n}+1={n + 1}>>{n + 1}\n#### {n + 1}"}


def write(path: Path, numbers: range) -> None:
    path.write_text("\n".join(json.dumps(question(n)) for n in numbers))


def config(source: Path | str, **data: Any) -> RunConfig:
    return RunConfig(data=DataConfig(source=str(source), min_tokens=2, max_tokens=200, **data))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "train.jsonl", range(100, 190))
    write(tmp_path / "test.jsonl", range(500, 520))
    return tmp_path


def test_an_official_test_split_is_tested_on_whole(folder: Path, tmp_path: Path):
    manifest = prepare(config(folder), tmp_path / "out", Words())
    test = load_split(tmp_path / "out", "test")
    assert {problem_of(row).answer for row in test} == set(range(501, 521))
    assert manifest.origin.own_splits == {
        "train": "a part of train.jsonl, by data.seed",
        "validation": "a part of train.jsonl, by data.seed",
        "test": "test.jsonl",
    }
    assert (manifest.splits["train"].rows, manifest.splits["validation"].rows) == (80, 10)
    assert Manifest.load(tmp_path / "out") == manifest


def test_without_one_a_part_of_train_is_named_so(tmp_path: Path):
    write(tmp_path / "train.jsonl", range(100, 190))
    manifest = prepare(config(tmp_path), tmp_path / "out", Words())
    assert set(manifest.origin.own_splits.values()) == {"a part of train.jsonl, by data.seed"}
    assert [manifest.splits[split].rows for split in SPLITS] == [72, 9, 9]


def test_every_split_of_its_own(folder: Path, tmp_path: Path):
    write(folder / "validation.jsonl", range(300, 310))
    manifest = prepare(config(folder), tmp_path / "out", Words())
    assert manifest.origin.own_splits == {split: f"{split}.jsonl" for split in SPLITS}
    assert [manifest.splits[split].rows for split in SPLITS] == [90, 10, 20]


def test_a_copy_of_a_test_row_in_train_never_stands_in_both(folder: Path, tmp_path: Path):
    write(folder / "test.jsonl", range(150, 200))
    manifest = prepare(config(folder), tmp_path / "out", Words())
    hashes = [{row_hash(row) for row in load_split(tmp_path / "out", split)} for split in SPLITS]
    assert not hashes[0] & hashes[2]
    assert not hashes[1] & hashes[2]
    assert manifest.dropped["duplicate"] > 0


def test_splits_without_a_share_are_not_read(folder: Path):
    (folder / "test.jsonl").write_text("broken")
    own = own_splits(config(folder, splits={"train": 0.9, "validation": 0.1, "test": 0.0}).data)
    assert own is not None
    assert set(own.rows) == {"train"}


def test_mistakes(folder: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"data\.fold is 1 .* has its own test split: set it to 0"):
        prepare(config(folder, fold=1), tmp_path / "out", Words())
    (folder / "test.json").write_text("[]")
    with pytest.raises(UserError, match=r"test\.json and test\.jsonl: leave one of them"):
        own_splits(config(folder).data)


def test_other_sources_have_none_and_keep_their_hash(tmp_path: Path):
    write(tmp_path / "rows.jsonl", range(30))
    assert own_splits(config(tmp_path / "rows.jsonl").data) is None
    assert own_splits(config("builtin:docs").data) is None
    assert own_splits(config(tmp_path).data) is None  # no training file
    manifest = prepare(config(tmp_path / "rows.jsonl"), tmp_path / "out", Words())
    assert "own_splits" not in manifest.model_dump_json()
    assert Manifest.load(tmp_path / "out").hash == manifest.hash


def test_the_hub_gives_its_test_split(monkeypatch: pytest.MonkeyPatch):
    import datasets

    def published(name: str, settings: str | None, split: str) -> list[dict[str, str]]:
        assert (name, settings) == ("openai/gsm8k", "main")
        return [question(n) for n in {"train": range(40), "test": range(90, 95)}[split]]

    monkeypatch.setattr(datasets, "load_dataset", published)
    data = config("openai/gsm8k", hub_config="main").data
    own = own_splits(data)
    assert own is not None
    assert [len(own.rows[split]) for split in ("train", "test")] == [40, 5]
    assert own.origin(data)["test"] == "openai/gsm8k, split test"
    assert len({row.id for row in own.read}) == 45
    assert own_splits(config("openai/gsm8k", hub_config="main", hub_split="test").data) is None


def test_generated_problems_hold_out_in_three_ways(tmp_path: Path):
    manifest = prepare(config("builtin:problems-150"), tmp_path / "out", Words())
    assert manifest.origin.own_splits["test"] == "test_problems, test_numbers, test_templates"
    rows = {split: load_split(tmp_path / "out", split) for split in SPLITS}
    assert len(rows["test"]) > 40
    assert len(rows["train"]) > 140
    assert not HELD_OUT_TEMPLATES & {row.group for row in rows["train"] + rows["validation"]}
    assert HELD_OUT_TEMPLATES & {row.group for row in rows["test"]}
    assert all(problem_of(row).question in row.text for split in SPLITS for row in rows[split])
    other = prepare(config("builtin:problems-150", seed=3), tmp_path / "other", Words())
    assert other.origin.rows_sha256 != manifest.origin.rows_sha256


def test_training_problems_as_rows():
    rows = list(read_rows("builtin:problems-20", config("builtin:problems-20").data))
    assert len(rows) == 20
    assert all(problem_of(row).answer > 0 for row in rows)
    with pytest.raises(UserError, match="unknown builtin:problems-0"):
        read_rows("builtin:problems-0", config("x").data)


def test_published_files(real_data: Path, tmp_path: Path):
    manifest = prepare(config(real_data / "gsm8k", max_sequences=400), tmp_path / "out", Words())
    assert manifest.origin.own_splits["test"] == "a part of train.jsonl, by data.seed"
    for split in SPLITS:
        assert all(problem_of(row).results for row in load_split(tmp_path / "out", split))

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from rlcompress.config.schema import DataConfig, RunConfig
from rlcompress.data.dataset import load_split, row_hash, trained_hashes
from rlcompress.data.duplicates import NearDuplicates
from rlcompress.data.manifest import SPLITS, Manifest, file_sha256
from rlcompress.data.prepare import prepare
from rlcompress.data.readers import read_rows
from rlcompress.errors import UserError
from rlcompress.words import IntArray

VOCABULARY = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnrst"]


class Words:
    """A tokenizer of one token a word."""

    name = "words"

    def encode(self, text: str) -> tuple[IntArray, IntArray]:
        spans = [match.span() for match in re.finditer(r"\S+", text)]
        return np.arange(len(spans), dtype=np.int64), np.asarray(spans, np.int64).reshape(-1, 2)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text("{}")


def config(source: Path | str, seed: int = 0, **data: Any) -> RunConfig:
    limits = {"min_tokens": 4, "max_tokens": 20, **data}
    return RunConfig(data=DataConfig(source=str(source), seed=seed, **limits))


def sentence(rng: random.Random, length: int) -> str:
    return " ".join(rng.choices(VOCABULARY, k=length)).capitalize() + "."


@pytest.fixture
def wiki(tmp_path: Path) -> Path:
    """30 documents that copy and nearly copy each other's paragraphs."""
    rng, paragraphs, lines = random.Random(0), list[str](), list[str]()
    for d in range(30):
        lines.append(f" = Document {d} = ")
        for _ in range(8):
            words = [sentence(rng, rng.randint(3, 12)) for _ in range(rng.randint(1, 6))]
            if paragraphs and rng.random() < 0.3:
                words = rng.choice(paragraphs).split()
                if rng.random() < 0.7:
                    words[rng.randrange(len(words))] = rng.choice(VOCABULARY)
            paragraphs.append(" ".join(words))
            lines.append(f" {paragraphs[-1]} ")
    path = tmp_path / "wiki.txt"
    path.write_text("\n".join(lines))
    return path


def texts(folder: Path) -> dict[str, list[str]]:
    return {split: [row.text for row in load_split(folder, split)] for split in SPLITS}


def leaks(folder: Path) -> list[tuple[str, str]]:
    """Pairs of nearly equal texts in two splits."""
    flat = [(split, text) for split, found in texts(folder).items() for text in found]
    near, pairs = NearDuplicates([text for _, text in flat]), []
    for n, (split, text) in enumerate(flat):
        pairs += [(text, flat[m][1]) for m in near.matches(n) if flat[m][0] != split]
        near.add(n)
    return pairs


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("near_duplicates", [True, False])
def test_nothing_stands_in_two_splits(wiki: Path, tmp_path: Path, seed: int, near_duplicates: bool) -> None:
    out = tmp_path / "out"
    prepare(config(wiki, seed, near_duplicates=near_duplicates), out, Words())
    groups = [{row.group for row in load_split(out, split)} for split in SPLITS]
    assert groups[0].isdisjoint(groups[1] | groups[2])
    assert groups[1].isdisjoint(groups[2])
    assert leaks(out) == []
    everything = [text for found in texts(out).values() for text in found]
    assert len(everything) == len({" ".join(text.casefold().split()) for text in everything})


def test_a_leaky_split_would_be_noticed(wiki: Path, tmp_path: Path) -> None:
    prepare(config(wiki), tmp_path / "out", Words())
    table = pq.read_table(tmp_path / "out/train.parquet")
    pq.write_table(table, tmp_path / "out/test.parquet")
    manifest = Manifest.load(tmp_path / "out")
    files = {**manifest.files, "test.parquet": file_sha256(tmp_path / "out/test.parquet")}
    (tmp_path / "out/manifest.json").write_text(manifest.model_copy(update={"files": files}).model_dump_json())
    assert leaks(tmp_path / "out")


@pytest.mark.parametrize("long", ["split", "drop"])
@pytest.mark.parametrize("limit", [None, 40])
def test_limits_hold_and_counts_add_up(wiki: Path, tmp_path: Path, long: str, limit: int | None) -> None:
    manifest = prepare(config(wiki, long=long, max_sequences=limit), tmp_path / "out", Words())
    for split, found in texts(tmp_path / "out").items():
        lengths = [len(text.split()) for text in found]
        assert all(4 <= length <= 20 for length in lengths)
        assert (manifest.splits[split].rows, manifest.splits[split].tokens) == (len(lengths), sum(lengths))
    kept = sum(counts.rows for counts in manifest.splits.values())
    assert manifest.rows_read == 240
    assert manifest.rows_read + manifest.rows_cut == kept + sum(manifest.dropped.values())
    assert (manifest.rows_cut == 0) == (long == "drop")
    assert manifest.dropped["too_long" if long == "drop" else "too_short"] > 0
    assert limit or min(manifest.dropped["duplicate"], manifest.dropped["near_duplicate"]) > 0
    if limit:
        assert [manifest.splits[split].rows for split in SPLITS] == [32, 4, 4]
        assert manifest.dropped["max_sequences"] > 0


def test_shares_are_of_documents(wiki: Path, tmp_path: Path) -> None:
    manifest = prepare(config(wiki, near_duplicates=False), tmp_path / "out", Words())
    assert [manifest.splits[split].documents for split in SPLITS] == [24, 3, 3]


def test_same_seed_same_files_other_seed_other_splits(wiki: Path, tmp_path: Path) -> None:
    manifests = [prepare(config(wiki, seed), tmp_path / f"{n}", Words()) for n, seed in enumerate([1, 1, 2])]
    assert manifests[0] == manifests[1]
    assert manifests[0].hash == manifests[1].hash != manifests[2].hash
    assert texts(tmp_path / "0")["test"] != texts(tmp_path / "2")["test"]


def test_questions_on_one_context_stay_together_and_whole(tmp_path: Path) -> None:
    rng = random.Random(1)
    contexts = [" ".join(sentence(rng, 6) for _ in range(3)) for _ in range(20)]
    records = [
        {"context": context, "question": f"Question {q}?", "answer": context.split()[q]}
        for context in contexts
        for q in (0, 1, 1)
    ]
    records.append({"context": " ".join(contexts), "question": "Too long?", "answer": "x"})
    path = tmp_path / "qa.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    manifest = prepare(config(path), tmp_path / "out", Words())
    assert manifest.dropped == {"duplicate": 20, "too_long": 1}
    for split, count in zip(SPLITS, [16, 2, 2], strict=True):
        rows = load_split(tmp_path / "out", split)
        assert len(rows) == 2 * count
        assert len({row.text for row in rows}) == len({row.group for row in rows}) == count
        assert all(row.text in contexts and row.answer in row.text.split() for row in rows)


def test_another_question_on_a_nearly_equal_context_leaks_too(tmp_path: Path) -> None:
    rng = random.Random(4)
    words = sentence(rng, 18).split()
    records = [{"context": " ".join([*words[:-1], f"end{n}."]), "question": f"Question {n}?"} for n in range(8)]
    records += [{"context": sentence(rng, 18), "question": f"Other {n}?"} for n in range(8)]
    path = tmp_path / "qa.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    splits = {"train": 0.5, "validation": 0.25, "test": 0.25}
    manifest = prepare(config(path, splits=splits), tmp_path / "out", Words())
    assert leaks(tmp_path / "out") == []
    homes = [split for split, found in texts(tmp_path / "out").items() for text in found if text.startswith(words[0])]
    assert set(homes) == {"train"}
    assert len(homes) + manifest.dropped["near_duplicate"] == 8


def test_the_held_out_row_is_dropped_not_the_training_row(tmp_path: Path) -> None:
    rng = random.Random(2)
    shared = sentence(rng, 10)
    lines = [f" = Document {d} = \n{shared}\n{sentence(rng, 10)}" for d in range(10)]
    path = tmp_path / "wiki.txt"
    path.write_text("\n".join(lines))
    prepare(config(path), tmp_path / "out", Words())
    found = texts(tmp_path / "out")
    assert shared in found["train"]
    assert shared not in found["validation"] + found["test"]


def test_the_tokenizer_never_sees_held_out_documents(
    wiki: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer_module = pytest.importorskip("rlcompress.models.tokenizer")
    seen: list[str] = []

    def load_tokenizer(name: str, *, vocabulary: int, texts: list[str]) -> Words:
        assert (name, vocabulary) == ("builtin:bpe", 2048)
        seen.extend(texts)
        return Words()

    monkeypatch.setattr(tokenizer_module, "load_tokenizer", load_tokenizer)
    prepare(config(wiki), tmp_path / "out")
    held_out = {row.group for split in ("validation", "test") for row in load_split(tmp_path / "out", split)}
    source = list(read_rows(wiki, DataConfig()))
    assert len(held_out) == 6
    assert sorted(seen) == sorted(row.text for row in source if row.group not in held_out)


def test_preparing_again_is_a_cache_hit_until_something_changes(wiki: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = prepare(config(wiki), out, Words())
    written = (out / "train.parquet").stat().st_mtime_ns
    assert prepare(config(wiki), out, Words()) == first
    assert (out / "train.parquet").stat().st_mtime_ns == written

    assert prepare(config(wiki, max_tokens=12), out, Words()) != first
    assert prepare(config(wiki), out, Words()) == first
    (out / "test.parquet").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"test\.parquet is missing or changed"):
        load_split(out, "test")
    assert prepare(config(wiki), out, Words()) == first
    assert load_split(out, "test")
    wiki.write_text(wiki.read_text() + "\nOne more paragraph that was not there before.\n")
    assert prepare(config(wiki), out, Words()).rows_read == first.rows_read + 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"min_tokens": 500, "max_tokens": 500},
            r"no row is left for the train split .*lower data\.min_tokens \(500\)",
        ),
        ({"min_tokens": 0, "max_tokens": 1, "long": "drop"}, r"raise data\.max_tokens \(1\)"),
        ({"max_sequences": 2}, r"no row is left for the test split .*raise data\.max_sequences \(2\)"),
    ],
)
def test_an_empty_split_names_the_limit(wiki: Path, tmp_path: Path, data: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepare(config(wiki, **data), tmp_path / "out", Words())
    assert not (tmp_path / "out").exists()


def test_too_few_documents(tmp_path: Path) -> None:
    path = tmp_path / "two.txt"
    path.write_text(" = A = \none two three four five\n = B = \nsix seven eight nine ten\n")
    with pytest.raises(UserError, match=r"has 2 documents, too few for data\.splits"):
        prepare(config(path), tmp_path / "out", Words())
    manifest = prepare(config(path, splits={"train": 0.5, "validation": 0.5, "test": 0}), tmp_path / "out", Words())
    assert manifest.splits["test"].rows == 0
    assert load_split(tmp_path / "out", "test") == []


def test_foreign_files_are_never_overwritten(wiki: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "train.parquet").write_bytes(b"mine")
    with pytest.raises(UserError, match="were not prepared here: name another folder"):
        prepare(config(wiki), out, Words())
    assert (out / "train.parquet").read_bytes() == b"mine"
    prepare(config(wiki), tmp_path / "ours", Words())
    with pytest.raises(UserError, match="would be overwritten"):
        prepare(config(tmp_path / "ours/train.parquet"), tmp_path / "ours", Words())


def test_trained_rows_are_known_by_their_passages_and_by_their_source_rows(wiki: Path, tmp_path: Path) -> None:
    prepare(config(wiki), tmp_path / "out", Words())
    known = set(trained_hashes(tmp_path / "out"))
    train = load_split(tmp_path / "out", "train")
    groups = {row.group for row in train}
    assert {row_hash(row) for row in train} <= known
    assert known.isdisjoint(row_hash(row) for row in load_split(tmp_path / "out", "test"))
    source = list(read_rows(wiki, DataConfig()))
    recognised = [row for row in source if row_hash(row) in known]
    assert {row.group for row in recognised} >= groups


def test_two_interpreters_agree(wiki: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from rlcompress.config.schema import DataConfig, RunConfig\n"
        "from rlcompress.data.prepare import prepare\n"
        "data = DataConfig(source=sys.argv[1], min_tokens=4)\n"
        "print(prepare(RunConfig(data=data), sys.argv[2]).hash)\n"
    )
    hashes = [
        subprocess.run(
            [sys.executable, "-c", code, str(wiki), str(tmp_path / f"out{n}")],
            env={"PYTHONHASHSEED": str(n), "PATH": ""},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout
        for n in (1, 2)
    ]
    assert hashes[0] == hashes[1] != ""


@pytest.mark.parametrize("count", [10, 100, 1000])
def test_mini_corpora_prepare_with_the_built_in_tokenizer(tmp_path: Path, count: int) -> None:
    from rlcompress.models.tokenizer import load_tokenizer

    run = RunConfig(data=DataConfig(source=f"builtin:docs-mini-{count}"))
    manifest = prepare(run, tmp_path / "out")
    assert manifest.rows_read == count
    assert manifest.origin.python
    assert all(manifest.splits[split].rows for split in SPLITS)
    tokenizer = load_tokenizer(str(tmp_path / "out/tokenizer"))
    for split in SPLITS:
        lengths = [len(tokenizer.encode(row.text)[0]) for row in load_split(tmp_path / "out", split)]
        assert sum(lengths) == manifest.splits[split].tokens
        assert 16 <= min(lengths) <= max(lengths) <= 64


@pytest.mark.parametrize(
    ("file", "limits"), [("wikitext-2/valid.txt", {}), ("context-qa/train.jsonl", {"max_tokens": 800})]
)
def test_published_files_as_they_are(real_data: Path, tmp_path: Path, file: str, limits: dict[str, int]) -> None:
    manifest = prepare(config(real_data / file, **limits), tmp_path / "out", Words())
    assert all(manifest.splits[split].rows > 50 for split in SPLITS)
    assert leaks(tmp_path / "out") == []

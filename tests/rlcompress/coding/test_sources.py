"""Problems of files, of the hub and of this project's own, and what is said where they cannot be read."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlcompress.coding.problem import CodeProblem
from rlcompress.coding.rows import OWN
from rlcompress.coding.sources import KNOWN_SETS, read_problems
from rlcompress.errors import UserError
from tests.rlcompress.coding.rows import HUMAN_EVAL, PUBLISHED, SANITIZED, numbered


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_mbpp_as_it_is_published(tmp_path: Path) -> None:
    (problem,) = read_problems(write(tmp_path / "rows.jsonl", [PUBLISHED]), visible=OWN)
    assert problem == CodeProblem(
        id="mbpp/601",
        prompt="Write a function to double a number.",
        entry_point="double",
        setup="",
        visible_tests=("assert double(1) == 2", "assert double(2) == 4", "assert double(-3) == -6"),
        hidden_tests=("assert double(0) == 0",),
        solution="def double(x):\n    return 2 * x",
        source="mbpp",
    )
    assert pickle.loads(pickle.dumps(problem)) == problem


def test_mbpp_sanitized(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([SANITIZED]), encoding="utf-8")
    (problem,) = read_problems(path, visible=0)
    assert (problem.id, problem.prompt, problem.setup) == ("mbpp/2", SANITIZED["prompt"], "import math")
    assert (problem.entry_point, problem.visible_tests) == ("root", ())
    assert problem.hidden_tests == tuple(SANITIZED["test_list"])


def test_human_eval(tmp_path: Path) -> None:
    (problem,) = read_problems(write(tmp_path / "rows.jsonl", [HUMAN_EVAL]), visible=OWN)
    assert (problem.id, problem.entry_point, problem.source) == ("HumanEval/200", "halves", "human_eval")
    assert problem.visible_tests == ("assert halves([2, 4]) == [1, 2]",), "its docstring shows it"
    assert problem.hidden_tests == ("assert halves([]) == []", "assert halves(list(range(4))) == [0, 0, 1, 1]")
    assert problem.solution == HUMAN_EVAL["prompt"] + HUMAN_EVAL["canonical_solution"]
    assert problem.preamble.endswith("def half(x: int) -> int:\n    return x // 2")
    assert problem.program("x = 1") == f"{problem.preamble}\n\n\nx = 1"


@pytest.mark.parametrize("row", [PUBLISHED, SANITIZED, HUMAN_EVAL], ids=["published", "sanitized", "human_eval"])
def test_every_kind_of_file_gives_the_same(row: dict[str, Any], tmp_path: Path) -> None:
    rows = numbered(row, 3)
    expected = read_problems(write(tmp_path / "rows.jsonl", rows))
    (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    with gzip.open(tmp_path / "rows.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(each) + "\n" for each in rows)
    for name in ("rows.json", "rows.parquet", "rows.jsonl.gz"):
        assert read_problems(tmp_path / name) == expected
    assert read_problems(tmp_path / "rows.json", seed=1) == read_problems(tmp_path / "rows.parquet", seed=1)


def test_rows_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked: list[tuple[object, ...]] = []

    def load_dataset(name: str, config: str | None, *, split: str) -> list[dict[str, Any]]:
        asked.append((name, config, split))
        return numbered(SANITIZED, 43)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    name = "google-research-datasets/mbpp"
    assert len(read_problems(name, hub_config="sanitized", hub_split="validation")) == 43
    assert asked == [(name, "sanitized", "validation")]
    with pytest.raises(UserError, match="holds 43 rows, as published it has 90"):
        read_problems(name, hub_split="validation")


def test_published_counts() -> None:
    splits = ("train", "test", "validation", "prompt")
    full, sanitized = ([KNOWN_SETS["mbpp", config, split] for split in splits] for config in ("full", "sanitized"))
    assert (full, sum(full)) == ([374, 500, 90, 10], 974)
    assert (sanitized, sum(sanitized)) == ([120, 257, 43, 7], 427)


@pytest.mark.parametrize(
    ("name", "row", "count"),
    [
        ("mbpp.jsonl", PUBLISHED, 974),
        ("mbpp/train.jsonl", PUBLISHED, 374),
        ("mbpp/test.jsonl", PUBLISHED, 500),
        ("HumanEval.jsonl", HUMAN_EVAL, 164),
    ],
)
def test_a_file_with_a_published_name_is_whole(name: str, row: dict[str, Any], count: int, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    assert len(read_problems(write(path, numbered(row, count)))) == count
    with pytest.raises(UserError, match=f"holds {count - 1} rows, as published it has {count}: fetch it again"):
        read_problems(write(path, numbered(row, count - 1)))
    part = write(tmp_path / "part.jsonl", numbered(row, count - 1))
    assert len(read_problems(part)) == count - 1


def test_the_sanitized_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "sanitized-mbpp.json"
    path.write_text(json.dumps(numbered(SANITIZED, 427)), encoding="utf-8")
    assert len(read_problems(path)) == 427
    path.write_text(json.dumps(numbered(SANITIZED, 426)), encoding="utf-8")
    with pytest.raises(UserError, match="as published it has 427"):
        read_problems(path)


def without(row: dict[str, Any], field: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != field}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ([1], "holds list, expected an object"),
        ({"question": "?"}, "fields 'question' are no programming problem: give task_id, text, code, test_list or"),
        (without(PUBLISHED, "test_list"), "are no programming problem"),
        (PUBLISHED | {"text": ""}, "field 'text' holds an empty text, expected a text"),
        (PUBLISHED | {"code": None}, "field 'code' holds NoneType, expected a text"),
        (PUBLISHED | {"code": "\ud800"}, "field 'code' holds half a surrogate pair"),
        (PUBLISHED | {"task_id": "601"}, "field 'task_id' holds '601', expected a whole number"),
        (PUBLISHED | {"test_list": []}, "field 'test_list' holds [], expected a list of lines"),
        (PUBLISHED | {"test_list": "assert double(1) == 2"}, "field 'test_list' holds 'assert double(1) == 2'"),
        (PUBLISHED | {"test_list": ["double(1) == 2"]}, "field 'test_list' has 'double(1) == 2', which is no assert"),
        (PUBLISHED | {"test_list": ["assert double(1) =="]}, "which is no assert line: write it as one"),
        (PUBLISHED | {"test_list": ["assert 1\nassert 2"]}, "which is no assert line"),
        (PUBLISHED | {"challenge_test_list": [3]}, "field 'challenge_test_list' holds [3]"),
        (SANITIZED | {"test_imports": "import math"}, "field 'test_imports' holds 'import math'"),
        (HUMAN_EVAL | {"test": "def test(): pass"}, "field 'test' has no `def check(candidate)`"),
        (HUMAN_EVAL | {"entry_point": "thirds"}, "field 'prompt' defines no 'thirds': correct 'entry_point'"),
        (
            HUMAN_EVAL | {"test": "def check(candidate):\n    for x in [1]:\n        assert candidate([x]) == [0]\n"},
            "field 'test' holds a statement `for` in check: write it as assert lines",
        ),
        (HUMAN_EVAL | {"test": "def check(candidate):\n    assert True\n"}, "field 'test' asks nothing"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_with_its_field(row: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        read_problems(write(tmp_path / "rows.jsonl", [PUBLISHED, row]))
    assert str(refused.value).startswith(f"{tmp_path}/rows.jsonl:2: ")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_other_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file"):
        read_problems(tmp_path / "nowhere.jsonl")
    with pytest.raises(UserError, match="holds no problems"):
        read_problems(write(tmp_path / "empty.jsonl", []))
    with pytest.raises(UserError, match=r"cannot read .*expected one of"):
        read_problems(write(tmp_path / "rows.csv", [PUBLISHED]))
    with pytest.raises(UserError, match=r"field 'task_id' has mbpp/601 twice"):
        read_problems(write(tmp_path / "twice.jsonl", [PUBLISHED, PUBLISHED]))
    with pytest.raises(UserError, match="'challenge_test_list' is empty, so nothing would be hidden"):
        read_problems(write(tmp_path / "own.jsonl", [PUBLISHED | {"challenge_test_list": []}]), visible=OWN)
    with pytest.raises(UserError, match="visible: -3 tests"):
        read_problems("builtin:code", visible=-3)
    for name in ("builtin:code-0", "builtin:code-x"):
        with pytest.raises(UserError, match="use builtin:code or builtin:code-200"):
            read_problems(name)
    with pytest.raises(UserError, match="has no split of its own"):
        read_problems("builtin:code", visible=OWN)
    (tmp_path / "broken.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00 nothing")
    with pytest.raises(UserError, match="broken gzip"):
        read_problems(tmp_path / "broken.jsonl.gz")


def test_the_generated_ones() -> None:
    assert len(read_problems("builtin:code")) == 100
    assert read_problems("builtin:code-7", seed=3) == read_problems("builtin:code-9", seed=3)[:7]


@pytest.mark.parametrize(("split", "count"), [("train", 374), ("validation", 90), ("prompt", 10)])
def test_the_published_files(split: str, count: int, real_data: Path) -> None:
    problems = read_problems(real_data / "mbpp" / f"{split}.jsonl", visible=1)
    assert len(problems) == count
    assert all(problem.entry_point for problem in problems)
    assert all(len(problem.visible_tests) == 1 and problem.hidden_tests for problem in problems)
    assert sum(bool(problem.setup) for problem in problems) == (split == "train"), "one row builds trees"

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlcompress.config.schema import DataConfig
from rlcompress.data.readers import read_rows
from rlcompress.errors import UserError
from rlcompress.words import Example

DEFAULT = DataConfig()
WIKI = """ \r
 = First title = \r
 \r
 Opening paragraph of the first . \r
 = = A section = = \r
 \r
 Second paragraph . \r
 = Second <unk> = \r
 Third paragraph with a = sign = . \r
 = First title = \r
 Another document of the same title . \r
"""


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows(path: str | Path, **settings: Any) -> list[Example]:
    return list(read_rows(path, DataConfig(**settings)))


def jsonl(folder: Path, *records: object) -> Path:
    return write(folder / "rows.jsonl", "".join(json.dumps(record) + "\n" for record in records))


@pytest.mark.parametrize("name", ["wiki.txt", "wiki.valid.tokens", "wiki.raw"])
def test_wikitext_headings_delimit_documents(tmp_path: Path, name: str) -> None:
    found = rows(write(tmp_path / name, WIKI))
    assert [(row.text, row.group) for row in found] == [
        ("Opening paragraph of the first .", "First title #1"),
        ("Second paragraph .", "First title #1"),
        ("Third paragraph with a = sign = .", "Second <unk> #2"),
        ("Another document of the same title .", "First title #3"),
    ]
    assert found[0].id.endswith("#4")  # the line
    assert len({row.id for row in found}) == len(found)


def test_plain_text_is_a_paragraph_a_line(tmp_path: Path) -> None:
    long = "word " * 40
    found = rows(write(tmp_path / "plain.txt", f"\ufeff{long}\n\nshort line\nshort line again\n"))
    assert [row.text for row in found] == [long.strip(), "short line", "short line again"]
    assert len({row.group for row in found}) == 3


def test_wrapped_text_is_a_paragraph_a_block(tmp_path: Path) -> None:
    found = rows(write(tmp_path / "wrapped.txt", "One sentence\nover two lines.\n\n\nAnother one.\n"))
    assert [(row.id, row.text) for row in found] == [
        ("wrapped#1", "One sentence over two lines."),
        ("wrapped#5", "Another one."),
    ]


def test_jsonl_of_texts_and_contexts(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path,
        {"text": "plain"},
        {"context": "A city.", "question": "What?", "answer": "city"},
        {"context": "A  CITY.", "question": "Which?", "answer": ["a", "b"]},
        {"context": "Squad.", "question": "Who?", "answers": {"text": ["he", "she"], "answer_start": [1, 2]}},
        {"context": "Nobody.", "question": "Who?", "answers": {"text": [], "answer_start": []}},
        {"context": "A sum.", "question": "How many?", "answer": 12},
    )
    found = rows(path)
    assert [(row.text, row.question, row.answer) for row in found] == [
        ("plain", None, None),
        ("A city.", "What?", "city"),
        ("A  CITY.", "Which?", "a"),
        ("Squad.", "Who?", "he"),
        ("Nobody.", "Who?", None),
        ("A sum.", "How many?", "12"),
    ]
    assert found[1].group == found[2].group  # one context, so one group
    assert len({row.group for row in found}) == 5


def test_gsm8k_question_is_the_text(tmp_path: Path) -> None:
    (row,) = rows(jsonl(tmp_path, {"question": "How many?", "answer": "1 + 1 = 2\n#### 2"}))
    assert (row.text, row.question, row.answer) == ("How many?", None, "1 + 1 = 2\n#### 2")


def test_fields_by_name(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"body": "B", "q": "Q", "a": "A", "book": 7}, {"body": "C", "q": None, "a": None, "book": 7})
    found = rows(path, text_field="body", question_field="q", answer_field="a", group_field="book")
    assert found == [Example("rows#1", "B", "Q", "A", "7"), Example("rows#2", "C", None, None, "7")]


def test_json_and_parquet_give_what_jsonl_gives(tmp_path: Path) -> None:
    records = [
        {"context": "A b c.", "question": "Q", "answer": "b"},
        {"context": "D.", "question": None, "answer": None},
    ]
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "rows.parquet")
    write(tmp_path / "rows.json", json.dumps(records, indent=1))
    expected = rows(jsonl(tmp_path, *records))
    assert rows(tmp_path / "rows.json") == expected
    assert rows(tmp_path / "rows.parquet") == expected


def test_a_table_of_wikitext_lines_keeps_its_documents(tmp_path: Path) -> None:
    found = rows(jsonl(tmp_path, *({"text": line} for line in WIKI.splitlines() if line.strip())))
    assert [row.group for row in found] == ["First title #1", "First title #1", "Second <unk> #2", "First title #3"]


@pytest.mark.parametrize(
    ("name", "content", "settings", "message"),
    [
        ("a.txt", "", {}, r"a\.txt: holds no text"),
        ("a.txt", " = Only a title = \n", {}, r"a\.txt: holds no text"),
        ("a.jsonl", "\n\n", {}, r"a\.jsonl: holds no text"),
        ("a.json", "", {}, r"a\.json: holds no text"),
        ("a.txt", b"fine\nb\xff\xfed\n", {}, r"a\.txt:2: not UTF-8"),
        ("a.jsonl", b'{"text": "ok"}\n{"text": "\xff"}\n', {}, r"a\.jsonl:2: not UTF-8"),
        ("a.jsonl", '{"text": "ok"}\n{"text": \n', {}, r"a\.jsonl:2: broken JSON"),
        ("a.jsonl", '{"text": "\\ud800"}\n', {}, r"a\.jsonl:1: field 'text' holds half a surrogate pair"),
        ("a.jsonl", "[1]\n", {}, r"a\.jsonl:1: holds list"),
        (
            "a.jsonl",
            '{"body": "x", "n": 1}\n',
            {},
            r"a\.jsonl:1: no field 'text' or 'context' or 'question' among 'body', 'n'",
        ),
        (
            "a.jsonl",
            '{"text": "x"}\n',
            {"text_field": "body"},
            r"a\.jsonl:1: no field 'body' among 'text'.*data\.text_field",
        ),
        ("a.jsonl", '{"text": "x"}\n', {"question_field": "q"}, r"a\.jsonl:1: no field 'q'.*data\.question_field"),
        ("a.jsonl", '{"text": "x"}\n', {"answer_field": "a"}, r"a\.jsonl:1: no field 'a'.*data\.answer_field"),
        ("a.jsonl", '{"text": "x"}\n', {"group_field": "g"}, r"a\.jsonl:1: no field 'g'.*data\.group_field"),
        ("a.jsonl", '{"text": ["x"]}\n', {}, r"a\.jsonl:1: field 'text' holds list, expected a string"),
        ("a.jsonl", '{"text": "x", "answer": {"a": 1}}\n', {}, r"a\.jsonl:1: field 'answer' holds dict"),
        ("a.json", '[{"text": "x"},\n {"text": }]', {}, r"a\.json:2: broken JSON"),
        ("a.json", '{"text": "x"}\n{"text": "y"}', {}, r"a\.json:2: broken JSON.*\.jsonl"),
        ("a.json", '{"text": "x"}', {}, r"a\.json:1: holds dict, expected a list"),
        ("a.json", '[{"text": "x"}, 3]', {}, r"a\.json: item 2: holds int"),
        ("a.parquet", "not parquet", {}, r"a\.parquet: not readable as Parquet"),
        ("a.csv", "text\nx\n", {}, r"cannot read .*a\.csv: expected one of \.txt"),
    ],
)
def test_mistakes_name_file_and_line(
    tmp_path: Path, name: str, content: str | bytes, settings: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        rows(write(tmp_path / name, content), **settings)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_an_unknown_builtin_are_errors_at_once() -> None:
    with pytest.raises(UserError, match=r"there is no file nowhere/rows\.jsonl"):
        read_rows("nowhere/rows.jsonl", DEFAULT)
    with pytest.raises(UserError, match="unknown builtin:doc: use builtin:docs"):
        read_rows("builtin:doc", DEFAULT)


def test_builtin_sources() -> None:
    mini = rows("builtin:docs-mini-10")
    assert len(mini) == len({row.id for row in mini}) == 10
    assert len(rows("builtin:docs-mini")) == 100
    first = next(read_rows("builtin:docs", DEFAULT))
    assert first.id == first.group == "topic/assert"


def test_hub_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked: list[tuple[object, ...]] = []

    def load_dataset(name: str, config: str | None, *, split: str) -> list[dict[str, str]]:
        asked.append((name, config, split))
        return [{"text": "one"}, {"text": "two"}]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    found = rows("someone/corpus", hub_config="small", hub_split="validation")
    assert [row.text for row in found] == ["one", "two"]
    assert asked == [("someone/corpus", "small", "validation")]


def test_a_hub_id_offline_is_an_error_that_names_it() -> None:
    code = (
        "from rlcompress.config.schema import DataConfig\n"
        "from rlcompress.data.readers import read_rows\n"
        "from rlcompress.errors import UserError\n"
        "try:\n    list(read_rows('nobody/nothing', DataConfig()))\n"
        "except UserError as error:\n    print(error)\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert "cannot load 'nobody/nothing'" in done.stdout, done.stderr
    assert "name a local file" in done.stdout


def test_published_files_as_they_are(real_data: Path) -> None:
    wiki = rows(real_data / "wikitext-2/valid.txt")
    assert len({row.group for row in wiki}) == 60
    assert not any(row.text.startswith("= ") for row in wiki)
    questions = rows(real_data / "context-qa/train.jsonl")
    assert len(questions) == 972
    assert len({row.group for row in questions}) == 198
    assert all(row.question and row.answer and row.answer.casefold() in row.text.casefold() for row in questions)
    assert all(row.text and row.question is None for row in rows(real_data / "gsm8k/train.jsonl"))
    assert len(rows(real_data / "mbpp/train.jsonl")) == 374

"""Rows of any source, one `Example` at a time: the built-in corpus, local files, or a `datasets` hub id.

Nothing is ever made up: a source that cannot be read is a `UserError` that names it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rlcompress.config.schema import DataConfig
from rlcompress.data.corpus import builtin_documents, mini_rows
from rlcompress.data.dataset import text_hash
from rlcompress.data.records import Documents, Record, examples
from rlcompress.errors import UserError
from rlcompress.words import Example

_MINI = re.compile(r"^builtin:docs-mini(?:-(\d+))?$")
_WRAPPED_LINE = 120  # a text of blank-line blocks with no longer line is wrapped: its paragraphs are the blocks


def read_rows(source: str | Path, config: DataConfig) -> Iterator[Example]:
    """Rows of `builtin:docs`, `builtin:docs-mini[-N]`, a .txt, .jsonl, .json or .parquet file, or a hub id.

    Raises:
        UserError: nothing there, nothing in it, or a row that cannot be read; the message names file and line.
    """
    name = str(source)
    if name.startswith("builtin:"):
        return _builtin(name)
    path = Path(source)
    if path.suffix.lower() in _READERS:
        if not path.is_file():
            raise UserError(f"data.source: there is no file {name}")
        return _some(_READERS[path.suffix.lower()](path, config), name)
    if path.is_file():
        raise UserError(f"data.source: cannot read {name}: expected one of {', '.join(_READERS)}")
    return _some(_hub(name, config), name)


def _some(rows: Iterator[Example], name: str) -> Iterator[Example]:
    first = next(rows, None)
    if first is None:
        raise UserError(f"{name}: holds no text: name another data.source")
    yield first
    yield from rows


def _builtin(name: str) -> Iterator[Example]:
    if name == "builtin:docs":
        return (Example(document, text, group=document) for document, text in builtin_documents())
    mini = _MINI.match(name)
    if not mini:
        raise UserError(f"data.source: unknown {name}: use builtin:docs or builtin:docs-mini-100")
    rows = mini_rows(int(mini[1] or 100))
    return (Example(f"{topic}#{n}", text, group=topic) for n, (topic, text) in enumerate(rows, 1))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, line without its end), counted from 1."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise UserError(f"{path}:{number}: not UTF-8 ({error.reason}): convert the file") from None


def _text(path: Path, config: DataConfig) -> Iterator[Example]:
    """A paragraph a line; ` = Title = ` headings delimit documents and name the group, else it is the paragraph.

    A text without headings whose lines are wrapped has a paragraph a block between blank lines.
    """
    lines = list(_lines(path))
    titles = Documents()
    headed = any([titles.is_heading(line) for _, line in lines])
    wrapped = any(not line.strip() for _, line in lines) and all(len(line) <= _WRAPPED_LINE for _, line in lines)
    documents = Documents()
    for number, paragraph in _blocks(lines) if wrapped and not headed else lines:
        text = paragraph.strip()
        if text and not documents.is_heading(paragraph):
            yield Example(f"{path.stem}#{number}", text, group=documents.current or text_hash(text))


def _blocks(lines: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """(number of the first line, joined lines) of each run of lines that are not blank."""
    begin, block = 0, list[str]()
    for number, line in [*lines, (0, "")]:
        if line.strip():
            begin = begin if block else number
            block.append(line.strip())
        elif block:
            yield begin, " ".join(block)
            block = []


def _jsonl(path: Path, config: DataConfig) -> Iterator[Example]:
    return examples(_json_lines(path), path.stem, config)


def _json_lines(path: Path) -> Iterator[tuple[str, Record]]:
    for number, line in _lines(path):
        if line.strip():
            try:
                yield f"{path}:{number}", json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                raise UserError(f"{path}:{number}: broken JSON ({error}): expected one object a line") from None


def _json(path: Path, config: DataConfig) -> Iterator[Example]:
    text = "\n".join(line for _, line in _lines(path))
    if not text.strip():
        return iter(())
    try:
        rows = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise UserError(f"{path}:{line}: broken JSON ({error}): for one object a line use the ending .jsonl") from None
    if not isinstance(rows, list):
        raise UserError(f"{path}:1: holds {type(rows).__name__}, expected a list of objects")
    return examples(((f"{path}: item {n}", row) for n, row in enumerate(rows, 1)), path.stem, config)


def _parquet(path: Path, config: DataConfig) -> Iterator[Example]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as Parquet ({_first_line(error)}): write the file again") from None
    return examples(((f"{path}: row {n}", row) for n, row in enumerate(rows, 1)), path.stem, config)


def _hub(name: str, config: DataConfig) -> Iterator[Example]:
    import datasets

    try:
        table = datasets.load_dataset(name, config.hub_config, split=config.hub_split)
    except Exception as error:  # the library raises dozens of types: unknown id, offline, wrong split, bad server
        raise UserError(
            f"data.source: cannot load {name!r} (hub_config {config.hub_config}, hub_split {config.hub_split}): "
            f"{_first_line(error)}; check the three, go online, or name a local file"
        ) from error
    rows: Iterator[Any] = iter(table)
    return examples(((f"{name}: row {n}", row) for n, row in enumerate(rows, 1)), name, config)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


_READERS: dict[str, Callable[[Path, DataConfig], Iterator[Example]]] = {
    ".txt": _text,
    ".tokens": _text,  # WikiText as it is published
    ".raw": _text,
    ".jsonl": _jsonl,
    ".json": _json,
    ".parquet": _parquet,
}

"""Rows of any source, one `Example` at a time: the built-in corpus, local files, or a `datasets` hub id.

Nothing is ever made up: a source that cannot be read is a `UserError` that names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from rlcompress.config.schema import DataConfig
from rlcompress.data.corpus import builtin_documents, mini_rows
from rlcompress.data.dataset import text_hash
from rlcompress.data.records import Documents, examples
from rlcompress.data.tables import TABLES, hub_rows, lines
from rlcompress.errors import UserError
from rlcompress.problems.generated import generated_problems
from rlcompress.words import Example

_MINI = re.compile(r"^builtin:docs-mini(?:-(\d+))?$")
_PROBLEMS = re.compile(r"^builtin:problems(?:-([1-9]\d*))?$")
_PROBLEM_COUNT = 4000
_WRAPPED_LINE = 120  # a text of blank-line blocks with no longer line is wrapped: its paragraphs are the blocks


def read_rows(source: str | Path, config: DataConfig) -> Iterator[Example]:
    """Rows of `builtin:docs`, `builtin:docs-mini[-N]`, a .txt, .jsonl, .json or .parquet file, or a hub id.

    Of `builtin:problems[-N]` those to train on; what is held out of them, and folders: `own_splits.py`.

    Raises:
        UserError: nothing there, nothing in it, or a row that cannot be read; the message names file and line.
    """
    name = str(source)
    if name.startswith("builtin:"):
        return _builtin(name, config)
    path = Path(source)
    if path.suffix.lower() in READERS:
        if not path.is_file():
            raise UserError(f"data.source: there is no file {name}")
        return _some(READERS[path.suffix.lower()](path, config), name)
    if path.is_file():
        raise UserError(f"data.source: cannot read {name}: expected one of {', '.join(READERS)}")
    return _some(examples(hub_rows(name, config.hub_config, config.hub_split), name, config), name)


def _some(rows: Iterator[Example], name: str) -> Iterator[Example]:
    first = next(rows, None)
    if first is None:
        raise UserError(f"{name}: holds no text: name another data.source")
    yield first
    yield from rows


def problem_count(source: str) -> int | None:
    """How many training problems `builtin:problems[-N]` asks for; None for any other source."""
    found = _PROBLEMS.match(source)
    return int(found[1] or _PROBLEM_COUNT) if found else None


def _builtin(name: str, config: DataConfig) -> Iterator[Example]:
    if name == "builtin:docs":
        return (Example(document, text, group=document) for document, text in builtin_documents())
    if (count := problem_count(name)) is not None:
        return (problem.example() for problem in generated_problems(count, "train", seed=config.seed))
    mini = _MINI.match(name)
    if not mini:
        raise UserError(f"data.source: unknown {name}: use builtin:docs, builtin:docs-mini-100 or builtin:problems")
    rows = mini_rows(int(mini[1] or 100))
    return (Example(f"{topic}#{n}", text, group=topic) for n, (topic, text) in enumerate(rows, 1))


def _text(path: Path, config: DataConfig) -> Iterator[Example]:
    """A paragraph a line; ` = Title = ` headings delimit documents and name the group, else it is the paragraph.

    A text without headings whose lines are wrapped has a paragraph a block between blank lines.
    """
    rows = list(lines(path))
    titles = Documents()
    headed = any([titles.is_heading(line) for _, line in rows])
    wrapped = any(not line.strip() for _, line in rows) and all(len(line) <= _WRAPPED_LINE for _, line in rows)
    documents = Documents()
    for number, paragraph in _blocks(rows) if wrapped and not headed else rows:
        text = paragraph.strip()
        if text and not documents.is_heading(paragraph):
            yield Example(f"{path.stem}#{number}", text, group=documents.current or text_hash(text))


def _blocks(numbered: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """(number of the first line, joined lines) of each run of lines that are not blank."""
    begin, block = 0, list[str]()
    for number, line in [*numbered, (0, "")]:
        if line.strip():
            begin = begin if block else number
            block.append(line.strip())
        elif block:
            yield begin, " ".join(block)
            block = []


def _table(path: Path, config: DataConfig) -> Iterator[Example]:
    return examples(TABLES[path.suffix.lower()](path), path.stem, config)


READERS: dict[str, Callable[[Path, DataConfig], Iterator[Example]]] = {
    ".txt": _text,
    ".tokens": _text,  # WikiText as it is published
    ".raw": _text,
    **dict.fromkeys(TABLES, _table),
}

"""English prose that is on every machine: the documentation inside Python, read as text, never imported or run.

Documents are the language topics of `pydoc` and the docstrings of each standard-library module. The text depends on
the Python version, which is why a manifest records it.
"""

from __future__ import annotations

import ast
import re
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from rlcompress.errors import UserError

_SKIPPED_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idlelib", "__pycache__", "pydoc_data"}
)
_LEAST_PARAGRAPH = 40  # characters; shorter ones are headings and signatures
_LEAST_DOCSTRING = 200  # characters; one-line docstrings are formulaic
_LEAST_DOCUMENT = 200  # characters
_LEAST_ROW = 80  # characters of a row of the mini corpus: enough tokens for the default limits
_LEAST_LETTERS = 0.8  # share of letters, spaces, commas and full stops; below it is a table or code
_PLAIN = re.compile(r"[a-zA-Z ,.]")
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_BULLET = re.compile(r"^[*•-]\s+")


def builtin_documents(limit: int | None = None) -> list[tuple[str, str]]:
    """(name, prose) of each topic, then of each module in order of its path; the first `limit` of them.

    A paragraph that stands in several documents stays in the first alone.

    Raises:
        UserError: this Python came without its documentation.
    """
    seen: set[str] = set()
    documents: list[tuple[str, str]] = []
    for name, raw in _raw_documents():
        if limit is not None and len(documents) >= limit:
            break
        text = " ".join(_fresh(_paragraphs(raw), seen))
        if len(text) >= _LEAST_DOCUMENT:
            documents.append((name, text))
    return documents


def mini_rows(count: int) -> list[tuple[str, str]]:
    """`count` (topic, paragraph) rows: the first paragraph of every topic, then the second, and so on.

    Raises:
        UserError: there are not so many.
    """
    seen: set[str] = set()
    topics = [(name, [p for p in _fresh(_paragraphs(raw), seen) if len(p) >= _LEAST_ROW]) for name, raw in _topics()]
    deepest = max(len(paragraphs) for _, paragraphs in topics)
    rows = [(name, paragraphs[i]) for i in range(deepest) for name, paragraphs in topics if i < len(paragraphs)]
    if len(rows) < count:
        raise UserError(f"data.source: builtin:docs-mini has {len(rows)} rows, not {count}: use builtin:docs")
    return rows[:count]


def _raw_documents() -> Iterator[tuple[str, str]]:
    yield from _topics()
    yield from _modules()


def _library() -> Path:
    return Path(sysconfig.get_paths()["stdlib"])


def _topics() -> list[tuple[str, str]]:
    path = _library() / "pydoc_data" / "topics.py"
    try:
        tree = ast.parse(path.read_bytes())
    except OSError:
        raise UserError(
            f"data.source: this Python has no {path}: install its documentation or name a file in data.source"
        ) from None
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            topics: dict[str, str] = ast.literal_eval(node.value)
            return [(f"topic/{name}", topics[name]) for name in sorted(topics)]
    raise UserError(f"data.source: {path} holds no topics: name a file in data.source")


def _modules() -> Iterator[tuple[str, str]]:
    root = _library()
    found = (path.relative_to(root) for path in root.rglob("*.py"))
    for path in sorted(path for path in found if _SKIPPED_FOLDERS.isdisjoint(path.parts)):
        try:
            with warnings.catch_warnings(action="ignore"):  # invalid escapes in other people's strings
                tree = ast.parse((root / path).read_bytes())
        except (SyntaxError, ValueError):  # templates and other versions' syntax are no prose for us
            continue
        docstrings = [
            text for node in _documented(tree) if len(text := ast.get_docstring(node) or "") >= _LEAST_DOCSTRING
        ]
        if docstrings:
            yield f"module/{path.with_suffix('').as_posix()}", "\n\n".join(docstrings)


_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _documented(tree: ast.Module) -> Iterator[_Documented]:
    """The module, its classes and functions in the order of the file; nothing inside functions, which is faster."""
    waiting: list[_Documented] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.Module | ast.ClassDef):
            waiting += [child for child in reversed(node.body) if isinstance(child, _Documented)]


def _paragraphs(raw: str) -> Iterator[str]:
    """Paragraphs of prose on one line each; doctests, tables and code left out."""
    for block in _BLANK_LINE.split(raw):
        lines = [line.strip() for line in block.split("\n")]
        if any(line.startswith(">>>") for line in lines):
            continue  # a doctest: the lines after the prompt are its output
        paragraph = _BULLET.sub("", " ".join(" ".join(lines).split()))
        if len(paragraph) >= _LEAST_PARAGRAPH and len(_PLAIN.findall(paragraph)) >= _LEAST_LETTERS * len(paragraph):
            yield paragraph


def _fresh(paragraphs: Iterator[str], seen: set[str]) -> Iterator[str]:
    for paragraph in paragraphs:
        if paragraph not in seen:
            seen.add(paragraph)
            yield paragraph

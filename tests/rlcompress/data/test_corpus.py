from __future__ import annotations

import sys

import pytest

from rlcompress.data import corpus
from rlcompress.data.corpus import builtin_documents, mini_rows
from rlcompress.errors import UserError


@pytest.fixture(scope="module")
def documents() -> list[tuple[str, str]]:
    return builtin_documents()


def test_the_corpus_is_large_ordered_and_named_once(documents: list[tuple[str, str]]) -> None:
    names = [name for name, _ in documents]
    assert sum(len(text) for _, text in documents) > 500_000
    assert len(names) == len(set(names)) > 200
    topics = [name for name in names if name.startswith("topic/")]
    assert names == sorted(topics) + sorted(n for n in names if n not in topics)
    assert not any("/test" in name or "idlelib" in name for name in names)


def test_documents_are_prose(documents: list[tuple[str, str]]) -> None:
    for name, text in documents:
        assert len(text) >= 200, name
        assert ">>> " not in text, name
        assert "\n" not in text, name
        assert sum(c.isalpha() or c in " ,." for c in text) / len(text) > 0.75, name


def test_it_imports_nothing() -> None:
    before = set(sys.modules)
    builtin_documents()
    assert {name for name in set(sys.modules) - before if not name.startswith("encodings")} == set()


def test_limit_takes_the_first(documents: list[tuple[str, str]]) -> None:
    assert builtin_documents(limit=3) == documents[:3]
    assert builtin_documents(limit=0) == []


def test_paragraphs_drop_code_tables_and_headings() -> None:
    raw = """Heading

    This paragraph is wrapped over two lines and
    belongs to the prose of this document.

    >>> print("doctests are code, and what follows is their output")
    doctests are code, and what follows is their output

    +------+-------+ +------+------+ +------+------+
    | a    |  b    | | c    | d    | | e    | f    |

    * A bullet that holds a whole sentence is prose without its mark.
    """
    assert list(corpus._paragraphs(raw)) == [
        "This paragraph is wrapped over two lines and belongs to the prose of this document.",
        "A bullet that holds a whole sentence is prose without its mark.",
    ]


def test_a_paragraph_stands_in_one_document_only() -> None:
    seen: set[str] = set()
    assert list(corpus._fresh(iter(["a", "b", "a"]), seen)) == ["a", "b"]
    assert list(corpus._fresh(iter(["b", "c"]), seen)) == ["c"]


@pytest.mark.parametrize("count", [10, 100, 1000])
def test_mini_rows_spread_over_topics(count: int) -> None:
    rows = mini_rows(count)
    assert len(rows) == len({text for _, text in rows}) == count
    assert len({topic for topic, _ in rows}) >= min(count, 50)
    assert rows == mini_rows(1000)[:count]


def test_more_mini_rows_than_there_are_is_an_error() -> None:
    with pytest.raises(UserError, match=r"builtin:docs-mini has .* use builtin:docs"):
        mini_rows(10**6)

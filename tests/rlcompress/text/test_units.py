"""Units tile a text, never cut a grapheme cluster, and share out its tokens."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.text import units
from rlcompress.text.segment import Segmenter
from rlcompress.text.units import overlaps, token_units, unit_costs, unit_starts
from rlcompress.words import IntArray

GRANULARITIES = ["word", "phrase", "sentence"]
ODD = [
    "a",
    "é",
    "e\u0301",
    "日",
    "の",
    "ไท",
    "한",
    "👍🏽",
    "👩‍👩‍👧",
    "🇩🇪",
    "\u200b",
    "\u200d",
    "\u00ad",
    "\ufeff",
    "\r\n",
    "\n\n",
    "\t",
]
ODD += ["1,2", "3.5", ".", "...", "'", "’", "\x1c", "\u0600", "\ud800", "(", "“", "”", "。", "!", "-", "_", "\u0301"]
texts = st.text(max_size=60) | st.lists(st.sampled_from([*ODD, " ", "word", "don't"]), max_size=25).map("".join)


def cut(text: str, granularity: str = "word") -> list[str]:
    bounds = [*unit_starts(text, granularity).tolist(), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(bounds)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t", [" \n\t"]),
        ("  Don't stop.\r\n\r\nGo ", ["  Don't ", "stop", ".\r\n\r\n", "Go "]),
        ("1,234.5 of 12:30 5%", ["1,234.5 ", "of ", "12:30 ", "5", "%"]),
        ("wait... what?!", ["wait", "... ", "what", "?", "!"]),
        ("日本語 テ。", ["日", "本", "語 ", "テ", "。"]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),
        ("한국어 텍스트", ["한국어 ", "텍스트"]),
        ("👩‍👩‍👧‍👦👍🏽 🇩🇪🇫🇷", ["👩‍👩‍👧‍👦", "👍🏽 ", "🇩🇪", "🇫🇷"]),
        ("cafe\u0301s na\u0308ive", ["cafe\u0301s ", "na\u0308ive"]),
        ("co\u00adop می‌خواهم", ["co\u00adop ", "می‌خواهم"]),
        ("a\x1cb\x85c", ["a\x1c", "b\x85", "c"]),
        ("x\ud800y", ["x", "\ud800", "y"]),
        ("snake_case f(x)", ["snake_case ", "f", "(", "x", ")"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert cut(text) == expected


def test_sentences() -> None:
    text = (
        'Dr. Smith (e.g. at the U.S. office) paid $3.14. He left!  "Why?" she said... ok\n\nHeading\n\n'
        "See Fig. 3 in file.py for more. 日本。はい！「そう。」終"
    )
    assert cut(text, "sentence") == [
        "Dr. Smith (e.g. at the U.S. office) paid $3.14. ",
        "He left!  ",
        '"Why?" ',
        "she said... ",
        "ok\n\n",
        "Heading\n\n",
        "See Fig. 3 in file.py for more. ",
        "日本。",
        "はい！",
        "「そう。」",
        "終",
    ]


def test_phrases() -> None:
    assert cut("The old man of the sea, who was well-known (as ever), left.", "phrase") == [
        "The old man ",
        "of the sea, ",
        "who was well-known ",
        "(as ever), ",
        "left.",
    ]


@given(texts)
def test_units_tile_the_text_and_are_nested_in_granularity(text: str) -> None:
    words = set(unit_starts(text).tolist())
    clusters = {found.start() for found in regex.finditer(r"\X", text)}
    for granularity in GRANULARITIES:
        units = cut(text, granularity)
        assert "".join(units) == text
        assert all(units)
        starts = unit_starts(text, granularity)
        assert set(starts.tolist()) <= words
        assert set(starts.tolist()) <= clusters
        assert starts.dtype == np.int64
        for unit in units[1:]:
            assert not unit[0].isspace(), "white space belongs to the unit before it"


@given(texts, st.sampled_from(GRANULARITIES))
def test_costs_sum_to_the_tokens(bpe: TextTokenizer, text: str, granularity: str) -> None:
    units = Segmenter(bpe, granularity)(text)
    ids_T, _ = bpe.encode(text)
    assert units.total_cost == len(ids_T)
    assert len(units.costs_N) == len(units.starts_N) == len(units.ends_N) == len(units.protected_N)


@given(texts)
def test_no_word_begins_within_a_grapheme_cluster(text: str) -> None:
    """The twin looks for clusters everywhere, not only round what is not ASCII."""
    whole = {found.start() for found in regex.compile(r"\X", regex.VERSION1).finditer(text)}
    assert set(units.word_starts(text).tolist()) <= whole | {0}
    bare = [found.start() for found in units._WORD.finditer(text, units._LEADING_SPACE.match(text).end())]
    expected = [0, *(start for start in bare[1:] if start in whole)] if text else []
    assert units.word_starts(text).tolist() == expected


def slow_token_units(text: str, starts_N: IntArray, spans_T2: IntArray) -> list[int]:
    owners = []
    for a, b in spans_T2.tolist():
        solid = [i for i in range(a, b) if not text[i].isspace()]
        anchor = solid[0] if solid else a
        owners.append(max([u for u, start in enumerate(starts_N.tolist()) if start <= anchor], default=0))
    return owners


def test_white_space_is_what_python_takes_for_it() -> None:
    """Every code point, those above the table's end too: a space before a letter goes to the letter's unit."""
    for code in range(0x110000):
        last = min(code, len(units._IS_SPACE) - 1)
        assert units._IS_SPACE[last] == chr(code).isspace()


@given(st.text(alphabet="ab \n.é日", min_size=1, max_size=25), st.data())
def test_token_units_equal_the_slow_twin(text: str, data: st.DataObject) -> None:
    edges = data.draw(st.lists(st.integers(0, len(text)), max_size=12).map(sorted))
    spans_T2 = np.array(list(itertools.pairwise(edges)), np.int64).reshape(-1, 2)
    starts_N = unit_starts(text)
    owners = token_units(text, starts_N, spans_T2)
    assert owners.tolist() == slow_token_units(text, starts_N, spans_T2)
    assert unit_costs(len(starts_N), owners).sum() == len(spans_T2)


def test_white_space_tokens_belong_to_the_unit_that_owns_the_space() -> None:
    text = "  a  b"
    starts_N = unit_starts(text)
    spans_T2 = np.array([[0, 2], [2, 3], [3, 4], [4, 6]])
    assert starts_N.tolist() == [0, 5]
    assert token_units(text, starts_N, spans_T2).tolist() == [0, 0, 0, 1]


@given(st.text(alphabet="ab ", min_size=1, max_size=20), st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20))))
def test_overlaps_equal_the_slow_twin(text: str, spans: list[tuple[int, int]]) -> None:
    starts_N = unit_starts(text)
    ends_N = np.append(starts_N[1:], len(text))
    expected = [any(max(a, start) < min(b, end) for a, b in spans) for start, end in zip(starts_N, ends_N, strict=True)]
    assert overlaps(starts_N, ends_N, spans).tolist() == expected


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize(
    "piece",
    ["the quick brown-fox, jumped over it. ", "word ", "字", ".", ". ", "\n ", "a", "👍🏽", "é(  ", "'", ".'", "a'"],
)
def test_long_texts_are_no_quadratic_work(granularity: str, piece: str) -> None:
    text = piece * (150_000 // len(piece))  # about 32k tokens of English
    started = time.process_time()
    assert sum(map(len, cut(text, granularity))) == len(text)
    assert time.process_time() - started < 5.0  # quadratic work would take minutes


def test_the_segmenter_remembers_and_travels(bpe: TextTokenizer) -> None:
    segmenter = Segmenter(bpe, protect=["numbers"])
    units = segmenter("Pay 12 now")
    assert segmenter("Pay 12 now") is units
    assert units.protected_N.tolist() == [False, True, False]
    assert segmenter("Pay 12 now", ["now"]).protected_N.tolist() == [False, True, True]
    assert segmenter.__getstate__()["_recent"] == {}

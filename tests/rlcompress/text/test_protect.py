"""Protected spans: what each name finds, what users may write, and that selection keeps all of it."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rlcompress.errors import UserError
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.selection import select
from rlcompress.text.json_spans import json_spans
from rlcompress.text.protect import NAMED_PATTERNS, protected_spans
from rlcompress.text.segment import Segmenter

FOUND = {
    "numbers": [
        ("costs -5.2% or $1,234.50 and 5€", ["-5.2%", "$1,234.50", "5€"]),
        ("3*4=12 on 2024-01-05 at 12:30", ["3*4=12", "2024-01-05", "12:30"]),
        (".5 and ½ and 1e-5 and ٣٤ and −7", [".5", "½", "1e-5", "٣٤", "−7"]),
        ("GPT4, item 3. Then (12), 10 %", ["4", "3", "12", "10 %"]),
        ("会议于2024年1月（初）5日起再召开3人中2人 第9章讨论若干问题4", ["2024年1月（初）5", "3人中2", "9", "4"]),
        ("none", []),
    ],
    "urls": [
        ("see https://a.b/c?d=(e). and www.x.org,", ["https://a.b/c?d=(e)", "www.x.org"]),
        ("<s3://bucket/key> me.you+z@ex-a.co.uk!", ["s3://bucket/key", "me.you+z@ex-a.co.uk"]),
        ("a:b c//d and x@y", []),
    ],
    "code": [
        ("use `x` or ``a`b`` here", ["`x`", "``a`b``"]),
        ("a\n```py\nprint(`1`)\n```\nb", ["```py\nprint(`1`)\n```"]),
        ("````\n```\n````x", ["````\n```\n````"]),
        ("~~~\nyes\n~~~ no ```open\nend", ["~~~\nyes\n~~~", "```open\nend"]),
        ("a lonely ` tick\n\nand ` another", []),
    ],
    "tags": [
        ("a <protect>b\nc</protect> d", ["<protect>b\nc</protect>"]),
        ("<PROTECT>open to the end", ["<PROTECT>open to the end"]),
    ],
    "json": [
        ('call {"a": [1, {"b": null}]} now', ['{"a": [1, {"b": null}]}']),
        ('{"a": "]}\\""} {x} [not] {} [1,]', ['{"a": "]}\\""}', "{}"]),
        ('[{"a": 1}, {"b": 2}, and cut', ['{"a": 1}', '{"b": 2}']),
        ("[1}", []),
    ],
}


@pytest.mark.parametrize(("name", "text", "expected"), [(n, t, e) for n, cases in FOUND.items() for t, e in cases])
def test_a_name_finds(name: str, text: str, expected: list[str]) -> None:
    assert [text[a:b] for a, b in protected_spans(text, [name])] == expected


def test_every_name_is_tested() -> None:
    assert set(FOUND) == set(NAMED_PATTERNS)


def test_spans_are_sorted_and_merged_and_never_empty() -> None:
    assert protected_spans("abcdef", ["cd", "bc", "z*", "ef", "a"]) == [(0, 6)]
    assert protected_spans("abcdef", ["f", "b"]) == [(1, 2), (5, 6)]
    assert protected_spans("abc", []) == []


def test_a_bad_expression_is_the_users() -> None:
    with pytest.raises(UserError, match=r"'\(' is no regular expression.*numbers"):
        protected_spans("text", ["("])


def test_an_endless_expression_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlcompress.text.protect._SECONDS_A_PATTERN", 0.1)
    with pytest.raises(UserError, match="took over"):
        protected_spans("a" * 60 + "b", ["(a|aa)+c"])


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: isinstance(value, list | dict))


@given(values, st.sampled_from([None, 1]), st.booleans())
def test_every_json_value_is_found_whole(value: object, indent: int | None, ascii_only: bool) -> None:
    written = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    text = f"before {written} after"
    assert list(json_spans(text)) == [(7, 7 + len(written))]


@given(st.text(alphabet='[]{},:"\\ a10', max_size=30))
@example('["\\1"]')
@example("[01]")
def test_json_spans_equal_the_slow_twin(text: str) -> None:
    """The twin tries Python's own decoder at every bracket."""
    decoder = json.JSONDecoder()
    expected, position = [], 0
    while position < len(text):
        if text[position] in "[{":
            try:
                end = decoder.raw_decode(text, position)[1]
            except json.JSONDecodeError:
                pass
            else:
                expected.append((position, end))
                position = end
                continue
        position += 1
    found = list(json_spans(text))
    assert found == [span for span in expected if span in found]  # all ours are theirs, in order
    # theirs beyond ours lie inside the strings of what is no JSON as a whole
    assert all('"' in text for span in expected if span not in found)


@pytest.mark.parametrize("name", list(NAMED_PATTERNS))
@pytest.mark.parametrize(
    "piece",
    ["[", '{"a":', "[1,", "1", "1-", "-", "`", "` ", "~~~\n", "a.b-", "1年", "a@", "http://", "<protect>", "x", '["'],
)
def test_time_is_linear_on_hostile_text(name: str, piece: str) -> None:
    started = time.process_time()
    protected_spans(piece * (100_000 // len(piece)), [name])
    assert time.process_time() - started < 5.0


PIECES = [
    "plain words ",
    "12.5% ",
    "-3 ",
    "2024-01-05, ",
    "http://a.b/c ",
    "`code` ",
    "```\nx y\n```\n",
    "日本語12",
    "年3月",
    "👩‍👩‍👧 ",
]
PIECES += ['{"k": [1, "v"]} ', "<protect>keep me</protect> ", "me@x.org ", "\r\n", "e\u0301 "]


@given(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=12),
    st.lists(st.sampled_from([*NAMED_PATTERNS, "wor", r"\bme\b"]), min_size=1, max_size=3),
    st.sampled_from(["word", "phrase", "sentence"]),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=150)
def test_protected_text_is_kept_byte_for_byte(
    bpe: TextTokenizer, pieces: list[str], patterns: list[str], granularity: str, rate: float, seed: int
) -> None:
    text = "".join(pieces)
    units = Segmenter(bpe, granularity, patterns)(text)
    compression = select(units, np.random.default_rng(seed).normal(size=len(units)), rate)
    kept = compression.spans
    for start, end in protected_spans(text, patterns):
        assert any(a <= start and end <= b for a, b in kept)
        assert text[start:end] in compression.text

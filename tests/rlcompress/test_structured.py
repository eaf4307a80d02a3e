"""JSON in, JSON out: what stays, what becomes shorter, and that everything else keeps its bytes."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcompress.compressor import Compressor
from rlcompress.errors import UserError
from rlcompress.models.tokenizer import train_tokenizer
from rlcompress.structured import compress_json, is_json
from tests.rlcompress.small_models import TEXTS, small_scorer
from tests.rlcompress.test_artifact import manifest

READER = train_tokenizer(TEXTS * 3, 420)
TEXT = st.lists(st.sampled_from([*TEXTS, '"', "\\", "\n", "\u2028", "[MASK]"]) | st.text(max_size=6), max_size=6).map(
    " ".join
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)


@pytest.fixture(scope="module")
def compressor() -> Compressor:
    return Compressor(manifest(protect=()), small_scorer(READER), READER)


def first_word(texts: list[str]) -> list[str]:
    """A stand-in that is easy to foresee."""
    return [text.split()[0] for text in texts]


def strings(value: Any) -> list[str]:
    """String values in order, by the naive recursion."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in strings(one)]


def blank(value: Any) -> Any:
    """The same value with its strings taken out: types, keys, order, numbers."""
    if isinstance(value, dict):
        return [(key, blank(one)) for key, one in value.items()]
    return [blank(one) for one in value] if isinstance(value, list) else "" if isinstance(value, str) else repr(value)


@settings(max_examples=60)
@given(VALUES, st.sampled_from([None, 1]), st.booleans(), st.floats(0.05, 1.0))
def test_any_json_stays_json(
    compressor: Compressor, value: Any, indent: int | None, escaped: bool, rate: float
) -> None:
    """Structure, keys, numbers and layout; short strings whole, long ones as `compress` has them; text as value."""
    before = copy.deepcopy(value)
    text = json.dumps(value, indent=indent, ensure_ascii=escaped)
    made = compressor.compress_json(text, rate, min_tokens=12)
    shorter = json.loads(made)
    assert blank(shorter) == blank(value)
    if not isinstance(value, str):
        assert compressor.compress_json(value, rate, min_tokens=12) == shorter
        assert value == before
    assert json.dumps(shorter, indent=indent, ensure_ascii=escaped) == made
    for old, new in zip(strings(value), strings(shorter), strict=True):
        if compressor.count_tokens(old) < 12 or (old.isascii() and not re.search(r"\S\s+\S", old)):
            assert new == old
        elif not is_json(old):
            assert compressor.count_tokens(new) <= compressor.count_tokens(old)
            assert new.strip() or not old.strip()


@settings(max_examples=25)
@given(VALUES, st.floats(0.05, 1.0), st.floats(0.05, 1.0))
def test_a_higher_rate_loses_no_word(compressor: Compressor, value: Any, low: float, high: float) -> None:
    low, high = sorted((low, high))
    few, many = (strings(compressor.compress_json([value], rate, min_tokens=8)) for rate in (low, high))
    for source, small, large in zip(strings([value]), few, many, strict=True):
        if small != source:
            rest = iter(large)
            assert all(character in rest for character in small if not character.isspace()), "a subsequence"


def test_only_long_texts_that_read_as_texts() -> None:
    value = {
        "id": "0123456789abcdef" * 9,
        "url": "https://example.org/" + "a/" * 40,
        "body": "one two",
        "n": [1, "x y"],
    }
    expected = {**value, "body": "one", "n": [1, "x"]}
    assert compress_json(value, first_word) == expected
    assert compress_json(["日本語の"], lambda texts: ["日"]) == ["日"], "a script without spaces"


def test_every_byte_between_the_strings_stays() -> None:
    head, middle = '\t{ "a" :1.0E+2, "a": ', ' ,"b":[ 1e999,-0, '
    text = rf"""{head}"one \u0074wo \"three\""{middle}"é two", "x:{{ y" ,{{}}, [] ], "c": "\ud800 x"}}""" + "\r\n"
    made = rf"""{head}"one"{middle}"é", "x:{{" ,{{}}, [] ], "c": "\ud800"}}""" + "\r\n"
    assert compress_json(text, first_word) == made
    assert compress_json('"é x"', lambda texts: ["é\ud800"]) == '"\\u00e9\\ud800"', "no lone surrogate is written raw"
    assert compress_json(' "one two" ', first_word) == ' "one" '
    assert compress_json("12", first_word) == "12"


def test_json_inside_a_string_stays_json() -> None:
    inner = json.dumps({"q": "one two", "k": 3, "deep": json.dumps(["three four"])})
    made = compress_json({"arguments": inner, "prose": "[not json] five"}, first_word)
    assert made["prose"] == "[not"
    found = json.loads(made["arguments"])
    assert (found["q"], found["k"], json.loads(found["deep"])) == ("one", 3, ["three"])
    assert compress_json({"arguments": inner}, first_word, skip=["arguments"])["arguments"] == inner
    kept = json.loads(compress_json({"arguments": inner}, first_word, skip=["arguments.q"])["arguments"])
    assert (kept["q"], json.loads(kept["deep"])) == ("one two", ["three"])


@pytest.mark.parametrize(
    ("how", "changed"),
    [
        ({}, ["title", "items.0.text", "items.1.text", "items.1.tags.0"]),
        ({"keys": ["text"]}, ["items.0.text", "items.1.text"]),
        ({"keys": ["items"]}, ["items.0.text", "items.1.text", "items.1.tags.0"]),
        ({"keys": ["items.*.text"], "skip": ["items.0"]}, ["items.1.text"]),
        ({"keys": ["tags", "t?tle"]}, ["title", "items.1.tags.0"]),
        ({"skip": ["*"]}, []),
        ({"keys": []}, []),
        ({"keys": ["text"], "skip": ["items"]}, []),
    ],
)
def test_key_paths(how: dict[str, Any], changed: list[str]) -> None:
    value = {"title": "a b", "items": [{"text": "c d"}, {"text": "e f", "tags": ["g h"]}]}
    places = ["title", "items.0.text", "items.1.text", "items.1.tags.0"]
    for made in (
        compress_json(value, first_word, **how),
        json.loads(compress_json(json.dumps(value), first_word, **how)),
    ):
        assert [place for place, text in zip(places, strings(made), strict=True) if " " not in text] == changed


@pytest.mark.parametrize(
    ("document", "how", "message"),
    [
        ("{", {}, "is no JSON"),
        ("plain words", {}, "is no JSON"),
        ("", {}, "is no JSON"),
        ("[" * 100_000 + "]" * 100_000, {}, "nested too deeply"),
        ({}, {"keys": "text"}, r'keys takes a list of patterns: write \["text"\]'),
        ({}, {"skip": "text"}, "skip takes a list"),
    ],
)
def test_mistakes(document: Any, how: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        compress_json(document, first_word, **how)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UserError, match="nested too deeply"):
        compress_json(deep, first_word)
    while deep:  # freed level by level: a destructor would recurse
        deep = deep[0]


def test_the_compressor_passes_everything_on(compressor: Compressor) -> None:
    text = " ".join([TEXTS[0], TEXTS[4]])
    plain, asked = (compressor.compress_json({"a": text}, 0.5, question=question)["a"] for question in (None, "Who?"))
    assert plain == compressor.compress(text, 0.5).text
    assert asked == compressor.compress(text, 0.5, question="Who?").text
    assert "1,234.50" in compressor.compress_json({"a": text}, 0.3, protect=["numbers"])["a"]
    assert compressor.compress_json({"a": text}, 0.3, min_tokens=10_000) == {"a": text}

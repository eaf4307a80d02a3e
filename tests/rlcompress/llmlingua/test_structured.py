"""Structured prompts, JSON and `recover`, with every kind of model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcompress.errors import UserError
from rlcompress.llmlingua import PromptCompressor
from rlcompress.llmlingua.tags import Segment, segments
from tests.rlcompress.llmlingua.checkpoints import LONG, PROSE, READER
from tests.rlcompress.llmlingua.test_prompts import KINDS, is_subsequence, load


@pytest.fixture(params=KINDS)
def compressor(request: pytest.FixtureRequest, models: dict[str, Path]) -> PromptCompressor:
    return load(request.param, models)


def tokens(text: str) -> int:
    return len(READER.encode(text)[0])


# ------------------------------------------------------------------------------------------------ tags


def test_tags_are_read_in_any_order_and_nothing_is_lost() -> None:
    text = "a <llmlingua, rate=0.3>b < c</llmlingua> d<llmlingua, compress=False, rate = .5>e</llmlingua>"
    text += "<llmlingua>f</llmlingua>"
    assert segments(text, "x") == [
        Segment("a "),
        Segment("b < c", 0.3),
        Segment(" d"),
        Segment("e", 0.5, compress=False),
        Segment("f"),
    ]
    assert segments("no tags", "x") == [Segment("no tags")]
    assert segments("", "x") == [Segment("")]
    assert segments("<llmlingua, rate=0>gone</llmlingua>", "x") == [Segment("gone", 0.0)]


@given(st.lists(st.tuples(st.text(st.characters(exclude_characters="<>")), st.sampled_from(["", ", rate=0.5"]))))
def test_without_tags_the_text_is_what_it_was(parts: list[tuple[str, str]]) -> None:
    tagged = "".join(f"<llmlingua{setting}>{text}</llmlingua>" for text, setting in parts)
    assert "".join(one.text for one in segments(tagged, "x")) == "".join(text for text, _ in parts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<llmlingua>a", "never closed"),
        ("a</llmlingua>", "closes nothing at character 1"),
        ("<llmlingua><llmlingua>a</llmlingua></llmlingua>", "inside another at character 11"),
        ("<llmlingua, ratio=0.5>a</llmlingua>", "'ratio=0.5' is no setting"),
        ("<llmlingua, rate=3>a</llmlingua>", "rates lie between 0 and 1"),
    ],
)
def test_tags_that_make_no_sense(compressor: PromptCompressor, text: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"^context\[1\].*{message}"):
        compressor.structured_compress_prompt(["fine", text])


def test_parts_keep_their_rates(compressor: PromptCompressor) -> None:
    """What must stay stays byte for byte, what has rate 0 goes, the rest keeps the call's rate."""
    text = (
        f"<llmlingua, compress=False>Speaker 4:</llmlingua><llmlingua, rate=0.4> {LONG}</llmlingua>"
        f"<llmlingua, rate=0>{PROSE[0]}</llmlingua>{LONG}"
    )
    found = compressor.structured_compress_prompt([text], rate=0.7)["compressed_prompt"]
    assert found.startswith("Speaker 4:")
    assert "<llmlingua" not in found
    total = tokens("Speaker 4: " + LONG + PROSE[0] + LONG)
    expected = (0.4 * tokens(LONG) + 0.7 * tokens(LONG)) / total
    assert abs(tokens(found) / total - expected) < 0.08
    whole = compressor.structured_compress_prompt(text.replace("0.4", "1.0"), rate=1.0)["compressed_prompt"]
    assert whole == "Speaker 4: " + LONG + LONG


def test_untouched_parts_survive_the_filter_of_contexts(compressor: PromptCompressor) -> None:
    contexts = [*PROSE, "<llmlingua, compress=False>Remember this.</llmlingua>"]
    asked: dict[str, Any] = {"target_token": 5, "context_budget": "*1"}
    assert "Remember this." in compressor.structured_compress_prompt(contexts, **asked)["compressed_prompt"]
    lost = [
        compressor.structured_compress_prompt(
            contexts, strict_preserve_uncompressed=False, force_context_ids=[0], force_context_number=1, **asked
        )["compressed_prompt"]
    ]
    assert all("Remember" not in text for text in lost)


def test_instruction_and_question_stand_round_it(compressor: PromptCompressor) -> None:
    found = compressor.structured_compress_prompt(PROSE, "Read.", "Who paid?", 0.6)["compressed_prompt"]
    assert found.startswith("Read.\n\n")
    assert found.endswith("\n\nWho paid?")


# ------------------------------------------------------------------------------------------------ JSON

DATA: dict[str, Any] = {
    "id": 987,
    "name": 'Ann Old-Man, "the" payer',
    "story": LONG,
    "score": "3.75",
    "alive": "True",
    "notes": [PROSE[0], PROSE[1], 7],
    "deep": {"one": PROSE[3], "two": [PROSE[0], None], "n": 1.5},
    "empty": "",
}


def setting(value_type: str, rate: float = 0.4, *, compress: bool = True, pair_remove: bool = False) -> dict[str, Any]:
    return {"rate": rate, "compress": compress, "value_type": value_type, "pair_remove": pair_remove}


CONFIG = {
    "id": setting("int"),
    "name": setting("str", compress=False),
    "story": setting("str"),
    "score": setting("float"),
    "alive": setting("bool"),
    "notes": setting("list", 0.5),
    "deep": setting("dict", 0.5),
    "empty": setting("string"),
}


def test_json_in_json_out(compressor: PromptCompressor) -> None:
    found = compressor.compress_json(DATA, CONFIG)
    assert set(found) == {"compressed_prompt", "origin_tokens", "compressed_tokens", "ratio", "rate", "saving"}
    result = found["compressed_prompt"]
    assert json.loads(json.dumps(result)) == result
    assert list(result) == list(DATA)
    assert (result["id"], result["name"], result["score"], result["alive"]) == (987, DATA["name"], 3.75, True)
    assert is_subsequence(result["story"], LONG)
    assert abs(tokens(result["story"]) / tokens(LONG) - 0.4) < 0.08
    assert is_subsequence(result["notes"][0], PROSE[0])
    assert result["notes"][2] == 7
    assert is_subsequence(result["deep"]["one"], PROSE[3])
    assert result["deep"]["two"][1:] == [None]
    assert (result["deep"]["n"], result["empty"]) == (1.5, "")
    assert found["origin_tokens"] == tokens(json.dumps(DATA, ensure_ascii=False))
    assert found["compressed_tokens"] == tokens(json.dumps(result, ensure_ascii=False)) < found["origin_tokens"]


STRINGS = st.text(max_size=12) | st.sampled_from([*PROSE, '"', "\\", "},{", "</llmlingua>"])
VALUES = st.recursive(STRINGS | st.none() | st.booleans() | st.integers(), lambda v: st.lists(v, max_size=3))
OBJECTS = st.dictionaries(STRINGS, st.lists(VALUES, max_size=3), max_size=4)


@settings(max_examples=25)
@given(OBJECTS, st.floats(0.0, 1.0))
def test_the_form_never_breaks(models: dict[str, Path], data: dict[str, Any], rate: float) -> None:
    one = load("policy", models)
    result = one.compress_json(data, {key: setting("list", rate) for key in data})["compressed_prompt"]

    def check(before: Any, after: Any) -> None:
        if isinstance(before, str):
            assert is_subsequence(after, before)
        elif isinstance(before, list):
            assert len(before) == len(after)
            for a, b in zip(before, after, strict=True):
                check(a, b)
        else:
            assert before == after

    assert list(result) == list(data)
    for key in data:
        check(data[key], result[key])
    unchanged = one.compress_json(data, {key: setting("list", 1.0) for key in data})
    assert unchanged["compressed_prompt"] == data


def test_pairs_go_only_where_they_may(compressor: PromptCompressor) -> None:
    data = {str(i): text for i, text in enumerate(PROSE)}
    config = {key: setting("str", pair_remove=key != "2") for key in data}
    asked: dict[str, Any] = {"target_token": 1, "context_budget": "*1"}
    found = compressor.compress_json(data, config, use_keyvalue_level_filter=True, **asked)["compressed_prompt"]
    assert list(found) == ["2"]
    assert list(compressor.compress_json(data, config, **asked)["compressed_prompt"]) == list(data)
    question = "What is extraordinary about the assertion?"
    first = compressor.compress_json(
        data,
        config,
        question=question,
        use_keyvalue_level_filter=True,
        rank_method="bm25",
        reorder_keyvalue="sort",
        rate=1.0,
    )
    assert next(iter(first["compressed_prompt"])) == "3"


def test_json_and_its_settings_may_come_as_text_and_file(compressor: PromptCompressor, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(CONFIG), encoding="utf-8")
    assert compressor.compress_json(json.dumps(DATA), str(file)) == compressor.compress_json(DATA, CONFIG)
    assert compressor.compress_json({}, {})["compressed_prompt"] == {}


@pytest.mark.parametrize(
    ("data", "config", "message"),
    [
        ("[1]", {}, "json_data is list"),
        ("{", {}, "json_data is no JSON"),
        ({"a": "x"}, {}, "differ in the key 'a'"),
        ({}, {"b": setting("str")}, "differ in the key 'b'"),
        ({"a": "x"}, {"a": {"rate": 0.5}}, "json_config.a.compress is missing"),
        ({"a": "x"}, {"a": setting("set")}, "json_config.a.value_type is 'set'"),
        ({"a": "x"}, {"a": setting("str", 2.0)}, "json_config.a.rate is 2"),
        ({"a": "x"}, {"a": setting("int")}, "json_data.a is no int"),
        ({"a": "x"}, {"a": setting("list")}, "json_data.a is no list"),
        ({"a": "maybe"}, {"a": setting("bool")}, "json_data.a is no bool"),
        ({"a": "x"}, 3, "json_config is int"),
        ({"a": "x"}, "/nowhere.yaml", "json_config cannot be read"),
    ],
)
def test_json_mistakes(models: dict[str, Path], data: Any, config: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load("policy", models).compress_json(data, config)


# ------------------------------------------------------------------------------------------------ recover


def test_recover_puts_the_originals_words_back(compressor: PromptCompressor) -> None:
    original = "In May the old man, who was well-known, paid 1,234.50 of it. The rest is silence."
    compressed = "old man paid 1,234.50. rest silence"
    answer = compressor.recover(original, compressed, "I think old man paid it all")
    assert answer == "I think old man, who was well-known, paid it all"
    assert compressor.recover(original, compressed, "Nothing of that kind") == "Nothing of that kind"
    assert compressor.recover(original, compressed, "") == ""
    assert compressor.recover("", "", "an answer") == "an answer"
    assert compressor.recover(original, original, original) == original

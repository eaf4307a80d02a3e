"""Chat messages: shapes, roles, what is left alone and why, questions, and that a prefix never changes."""

from __future__ import annotations

import copy
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcompress.compressor import Compressor
from rlcompress.errors import UserError
from rlcompress.models.tokenizer import train_tokenizer
from rlcompress.text.protect import protected_spans
from tests.rlcompress.small_models import TEXTS, small_scorer
from tests.rlcompress.test_artifact import manifest

READER = train_tokenizer(TEXTS * 3, 420)
LONG = " ".join([TEXTS[0], TEXTS[1], TEXTS[4]])
OTHER = " ".join([TEXTS[4], TEXTS[1]])
Message = dict[str, Any]

BODIES = st.sampled_from([*TEXTS, LONG, OTHER, "", " ", json.dumps({"rows": [LONG, 12]}), f"```\n{TEXTS[0]}\n```"])
MARKS = st.sampled_from([{}, {}, {}, {"cache_control": {"type": "ephemeral"}}])


def part(text: str, mark: Message) -> Message:
    return {"type": "text", "text": text, **mark}


def result(content: Any, mark: Message) -> Message:
    return {"type": "tool_result", "tool_use_id": "t1", "content": content, **mark}


PARTS = st.builds(part, BODIES, MARKS)
OPAQUE = st.sampled_from(
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "tool_use", "id": "t1", "name": "find", "input": {"query": LONG}},
        {"type": "thinking", "thinking": LONG, "signature": "s"},
    ]
)
CONTENTS = (
    BODIES | st.none() | st.lists(PARTS | OPAQUE | st.builds(result, BODIES | st.lists(PARTS, max_size=2), MARKS))
)
CALLS = [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": json.dumps({"query": LONG})}}]
MESSAGES = st.lists(
    st.builds(
        lambda role, content, more: {"role": role, "content": content, **more},
        st.sampled_from(["system", "developer", "user", "assistant", "tool"]),
        CONTENTS,
        st.sampled_from([{}, {"name": "n"}, {"tool_calls": CALLS}, {"tool_call_id": "c1"}]),
    ),
    max_size=5,
)


@pytest.fixture(scope="module")
def compressor() -> Compressor:
    return Compressor(manifest(protect=()), small_scorer(READER), READER)


def texts(value: Any, role: str) -> list[tuple[str, str, Message]]:
    """(text, role, block) of each text that might be compressed, by a naive walk."""
    if isinstance(value, list):
        return [found for one in value for found in texts(one, role)]
    if isinstance(value, dict) and value.get("type") == "text":
        return [(value["text"], role, value)]
    if isinstance(value, dict) and value.get("type") == "tool_result":
        inner = texts(value["content"], "tool")
        return [
            (text, who, {**block, **{k: v for k, v in value.items() if k == "cache_control"}})
            for text, who, block in inner
        ]
    return [(value, role, {})] if isinstance(value, str) else []


def blank(value: Any) -> Any:
    """The same value without the texts that may be compressed."""
    if isinstance(value, list):
        return [blank(one) for one in value]
    if isinstance(value, dict) and value.get("type") in ("text", "tool_result"):
        return [(key, blank(one) if key in ("text", "content") else one) for key, one in value.items()]
    return "" if isinstance(value, str) else value


@settings(max_examples=40)
@given(MESSAGES, st.floats(0.1, 1.0), st.sampled_from([None, "Who paid?"]))
def test_any_conversation(compressor: Compressor, messages: list[Message], rate: float, question: str | None) -> None:
    """Same shape; system prompts, marked blocks, tool calls and short texts to the byte; the account adds up."""
    before = copy.deepcopy(messages)
    done = compressor.compress_messages(messages, rate, question=question, min_tokens=20)
    assert messages == before, "the caller's messages are not changed"
    assert len(done.messages) == len(done.account) == len(messages)
    for message, new, account in zip(messages, done.messages, done.account, strict=True):
        assert list(new) == list(message)
        assert {**new, "content": None} == {**message, "content": None}
        assert blank(new["content"]) == blank(message["content"])
        sources, made = texts(message["content"], message["role"]), texts(new["content"], message["role"])
        assert len(account.texts) == len(sources)
        for (source, role, block), (text, _, _), one in zip(sources, made, account.texts, strict=True):
            tokens = compressor.count_tokens(source)
            assert (one.tokens_before, one.tokens_after) == (tokens, compressor.count_tokens(text))
            assert one.tokens_after <= one.tokens_before
            assert text.strip() or not source.strip()
            if "cache_control" in block:
                assert (text, one.status) == (source, "cache_control")
            elif role not in ("user", "tool"):
                assert (text, one.status) == (source, "role")
            elif source.startswith("{"):
                assert json.loads(text)["rows"][1] == 12
            elif tokens < 20:
                assert (text, one.status) == (source, "unchanged")
            else:
                alone = compressor.compress(source, rate, question=question, protect=["code", "json", "tags", "urls"])
                assert (text, one.status) == (alone.text, alone.status)
        assert account.tokens_before == sum(one.tokens_before for one in account.texts)
    assert done.tokens_after == sum(account.tokens_after for account in done.account) <= done.tokens_before


@settings(max_examples=20)
@given(MESSAGES, MESSAGES, st.sampled_from([None, "Who paid?", "preceding_user"]))
def test_a_longer_conversation_leaves_its_beginning_as_it_was(
    compressor: Compressor, messages: list[Message], more: list[Message], question: str | None
) -> None:
    fresh = Compressor(manifest(protect=()), small_scorer(READER), READER)
    short = compressor.compress_messages(messages, 0.5, question=question, min_tokens=20)
    long = fresh.compress_messages([*messages, *more], 0.5, question=question, min_tokens=20)
    assert json.dumps(long.messages[: len(messages)]) == json.dumps(short.messages)
    assert long.account[: len(messages)] == short.account


@settings(max_examples=20)
@given(MESSAGES, st.floats(0.1, 1.0), st.floats(0.1, 1.0))
def test_a_higher_rate_loses_no_word(compressor: Compressor, messages: list[Message], low: float, high: float) -> None:
    low, high = sorted((low, high))
    few, many = (compressor.compress_messages(messages, rate, min_tokens=20) for rate in (low, high))
    for message, a, b in zip(messages, few.messages, many.messages, strict=True):
        rows = (texts(one["content"], one["role"]) for one in (message, a, b))
        for (source, _, _), (small, _, _), (large, _, _) in zip(*rows, strict=True):
            if small != source:
                rest = iter(large)
                assert all(character in rest for character in small if not character.isspace()), "a subsequence"


@settings(max_examples=20)
@given(MESSAGES, st.floats(0.05, 1.0))
def test_what_is_protected_stays(compressor: Compressor, messages: list[Message], rate: float) -> None:
    """Every protected span of every text is in what became of that text, as often and in that order."""
    done = compressor.compress_messages(messages, rate, min_tokens=20, protect=["numbers", "code", "again"])
    for message, new in zip(messages, done.messages, strict=True):
        rows = (texts(one["content"], one["role"]) for one in (message, new))
        for (source, _, _), (made, _, _) in zip(*rows, strict=True):
            at = 0
            for start, end in protected_spans(source, ["numbers", "code", "again"]):
                at = made.index(source[start:end], at) + end - start


def test_two_threads_give_what_one_gives(compressor: Compressor) -> None:
    conversations = [[{"role": "user", "content": f"{i} {LONG}"}, {"role": "tool", "content": OTHER}] for i in range(8)]
    serial = [compressor.compress_messages(one, 0.5, min_tokens=20) for one in conversations]
    fresh = Compressor(manifest(protect=()), small_scorer(READER), READER)
    with ThreadPoolExecutor(2) as pool:
        threaded = list(pool.map(lambda one: fresh.compress_messages(one, 0.5, min_tokens=20), conversations * 2))
    assert threaded == serial * 2


def conversation() -> list[Message]:
    return [
        {"role": "system", "content": LONG},
        {"role": "user", "content": f"Was he known? {LONG}"},
        {"role": "assistant", "content": OTHER, "tool_calls": CALLS},
        {"role": "tool", "tool_call_id": "c1", "content": OTHER},
        {"role": "user", "content": [part(f"Who paid? {LONG}", {})]},
    ]


def statuses(compressor: Compressor, **how: Any) -> list[str]:
    done = compressor.compress_messages(conversation(), 0.5, min_tokens=20, **how)
    return [one.texts[0].status for one in done.account]


def test_roles_are_chosen(compressor: Compressor) -> None:
    assert statuses(compressor) == ["role", "ok", "role", "ok", "ok"]
    assert statuses(compressor, roles=["assistant", "system"]) == ["ok", "role", "ok", "role", "role"]
    assert statuses(compressor, roles=[]) == ["role"] * 5
    assert statuses(compressor, keep_recent=2) == ["role", "ok", "role", "recent", "recent"]
    done = compressor.compress_messages(conversation(), roles={"tool": 0.2, "user": 0.8}, min_tokens=20)
    assert done.messages[3]["content"] == compressor.compress(OTHER, 0.2).text
    assert done.messages[1]["content"] == compressor.compress(f"Was he known? {LONG}", 0.8).text
    assert done.account[0].left_alone == ("role",)
    assert done.account[1].left_alone == ()


def test_questions(compressor: Compressor) -> None:
    """What the user asked last leaves itself alone; what the user asked before a tool's text is known at that time."""
    first, last = conversation()[1]["content"], conversation()[4]["content"][0]["text"]

    def tools(**how: Any) -> str:
        made: str = compressor.compress_messages(conversation(), 0.4, min_tokens=20, **how).messages[3]["content"]
        return made

    for kind, question in (("last_user", last), ("preceding_user", first), ("Who?", "Who?"), (None, None)):
        assert tools(question=kind) == compressor.compress(OTHER, 0.4, question=question).text
    assert statuses(compressor, question="last_user") == ["role", "ok", "role", "ok", "question"]
    assert statuses(compressor, question="preceding_user") == ["role", "ok", "role", "ok", "ok"]
    mixed = [{"role": "user", "content": [result(OTHER, {}), part(f"Who paid? {LONG}", {})]}]
    done = compressor.compress_messages(mixed, 0.4, question="last_user", min_tokens=20)
    assert [one.status for one in done.account[0].texts] == ["ok", "question"]
    assert compressor.compress_messages([], 0.5, question="last_user").messages == []
    more = [*conversation(), {"role": "user", "content": "And why?"}]

    def asked(messages: list[Message]) -> list[Message]:
        rates = [step / 20 for step in range(3, 18)]
        how: dict[str, Any] = {"question": "last_user", "min_tokens": 20}
        return [compressor.compress_messages(messages, rate, **how).messages[3] for rate in rates]

    assert asked(more[:-1]) != asked(more), "what is asked for the last question changes with it"


def test_code_and_citations_stay(compressor: Compressor) -> None:
    code = f"{LONG}\n```python\nprint('{TEXTS[0]}')\n```\n"
    cited = {**part(LONG, {}), "citations": [{"cited_text": "x"}]}
    plain = {**part(LONG, {}), "citations": None}
    done = compressor.compress_messages(
        [{"role": "user", "content": [part(code, {}), cited, plain]}], 0.6, min_tokens=20
    )
    assert (
        "```python\nprint('The old man, who was well-known, paid 1,234.50 of it.')\n```"
        in done.messages[0]["content"][0]["text"]
    )
    assert [one.status for one in done.account[0].texts][1:] == ["citations", "ok"]
    assert done.messages[0]["content"][1] is cited
    assert done.account[0].texts[0].place == ("content", 0, "text")
    whole = compressor.compress_messages(
        [{"role": "user", "content": LONG, "cache_control": {"type": "ephemeral"}}], 0.5
    )
    assert whole.account[0].left_alone == ("cache_control",)


@pytest.mark.parametrize(
    ("messages", "how", "message"),
    [
        (["hello"], {}, r"messages\[0\] is no message"),
        ([{"role": "user", "content": "x"}, {"content": "x"}], {}, r"messages\[1\] is no message"),
        ([{"role": "user", "content": LONG}], {"roles": "user"}, r'write \["user"\]'),
        ([{"role": "user", "content": LONG}], {"rate": 2}, "rate must be above 0"),
        ([{"role": "user", "content": LONG}], {"protect": ["("]}, "no regular expression"),
    ],
)
def test_mistakes(compressor: Compressor, messages: list[Any], how: Message, message: str) -> None:
    with pytest.raises(UserError, match=message):
        compressor.compress_messages(messages, **how)

"""`compress_prompt` with every kind of model: budgets, bytes, what must stay, what it refuses, the results' form."""

from __future__ import annotations

import inspect
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcompress import Compressor
from rlcompress.errors import UserError
from rlcompress.llmlingua import PromptCompressor
from rlcompress.llmlingua.arguments import ARGUMENTS, RANK_METHODS, REFUSED_METHODS
from tests.rlcompress.llmlingua.checkpoints import KINDS, LONG, PROSE, is_subsequence, load, spent, tokens


def test_the_form_of_a_result(compressor: PromptCompressor, kind: str) -> None:
    found = compressor(PROSE[0], rate=0.5)
    keys = {"compressed_prompt", "origin_tokens", "compressed_tokens", "ratio", "rate", "saving"}
    assert set(found) == (keys if kind == "causal" else keys | {"compressed_prompt_list"})
    assert found["origin_tokens"] == tokens(PROSE[0])
    assert found["compressed_tokens"] == tokens(found["compressed_prompt"])
    ratio = found["origin_tokens"] / found["compressed_tokens"]
    assert found["ratio"] == f"{ratio:.1f}x"
    assert found["rate"] == f"{100 / ratio:.1f}%"
    assert re.fullmatch(r", Saving \$-?\d+\.\d in GPT-4\.", found["saving"])


def test_the_budget_is_met_to_the_word(compressor: PromptCompressor) -> None:
    """One budget for the whole text, short or long: 0 <= B - used < what the next word costs."""
    for text in (PROSE[0], LONG):
        longest = compressor._cut(text).costs_N.max()
        for rate in (0.1, 0.33, 0.5, 0.77, 1.0):
            total, used = spent(compressor, [text], compressor(text, rate=rate, return_word_label=True))
            assert total == tokens(text)
            assert 0 <= round(rate * total) - used < longest, rate
        assert compressor(text, rate=1.0)["compressed_prompt"] == text
        small = compressor(text, target_token=7)
        assert small == compressor(text, target_token=7, rate=0.9), "the target wins"


@settings(max_examples=25)
@given(st.lists(st.sampled_from(PROSE) | st.text(max_size=12), max_size=4), st.floats(0.05, 1.0))
def test_what_comes_out_stood_there(models: dict[str, Path], contexts: list[str], rate: float) -> None:
    one = load("policy", models)
    found = one.compress_prompt(contexts, rate=rate, use_context_level_filter=False)
    left = found["compressed_prompt_list"]
    assert len(left) == max(1, len(contexts))
    assert all(is_subsequence(a, b) for a, b in zip(left, contexts or [""], strict=True))
    assert found["compressed_prompt"] == "\n\n".join(text for text in left if text)
    whole = one.compress_prompt(contexts, rate=1.0)
    assert whole["compressed_prompt_list"] == (contexts or [""])


@pytest.mark.parametrize("text", ["", " ", [], ["", ""], "\ud800", "x"])
def test_texts_of_nothing_much(compressor: PromptCompressor, text: Any) -> None:
    found = compressor.compress_prompt(text, rate=0.5)
    assert is_subsequence(found["compressed_prompt"], "\n\n".join([text] if isinstance(text, str) else text))


def test_our_policy_keeps_what_the_compressor_keeps(models: dict[str, Path], policy: PromptCompressor) -> None:
    plain = Compressor.from_pretrained(models["policy"], device="cpu")
    for rate in (0.2, 0.5, 0.8):
        asked = plain.compress(PROSE[0], rate)
        assert policy(PROSE[0], rate=rate)["compressed_prompt"] == asked.text
    assert policy(LONG, target_token=100)["compressed_prompt"] == plain.compress(LONG, target_tokens=100).text


def test_instruction_and_question_are_part_of_prompt_and_rate(compressor: PromptCompressor) -> None:
    instruction, question = "Answer briefly.", "Who paid?"
    found = compressor(LONG, instruction, question, 0.5)
    text = found["compressed_prompt"]
    assert text.startswith(instruction + "\n\n")
    assert text.endswith("\n\n" + question)
    assert abs(found["compressed_tokens"] / found["origin_tokens"] - 0.5) < 0.08
    without = compressor(LONG, instruction, question, 0.5, concate_question=False)["compressed_prompt"]
    assert not without.endswith(question)
    assert without.startswith(instruction)


def test_a_policy_and_a_causal_model_hear_the_question(models: dict[str, Path]) -> None:
    for kind, extra in (("policy", {}), ("causal", {"rank_method": "longllmlingua"})):
        one = load(kind, models)
        found = {
            one.compress_prompt(LONG, question=question, target_token=100, concate_question=False, **extra)[
                "compressed_prompt"
            ]
            for question in ("Who paid?", "What is extraordinary about the assertion, again?")
        }
        assert len(found) == 2, kind


def test_forced_text_stays(compressor: PromptCompressor) -> None:
    found = compressor(LONG, rate=0.4, force_tokens=["\n", "!", "café"], force_reserve_digit=True)["compressed_prompt"]
    for mark in ("\n", "!", "café"):
        assert found.count(mark) == LONG.count(mark), mark
    assert re.findall(r"\d+(?:[,.]\d+)*", found) == re.findall(r"\d+(?:[,.]\d+)*", LONG)
    free = compressor(LONG, rate=0.1)["compressed_prompt"]
    assert any(free.count(mark) < LONG.count(mark) for mark in ("\n", "!", "café"))
    assert compressor(PROSE[0], rate=0.01, force_tokens=["it"])["compressed_prompt"].strip() == "it"
    with pytest.raises(UserError, match="max_force_token"):
        compressor("a", force_tokens=[str(i) for i in range(101)])


def test_drop_consecutive(compressor: PromptCompressor) -> None:
    """Of equal marks with nothing kept between one stays, and what that frees is spent on other words."""
    text = "one, two, three, four, five, six, seven, eight, nine, ten."
    plain = compressor(text, rate=0.5, force_tokens=[","])["compressed_prompt"]
    thin = compressor(text, rate=0.5, force_tokens=[","], drop_consecutive=True)["compressed_prompt"]
    assert plain.count(",") == 9
    assert not re.search(r",\s*,", thin)
    assert len(re.findall(r"\w+", thin)) >= len(re.findall(r"\w+", plain))


def test_keep_split_keeps_empty_lines(compressor: PromptCompressor) -> None:
    text = "\n\n".join(PROSE)
    assert compressor(text, rate=0.3, keep_split=True)["compressed_prompt"].count("\n\n") == 3


def test_word_labels(compressor: PromptCompressor) -> None:
    found = compressor(PROSE[0], rate=0.5, return_word_label=True, word_sep="\n", label_sep="\t")
    pairs = [line.split("\t") for line in found["fn_labeled_original_prompt"].split("\n")]
    assert "".join(word for word, _ in pairs) == "".join(PROSE[0].split())
    assert "".join(word for word, label in pairs if label == "1") == "".join(found["compressed_prompt"].split())


OTHER_VALUES: dict[str, Any] = {
    "iterative_size": 50,
    "condition_in_question": "after",
    "condition_compare": True,
    "add_instruction": True,
    "token_to_word": "first",
    "chunk_end_tokens": ["."],
}


def test_what_a_kind_does_not_honour_it_refuses_by_name(compressor: PromptCompressor, kind: str) -> None:
    refused = {name for name, treatment in ARGUMENTS.items() if KINDS[kind] not in treatment.honoured_by}
    assert refused <= set(OTHER_VALUES)
    for name, value in OTHER_VALUES.items():
        if name in refused:
            with pytest.raises(UserError, match=rf"^{name} is not honoured with an?"):
                compressor("some text", **{name: value})
        else:
            compressor("some text", question="some?", **{name: value})
        compressor("some text", **{name: inspect.signature(compressor.compress_prompt).parameters[name].default})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": 0.0}, "rate must be above 0"),
        ({"rate": 1.2}, "rate must be above 0"),
        ({"context_level_rate": 2.0}, "context_level_rate must lie"),
        ({"reorder_context": "random"}, "reorder_context is 'random'"),
        ({"keep_first_sentence": -1}, "keep_first_sentence must be at least 0"),
        ({"rank_method": "best"}, "rank_method is 'best'"),
        ({"rank_method": "bm25"}, "give question"),
        ({"context": [3]}, r"context\[0\] is int"),
        *[({"rank_method": name}, "is refused: it asks the network") for name, why in RANK_METHODS.items() if why],
    ],
)
def test_mistakes(policy: PromptCompressor, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        policy.compress_prompt(**{"context": "some text", **arguments})


def test_steps_of_the_loop_are_refused_by_name(policy: PromptCompressor) -> None:
    for name in REFUSED_METHODS:
        with pytest.raises(UserError, match=f"^{name} is not offered"):
            getattr(policy, name)
        assert not hasattr(policy, name)
    with pytest.raises(AttributeError, match="no attribute"):
        _ = policy.nonsense


def test_lengths(compressor: PromptCompressor, kind: str) -> None:
    assert compressor.get_token_length(PROSE[0], use_oai_tokenizer=True) == tokens(PROSE[0])
    plain = compressor.get_token_length(PROSE[0], add_special_tokens=False)
    around = {"policy": 0, "causal": 1}.get(kind, 2)
    assert compressor.get_token_length(PROSE[0]) == plain + around


def test_four_threads_give_what_one_gives(compressor: PromptCompressor) -> None:
    texts = [" ".join(np.random.default_rng(i).permutation(PROSE).tolist()) for i in range(8)]
    serial = [compressor(text, rate=0.5, force_tokens=["!"]) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda text: compressor(text, rate=0.5, force_tokens=["!"]), texts)) == serial


def test_langchains_call(policy: PromptCompressor) -> None:
    """The arguments that `langchain_community`'s LLMLinguaCompressor passes on by default."""
    found = policy.compress_prompt(
        context=[f"\n\n#ref{i}\n\n{text}\n\n#ref{i}#\n\n" for i, text in enumerate(PROSE)],
        instruction="Given this documents, please answer the final question",
        question="Who paid?",
        target_token=60,
        rank_method="longllmlingua",
        concate_question=False,
        add_instruction=True,
        condition_compare=True,
        condition_in_question="after",
        context_budget="+100",
        reorder_context="sort",
        dynamic_context_compression_ratio=0.4,
    )
    assert found["compressed_prompt"].startswith("Given this documents")
    assert 40 < found["compressed_tokens"] < 130

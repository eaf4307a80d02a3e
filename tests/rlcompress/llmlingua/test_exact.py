"""`compat="exact"` against the `llmlingua` package 0.2.2 itself, on the same checkpoints: equal results, key by key.

The package wants the network when it is made, for a tiktoken encoding: it gets one that is built here.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import llmlingua
import numpy as np
import pytest
import tiktoken
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcompress.errors import UserError
from rlcompress.llmlingua import PromptCompressor
from rlcompress.llmlingua.loading import TiktokenReader
from tests.rlcompress.llmlingua.checkpoints import LONG, PROSE

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
PIECES = [bytes([byte]) for byte in range(256)] + [
    b"th",
    b"he",
    b" t",
    b" th",
    b" the",
    b"an",
    b"er",
    b"in",
    b" a",
    b"ai",
]
ENCODING = tiktoken.Encoding(
    name="small",
    pat_str=r"""'s|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+""",
    mergeable_ranks={piece: rank for rank, piece in enumerate(PIECES)},
    special_tokens={},
)
Pair = tuple[Any, PromptCompressor]


@pytest.fixture(scope="module", params=["bert", "xlm_roberta"])
def pair(request: pytest.FixtureRequest, models: dict[str, Path]) -> Pair:
    """The original and ours on one checkpoint; what the original does to the process is undone."""
    folder = models[request.param]
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        patch.setattr(tiktoken, "encoding_for_model", lambda name: ENCODING)
        patch.setenv("PYTHONHASHSEED", "0")
        states = random.getstate(), np.random.get_state()
        deterministic = torch.backends.cudnn.deterministic
        original = llmlingua.PromptCompressor(str(folder), device_map="cpu", model_config={}, use_llmlingua2=True)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.backends.cudnn.deterministic = deterministic
    return original, PromptCompressor(folder, "cpu", use_llmlingua2=True, reader=ENCODING, compat="exact")


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "low rate": {"rate": 0.13},
    "whole": {"rate": 1.0, "return_word_label": True},
    "target": {"target_token": 120},
    "forced": {"rate": 0.4, "force_tokens": ["\n", ".", "paid", "well-known"]},
    "digits and labels": {"rate": 0.3, "force_reserve_digit": True, "return_word_label": True},
    "drop consecutive": {"rate": 0.35, "force_tokens": [",", ".", "again"], "drop_consecutive": True},
    "first": {"rate": 0.45, "token_to_word": "first"},
    "chunk ends": {"rate": 0.5, "chunk_end_tokens": [",", "\n"], "force_tokens": ["\n"]},
    "separators": {"rate": 0.5, "return_word_label": True, "word_sep": "|", "label_sep": "/"},
    "no token filter": {"use_token_level_filter": False},
}


@pytest.mark.parametrize("name", CASES)
def test_a_long_text_of_several_chunks(pair: Pair, name: str) -> None:
    original, ours = pair
    assert len(original.tokenizer.tokenize(LONG)) > 1100
    theirs = original.compress_prompt(LONG, **CASES[name])
    assert ours.compress_prompt(LONG, **CASES[name]) == theirs
    assert name in ("whole", "no token filter") or 0 < theirs["compressed_tokens"] < theirs["origin_tokens"]


CONTEXT_CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "labels": {"rate": 0.3, "return_word_label": True},
    "target": {"target_token": 60, "return_word_label": True},
    "so many": {"target_context": 2, "force_context_ids": [0]},
    "level rate": {"context_level_rate": 0.6, "rate": 0.7},
    "level tokens": {"context_level_target_token": 150, "force_tokens": ["man", "well-known"]},
    "contexts only": {"rate": 0.5, "use_token_level_filter": False, "return_word_label": True},
    "no filter": {"use_context_level_filter": False, "rate": 0.6},
}


@pytest.mark.parametrize("name", CONTEXT_CASES)
def test_several_contexts(pair: Pair, name: str) -> None:
    original, ours = pair
    contexts = [PROSE[0], LONG, *PROSE[1:]]
    assert ours.compress_prompt(contexts, **CONTEXT_CASES[name]) == original.compress_prompt(
        contexts, **CONTEXT_CASES[name]
    )


def test_the_method_of_its_own(pair: Pair) -> None:
    original, ours = pair
    arguments = (PROSE, 0.4, -1, True, True, 3)
    assert ours.compress_prompt_llmlingua2(*arguments) == original.compress_prompt_llmlingua2(*arguments)


@settings(max_examples=15)
@given(
    st.lists(st.sampled_from([*PROSE, "paid", "old man", "12.5", "(again)", "\n"]), min_size=1, max_size=6).map(
        lambda parts: " ".join(["paid", *parts])
    ),
    st.floats(0.05, 0.99),
    st.sampled_from([[], [".", "\n"], ["man", "token;"]]),
    st.booleans(),
)
def test_any_text_at_any_rate(pair: Pair, text: str, rate: float, force: list[str], drop: bool) -> None:
    original, ours = pair
    arguments = {"rate": rate, "force_tokens": force, "drop_consecutive": drop, "return_word_label": True}
    assert ours.compress_prompt(text, **arguments) == original.compress_prompt(text, **arguments)


def test_it_leaves_random_numbers_alone(models: dict[str, Path]) -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    PromptCompressor(models["bert"], "cpu", reader=ENCODING, compat="exact")
    assert torch.equal(before, torch.random.get_rng_state())


def test_what_exact_refuses(pair: Pair, models: dict[str, Path]) -> None:
    _, ours = pair
    for name, value in {"question": "Who?", "keep_split": True, "rank_method": "bm25", "iterative_size": 9}.items():
        with pytest.raises(UserError, match=f'^{name} is not honoured with compat="exact"'):
            ours.compress_prompt("some text", **{name: value})
    with pytest.raises(UserError, match="needs reader"):
        PromptCompressor(models["bert"], "cpu", compat="exact")
    with pytest.raises(UserError, match="has no words"):
        ours.compress_prompt(["some text", ""])
    with pytest.raises(UserError, match="so low a budget"):
        ours.compress_prompt(PROSE, target_token=0)
    with pytest.raises(UserError, match="structured_compress_prompt: tags and JSON"):
        ours.structured_compress_prompt(["<llmlingua>some text</llmlingua>"])


def test_fixed_differs_where_the_original_is_wrong(pair: Pair, models: dict[str, Path]) -> None:
    """The faults are the original's: shown on it, and gone in ours."""
    original, _ = pair
    fixed = PromptCompressor(original.model_name, "cpu", reader=ENCODING)
    text = PROSE[1] + "  ÅÄÖ Śnieg\t" + PROSE[3]
    theirs, ours = original.compress_prompt(text, rate=0.99), fixed.compress_prompt(text, rate=0.99)
    assert "\n" not in theirs["compressed_prompt"]
    assert "\n" in ours["compressed_prompt"]
    assert "Śnieg\t" in ours["compressed_prompt"]
    contexts = [PROSE[0], PROSE[1], PROSE[3]] * 8
    errors = [
        abs(found["compressed_tokens"] / found["origin_tokens"] - 0.5)
        for found in (original.compress_prompt(contexts, rate=0.5), fixed.compress_prompt(contexts, rate=0.5))
    ]
    assert errors[1] < 0.06
    if original.model.config.model_type == "bert":
        assert errors[0] > 2 * errors[1]
    with pytest.raises(ZeroDivisionError):
        original.compress_prompt(["some text", ""])
    assert fixed.compress_prompt(["some text", ""], rate=1.0)["compressed_prompt"] == "some text"


def test_lengths_are_the_originals(pair: Pair) -> None:
    original, ours = pair
    for text in PROSE:
        for special in (True, False):
            assert ours.get_token_length(text, special) == original.get_token_length(text, special)
        assert ours.get_token_length(text, use_oai_tokenizer=True) == original.get_token_length(
            text, use_oai_tokenizer=True
        )


@given(st.text() | st.lists(st.sampled_from([*PROSE, "🙂", "é"])).map("".join))
def test_tiktokens_tokens_tile_the_text(text: str) -> None:
    ids, spans = TiktokenReader(ENCODING).encode(text)
    assert len(ids) == len(spans)
    if "\ud800" <= max(text, default="") <= "\udfff":
        return
    assert len(ids) == len(ENCODING.encode(text))
    covered = {i for a, b in spans.tolist() for i in range(a, b)}
    assert covered == set(range(len(text)))


def test_recover_finds_what_the_original_finds(pair: Pair) -> None:
    """Theirs is decoded from tokens, ours is a span of the source: the same but for white space."""
    original, ours = pair
    text, compressed = PROSE[0] + " " + PROSE[3], "old man paid 1,234.50 Others again man paid, again known others."
    for response in ("Well, old man paid 1,234.50", "again man paid, again", "nobody knows", "Others again others."):
        theirs = original.recover(text, compressed, response)
        assert "".join(ours.recover(text, compressed, response).split()) == "".join(theirs.split())

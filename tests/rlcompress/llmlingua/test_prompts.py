"""`compress_prompt` with every kind of model: budgets, bytes, what must stay, filters, and the results' form."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
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
from rlcompress.llmlingua.arguments import ARGUMENTS, RANK_METHODS, REFUSED_METHODS, Kind
from tests.rlcompress.llmlingua.checkpoints import LONG, PROSE, READER, save_bert_classifier
from tests.rlcompress.small_models import save_bert

KINDS = {"policy": Kind.POLICY, "bert": Kind.CHECKPOINT, "xlm_roberta": Kind.CHECKPOINT, "causal": Kind.CAUSAL}
_loaded: dict[str, PromptCompressor] = {}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def compressor(kind: str, models: dict[str, Path]) -> PromptCompressor:
    return load(kind, models)


@pytest.fixture
def policy(models: dict[str, Path]) -> PromptCompressor:
    return load("policy", models)


def load(kind: str, models: dict[str, Path]) -> PromptCompressor:
    if kind not in _loaded:
        _loaded[kind] = PromptCompressor(models[kind], "cpu", reader=READER)
    return _loaded[kind]


def tokens(text: str) -> int:
    return len(READER.encode(text)[0])


def spent(one: PromptCompressor, contexts: list[str], found: dict[str, Any]) -> tuple[int, int]:
    """Tokens of the source, and of those words of it that were kept."""
    texts = [text + "\n\n" * (i + 1 < len(contexts)) for i, text in enumerate(contexts)]
    costs_N = np.concatenate([one._cut(text).costs_N for text in texts])
    kept_N = np.array([line[-1] == "1" for line in found["fn_labeled_original_prompt"].split("\t\t|\t\t")])
    return int(costs_N.sum()), int(costs_N[kept_N].sum())


def is_subsequence(small: str, large: str) -> bool:
    rest = iter(large)
    return all(c in rest for c in small)


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


# ------------------------------------------------------------------------------------------------ contexts, sentences


def kept_contexts(one: PromptCompressor, **arguments: Any) -> list[int]:
    """Which of PROSE the filter left, in the order in which they come out."""
    found = one.compress_prompt(PROSE, use_token_level_filter=False, **arguments)["compressed_prompt"]
    places = {found.find(text): i for i, text in enumerate(PROSE) if text in found}
    return [places[at] for at in sorted(places)]


def test_a_context_filter_does_not_cut_twice(compressor: PromptCompressor) -> None:
    """The original keeps r(r + 1)/2; here the words that are left make up r."""
    for rate in (0.2, 0.5, 0.8):
        found = compressor.compress_prompt(PROSE * 5, rate=rate, return_word_label=True)
        total, used = spent(compressor, PROSE * 5, found)
        assert 0 <= round(rate * total) - used < 12


def test_contexts_are_chosen_by_number_rate_and_tokens(compressor: PromptCompressor) -> None:
    total = sum(map(tokens, PROSE))
    assert len(kept_contexts(compressor, target_context=2)) == 2
    assert len(kept_contexts(compressor, target_context=2, force_context_ids=[3, 1, 0])) == 3
    assert len(kept_contexts(compressor, force_context_number=1)) == 1
    assert kept_contexts(compressor, target_context=0) == []
    for budget in ({"context_level_rate": 0.4}, {"context_level_target_token": round(0.4 * total)}):
        spent = sorted(tokens(PROSE[i]) for i in kept_contexts(compressor, **budget))
        assert sum(spent) >= 0.4 * total - 4 > sum(spent) - spent[-1] - 4, "one more than fits, as in LLMLingua"
    few, many = (kept_contexts(compressor, target_token=30, context_budget=b) for b in ("*0.5", "*3"))
    assert set(few) <= set(many)
    assert kept_contexts(compressor, use_context_level_filter=False) == [0, 1, 2, 3]
    with pytest.raises(UserError, match="force_context_ids names 4"):
        kept_contexts(compressor, force_context_ids=[4])
    with pytest.raises(UserError, match="context_budget is"):
        compressor.compress_prompt(PROSE, context_budget="**9")


def test_ranking_and_order(compressor: PromptCompressor) -> None:
    question = "Which text is Japanese: 日本語のテキスト?"
    for method in ("bm25", "gzip"):
        ranked = compressor.get_rank_results(PROSE, question, method)
        assert ranked[0][0] == 2
        assert [score for _, score in ranked] == sorted((score for _, score in ranked), reverse=True)
        asked = {"question": question, "rank_method": method, "target_context": 3}
        best = [i for i, _ in ranked][:3]
        assert kept_contexts(compressor, **asked) == sorted(best)
        assert kept_contexts(compressor, reorder_context="sort", **asked) == best
        assert kept_contexts(compressor, reorder_context="two_stage", **asked) == [best[0], best[2], best[1]]
    own = compressor.get_rank_results(PROSE, "", "llmlingua")
    assert sorted(i for i, _ in own) == [0, 1, 2, 3]


def test_better_contexts_keep_more(compressor: PromptCompressor) -> None:
    asked = {"question": "Which text is Japanese: 日本語のテキスト?", "rank_method": "bm25", "force_context_number": 4}
    asked |= {"rate": 0.5, "concate_question": False, "reorder_context": "sort"}

    def shares(ratio: float) -> list[float]:
        found = compressor.compress_prompt(PROSE, dynamic_context_compression_ratio=ratio, **asked)
        order = [i for i, _ in compressor.get_rank_results(PROSE, str(asked["question"]), "bm25")]
        parts = found["compressed_prompt"].split("\n\n")
        assert len(parts) == 4
        return [tokens(part) / tokens(PROSE[i]) for part, i in zip(parts, order, strict=True)]

    found = shares(0.4)
    assert found[0] - found[-1] > 0.4
    assert abs(sum(shares(0.2)) - sum(found)) < 0.5, "the budget is the same"


def test_whole_sentences_go_first(compressor: PromptCompressor) -> None:
    sentences = [f"Sentence {name} tells of {name} things." for name in ("one", "two", "three", "four", "five", "six")]
    text = " ".join(sentences)
    asked = {"use_sentence_level_filter": True, "use_token_level_filter": False, "token_budget_ratio": 1.0}
    found = compressor(text, rate=0.34, **asked)["compressed_prompt"]
    assert [one for one in sentences if one in found] == [s.strip() + "." for s in found.split(".") if s.strip()]
    assert 0 < len(found) < len(text)
    ends = compressor(text, rate=0.34, keep_first_sentence=1, keep_last_sentence=1, **asked)["compressed_prompt"]
    assert ends.startswith(sentences[0])
    assert ends.endswith(sentences[-1])
    three = compressor(text, rate=0.17, keep_sentence_number=1, **asked)["compressed_prompt"]
    assert three.count(".") <= 2


def test_segments_have_rates_of_their_own(compressor: PromptCompressor) -> None:
    segs = [[PROSE[0], PROSE[1], PROSE[3]]]
    found = compressor(
        "".join(segs[0]),
        context_segs=segs,
        context_segs_rate=[[1.0, 0.0, 0.5]],
        context_segs_compress=[[False, True, True]],
    )["compressed_prompt"]
    assert found.startswith(PROSE[0])
    rest = found.removeprefix(PROSE[0])
    assert is_subsequence(rest, PROSE[3])
    assert 0.3 < len(rest) / len(PROSE[3]) < 0.7
    for name, value in (("context_segs", [["x"]]), ("context_segs", []), ("context_segs", [["a"], ["b"]])):
        with pytest.raises(UserError, match="context_segs"):
            compressor("".join(segs[0]), **{name: value or [[]]})
    with pytest.raises(UserError, match="rates lie between 0 and 1"):
        compressor("ab", context_segs=[["a", "b"]], context_segs_rate=[[0.5, 1.5]])


# ------------------------------------------------------------------------------------------------ refusals

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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"open_api_config": {"api_key": "x"}}, "open_api_config is refused"),
        ({"use_slingua": True}, "use_slingua is refused"),
        ({"model_config": {"trust_remote_code": True}}, "trust_remote_code is refused"),
        ({"model_config": {"revision": "x"}}, "model_config.revision is not honoured"),
        ({"model_config": {"torch_dtype": "many"}}, "torch_dtype is 'many'"),
        ({"llmlingua2_config": {"seed": 1}}, "llmlingua2_config.seed is not honoured"),
        ({"device_map": "abacus"}, "use auto, cpu, cuda"),
        ({"compat": "nearly"}, "use fixed or exact"),
        ({"compat": "exact"}, "needs an LLMLingua-2 checkpoint"),
        ({"model_name": "microsoft/llmlingua-2-xlm-roberta-large-meetingbank"}, "nothing is downloaded"),
    ],
)
def test_what_the_constructor_refuses(models: dict[str, Path], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PromptCompressor(**{"model_name": models["policy"], "device_map": "cpu", **arguments})


def test_folders_that_hold_something_else(models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="3 labels"):
        PromptCompressor(save_bert_classifier(tmp_path / "three", labels=3), "cpu")
    with pytest.raises(UserError, match="no local folder with"):
        PromptCompressor(save_bert(tmp_path / "masked"), "cpu")
    with pytest.raises(UserError, match="use_llmlingua2"):
        PromptCompressor(models["causal"], "cpu", use_llmlingua2=True)


# ------------------------------------------------------------------------------------------------ the rest


def test_lengths(compressor: PromptCompressor, kind: str) -> None:
    assert compressor.get_token_length(PROSE[0], use_oai_tokenizer=True) == tokens(PROSE[0])
    plain = compressor.get_token_length(PROSE[0], add_special_tokens=False)
    around = {"policy": 0, "causal": 1}.get(kind, 2)
    assert compressor.get_token_length(PROSE[0]) == plain + around


def test_half_precision_and_small_batches(models: dict[str, Path]) -> None:
    half = PromptCompressor(
        models["bert"], "cpu", {"torch_dtype": "bfloat16", "pad_to_left": False, "trust_remote_code": False}
    )
    assert next(half._scoring.model.parameters()).element_size() == 2  # type: ignore[attr-defined]
    assert half(LONG, rate=0.3)["compressed_prompt"]
    small = PromptCompressor(models["bert"], "auto", reader=READER, llmlingua2_config={"max_batch_size": 1})
    assert small(LONG, rate=0.3) == load("bert", models)(LONG, rate=0.3)


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


def test_without_ray_and_without_the_original(models: dict[str, Path]) -> None:
    code = f"""
import sys
for name in ("ray", "gymnasium", "llmlingua", "tiktoken", "nltk"):
    sys.modules[name] = None
from rlcompress import PromptCompressor
one = PromptCompressor({str(models["policy"])!r}, "cpu")
assert "transformers" not in sys.modules
print(one({PROSE[0]!r}, rate=0.5)["rate"])
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("%\n")

"""Which contexts, sentences and segments of a prompt are left, and how the budget is shared among them."""

from __future__ import annotations

from typing import Any

import pytest

from rlcompress.errors import UserError
from rlcompress.llmlingua import PromptCompressor
from tests.rlcompress.llmlingua.checkpoints import PROSE, is_subsequence, spent, tokens


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

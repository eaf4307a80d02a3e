"""LLMLingua against a twin that starts from scratch for every segment, and what it finds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.baselines.llmlingua import Llmlingua, contrast, segment_bounds, surprise
from rlcompress.selection import budget_tokens, select
from rlcompress.text.segment import Segmenter
from rlcompress.text.units import token_units
from rlcompress.words import Example, Units
from tests.rlcompress.baselines.fakes import TOKENIZER, Remembering

WORDS = ["the", "cat", "sat", "on", "a", "mat", "dog", "3", "quokka", "."]
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=14).map(" ".join)


def slow_kept(units: Units, question: str | None, rate: float, segment: int) -> set[int]:
    """Units kept by the segments: for each one, the compressed text before it is written down anew and scored."""
    model = Remembering(TOKENIZER)
    ids, spans = TOKENIZER.encode(units.text)
    owner = token_units(units.text, units.starts_N, spans).tolist()
    tokens = {u: [int(ids[t]) for t in range(len(ids)) if owner[t] == u] for u in range(len(units))}
    asked = [int(i) for i in TOKENIZER.encode(f"{question}\n")[0]] if question else []
    first_token = {u: sum(len(tokens[v]) for v in range(u)) for u in tokens}
    cost = {u: 0 if units.protected_N[u] else int(units.costs_N[u]) for u in tokens}
    budget = budget_tokens(units, rate) - int(units.costs_N[units.protected_N].sum())
    kept = {u for u in tokens if units.protected_N[u]}
    for number in sorted({first_token[u] // segment for u in tokens}):
        members = [u for u in tokens if first_token[u] // segment == number]
        before = [i for u in sorted(kept) if u < members[0] for i in tokens[u]]
        inside = [i for u in members for i in tokens[u]]
        bits = model.one(before, inside)
        if question:
            bits = bits - model.one([*asked, *before], inside)
        score, at = {}, 0
        for u in members:
            own = bits[at : at + len(tokens[u])]
            score[u], at = (float(np.mean(own)) if len(own) else 0.0), at + len(own)
        through = sum(cost[u] for u in tokens if u <= members[-1])
        left = max(0, budget) * through // max(1, sum(cost.values())) - sum(cost[u] for u in kept)
        for u in sorted((u for u in members if not units.protected_N[u]), key=lambda u: (-score[u], u)):
            left -= cost[u]
            if left < 0:
                break
            kept.add(u)
    return kept


@given(texts, st.none() | st.sampled_from(["cat", "a dog on"]), st.floats(0.05, 1), st.integers(1, 6))
def test_keep_sets_equal_the_slow_twin(text: str, question: str | None, rate: float, segment: int) -> None:
    units = Segmenter(TOKENIZER, protect=["numbers"])(text)
    score = contrast if question else surprise
    method = Llmlingua("llmlingua", score, Remembering(TOKENIZER), segment)
    priorities_N = method.priorities([units], [Example("x", text, question)], rate, 0)[0]
    kept = slow_kept(units, question, rate, segment)
    made = select(units, priorities_N, rate)
    assert kept <= set(np.flatnonzero(made.kept_N).tolist())
    best = np.argsort(-priorities_N, kind="stable")[: len(kept)]
    assert set(best.tolist()) == kept, "what the segments kept stands first"


def test_a_segment_is_read_after_what_was_kept_alone() -> None:
    model = Remembering(TOKENIZER)
    text = "the cat the dog the cat the mat"
    units = Segmenter(TOKENIZER)(text)
    the, cat, dog, mat = (int(TOKENIZER.encode(word)[0][0]) for word in ("the", "cat", "dog", "mat"))
    Llmlingua("llmlingua", surprise, model, 4).priorities([units], [Example("x", text)], 0.5, 0)
    # of the first segment "the" (again) costs 1 bit, and the first of what costs 4 comes first: "the cat" stays
    assert model.calls == [[([], [the, cat, the, dog])], [([the, cat], [the, cat, the, mat])]]


def test_a_small_window_forgets_what_was_kept_first_and_never_the_question() -> None:
    model = Remembering(TOKENIZER, window=8)
    text = "the cat sat on the dog the mat a bird ran to the rug"
    units = Segmenter(TOKENIZER)(text)
    question = TOKENIZER.encode("cat\n")[0].tolist()
    method = Llmlingua("longllmlingua", contrast, model, 4)
    method.priorities([units], [Example("x", text, "cat")], 0.75, 0)
    asked, plain = model.calls[0::2], model.calls[1::2]
    assert [len(call[0][0]) for call in plain] == [0, 2, 2, 2 + 2], (
        "7 places, 1 for the question, 4 (at last 2) to score"
    )
    for (with_question,), (without,) in zip(asked, plain, strict=True):
        assert with_question == (question + without[0], without[1])


def test_texts_walk_side_by_side_with_one_call_a_segment() -> None:
    model = Remembering(TOKENIZER)
    units = [Segmenter(TOKENIZER)(text) for text in ("the cat sat on a mat", "the", "", "a dog on a mat")]
    examples = [Example(str(i), u.text) for i, u in enumerate(units)]
    method = Llmlingua("llmlingua", surprise, model, 2)
    method.priorities(units, examples, 0.5, 0)
    assert [len(call) for call in model.calls] == [3, 2, 2]
    assert [method.passes_of(u) for u in units] == [3, 1, 0, 3]


@pytest.mark.parametrize("segment", [3, 100])
def test_planted_words_are_recovered(segment: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        words = ["the", "cat", "sat"] * 9  # all three are known before the first planted word
        places = [12 + 5 * k + int(rng.integers(0, 3)) for k in range(3)]
        for place, word in zip(places, ("quokka", "zephyr", "onyx"), strict=True):
            words[place] = word
        units = Segmenter(Unique())(" ".join(words))
        method = Llmlingua("llmlingua", surprise, Remembering(Unique()), segment)
        kept_N = select(units, method.priorities([units], [Example("x", units.text)], 0.4, 0)[0], 0.4).kept_N
        assert kept_N[places].all()


class Unique:
    """One token a word; every spelling has its own number."""

    name = "unique"

    def encode(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        _, spans = TOKENIZER.encode(text)
        return np.array([sum(text[a:b].strip().encode()) for a, b in spans], np.int64), spans


def test_the_contrast_keeps_what_the_question_makes_likelier() -> None:
    text = "the dog sat on a mat on a rug"
    units = Segmenter(TOKENIZER)(text)
    method = Llmlingua("longllmlingua", contrast, Remembering(TOKENIZER), 100)
    priorities_N = method.priorities([units], [Example("x", text, "mat")], 0.2, 0)[0]
    assert units.words()[int(priorities_N.argmax())].strip() == "mat"


@given(st.lists(st.integers(0, 5), max_size=20), st.integers(1, 7))
def test_segments_tile_the_units(tokens: Sequence[int], segment: int) -> None:
    bounds = segment_bounds(np.array(tokens, np.int64), segment)
    assert [u for first, end in bounds for u in range(first, end)] == list(range(len(tokens)))
    for first, end in bounds:
        assert sum(tokens[first : end - 1]) < segment, "only the last unit of a segment may reach over its end"
    assert len(bounds) <= max(math.ceil(sum(tokens) / segment), 0) + 1

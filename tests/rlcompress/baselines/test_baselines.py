"""Every baseline is what its name says, and all keep the contract of a method."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.baselines import BASELINES, AskingMethod, FittedMethod, Method, build_methods, mean_passes
from rlcompress.errors import UserError
from rlcompress.selection import select
from rlcompress.text.segment import Segmenter
from rlcompress.words import Compression, Example, Units
from tests.rlcompress.baselines.fakes import TOKENIZER, TRAIN, build

TEXTS = [
    "the cat and the quokka sat on the mat.",
    "A dog saw extraordinary things, and the bird ran!",
    "the",
    "日本語 and the 👍🏽 on 3.14 mats\r\n",
    "",
]
QUESTIONS = ["Where did the quokka sit?", "who ran", "", "👍🏽 日本?", "?!"]
EXAMPLES = [Example(f"text#{i}", text, QUESTIONS[i]) for i, text in enumerate(TEXTS)]
SEGMENTER = Segmenter(TOKENIZER)
NESTED = [name for name in BASELINES if name not in ("adaptive_add", "llmlingua", "longllmlingua")]
ASKED = ["longllmlingua", "bm25_sentences", "embedding_sentences", "mix_sentences"]


def compress(name: str, text: str, rate: float, seed: int = 0) -> Compression:
    units = SEGMENTER(text)
    return select(units, build(name).priorities([units], [Example("x", text, "the cat")], rate, seed)[0], rate)


def order(name: str, text: str) -> list[str]:
    """The words of `text` in the order in which they would be kept."""
    units = SEGMENTER(text)
    priorities_N = build(name).priorities([units], [Example("x", text)], 0.5, 0)[0]
    return [units.words()[u].strip() for u in np.argsort(-priorities_N, kind="stable")]


def test_the_names_are_those_of_the_design() -> None:
    heuristics = ["identity", "random", "frequent", "rare", "short", "long", "head", "tail", "head_tail", "stride"]
    models = ["self_information", "lm_self_information", "llmlingua", "longllmlingua", "adaptive", "adaptive_add"]
    sentences = ["bm25_sentences", "embedding_sentences", "mix_sentences"]
    assert list(BASELINES) == [*heuristics, "stopwords", *models, *sentences]


@pytest.mark.parametrize("name", list(BASELINES))
@pytest.mark.parametrize("granularity", ["word", "phrase", "sentence"])
def test_contract(name: str, granularity: str) -> None:
    method = build(name)
    assert isinstance(method, Method)
    assert method.name == name
    assert method.stochastic == (name == "random")
    assert method.keeps_all == (name == "identity")
    segmenter = Segmenter(TOKENIZER, granularity, protect=["numbers"])
    units = [segmenter(text) for text in TEXTS]
    for rate in (0.2, 0.5, 1.0):
        together = method.priorities(units, EXAMPLES, rate, 3)
        for u, example, priorities_N in zip(units, EXAMPLES, together, strict=True):
            assert priorities_N.shape == (len(u),)
            assert priorities_N.dtype == np.float64
            assert np.isfinite(priorities_N).all()
            alone = method.priorities([u], [example], rate, 3)[0]
            assert (alone == priorities_N).all(), "company in the batch must not matter"
            made = select(u, priorities_N, rate)
            left = round(rate * u.total_cost) - made.kept_tokens
            dropped_N = u.costs_N[~made.kept_N]
            assert made.status == "over_budget" or 0 <= left < max(dropped_N, default=1)


@pytest.mark.parametrize("name", list(BASELINES))
def test_a_pickled_method_ranks_the_same(name: str) -> None:
    method = build(name)
    units = [SEGMENTER(text) for text in TEXTS]
    copy = pickle.loads(pickle.dumps(method))
    for a, b in zip(method.priorities(units, EXAMPLES, 0.5, 1), copy.priorities(units, EXAMPLES, 0.5, 1), strict=True):
        assert (a == b).all()


@pytest.mark.parametrize("name", NESTED)
@given(rates=st.tuples(st.floats(0, 1), st.floats(0, 1)), text=st.sampled_from(TEXTS))
def test_keep_sets_are_nested(name: str, rates: tuple[float, float], text: str) -> None:
    low, high = (compress(name, text, rate).kept_N for rate in sorted(rates))
    assert (low <= high).all()


@pytest.mark.parametrize("name", ["frequent", "rare", "self_information", "adaptive"])
def test_unfitted_is_an_error(name: str) -> None:
    method = build_methods([name], tokenizer=TOKENIZER, train_texts=[])[0]
    assert isinstance(method, FittedMethod)
    with pytest.raises(UserError, match=r"baseline \w+ .*fit it on training texts first"):
        method.priorities([SEGMENTER("the cat")], [Example("x", "the cat")], 0.5, 0)


@pytest.mark.parametrize(
    ("name", "lacks"),
    [
        ("lm_self_information", "a language model"),
        ("llmlingua", "a language model"),
        ("longllmlingua", "a language model"),
        ("embedding_sentences", "an encoder"),
        ("mix_sentences", "an encoder"),
    ],
)
def test_a_model_that_is_not_there_is_said_when_it_is_asked(name: str, lacks: str) -> None:
    method = build_methods([name], tokenizer=TOKENIZER, train_texts=TRAIN)[0]
    with pytest.raises(UserError, match=f"baseline {name} .*{lacks} that is .*a run's configuration"):
        method.priorities([SEGMENTER("the cat")], [Example("x", "the cat", "who")], 0.5, 0)


@pytest.mark.parametrize("name", ASKED)
def test_a_row_without_a_question_is_named(name: str) -> None:
    units = [SEGMENTER("the cat"), SEGMENTER("the dog")]
    examples = [Example("row#1", "the cat", "who"), Example("row#2", "the dog")]
    with pytest.raises(UserError, match=f"baseline {name} matches texts with questions and row row#2 has none"):
        build(name).priorities(units, examples, 0.5, 0)


def test_models_are_made_only_for_who_asks_them() -> None:
    made: list[str] = []

    def refuse() -> Any:
        made.append("made")
        raise UserError("cannot be loaded")

    asking = {"lm_self_information", "llmlingua", "longllmlingua", "embedding_sentences", "mix_sentences"}
    for name in BASELINES:
        parts = {"tokenizer": TOKENIZER, "train_texts": TRAIN, "embedder": refuse, "language_model": refuse}
        if name in asking:
            with pytest.raises(UserError, match="cannot be loaded"):
                build_methods([name], **parts)
        else:
            build_methods([name], **parts)
    assert len(made) == len(asking)


def test_model_passes_a_text() -> None:
    units = [SEGMENTER(text) for text in TEXTS if text]
    assert [len(TOKENIZER.encode(u.text)[0]) for u in units] == [10, 11, 1, 9], "in segments of 4"
    passes = {name: mean_passes(build(name), units) for name in BASELINES}
    assert {name: count for name, count in passes.items() if count} == {
        "lm_self_information": 1,
        "llmlingua": (3 + 3 + 1 + 3) / 4,
        "longllmlingua": 2 * (3 + 3 + 1 + 3) / 4,
        "adaptive_add": 6,
        "embedding_sentences": 1,
        "mix_sentences": 1,
    }
    assert not isinstance(build("head"), AskingMethod)
    assert mean_passes(build("llmlingua"), []) == 0


def test_an_unknown_name_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(UserError, match="'headtail': did you mean 'head_tail'"):
        build_methods(["head", "headtail"], tokenizer=TOKENIZER, train_texts=TRAIN)


def test_adaptive_add_without_a_judge_says_so_when_used() -> None:
    method = build_methods(["adaptive_add"], tokenizer=TOKENIZER, train_texts=TRAIN)[0]
    with pytest.raises(UserError, match="adaptive_add asks a judge"):
        method.priorities([SEGMENTER("the cat")], [Example("x", "the cat")], 0.5, 0)


TEN = "one two three four five six seven eight nine ten"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("head", "one two three four five "),
        ("tail", "six seven eight nine ten"),
        ("head_tail", "one two three nine ten"),
        ("short", "one two four six ten"),
        ("long", "three four five seven eight "),
        ("stride", "one three five seven nine "),
    ],
)
def test_position_and_length(name: str, expected: str) -> None:
    assert compress(name, TEN, 0.5).text == expected


def test_identity_keeps_all_at_the_rate_that_its_flag_asks_for() -> None:
    assert build("identity").keeps_all
    assert compress("identity", TEN, 1.0).text == TEN


def test_head_tail_alternates() -> None:
    assert order("head_tail", "a b c d e") == ["a", "e", "b", "d", "c"]
    assert order("head_tail", "a b c d") == ["a", "d", "b", "c"]


@given(st.integers(1, 200), st.integers(0, 7))
def test_stride_spreads_evenly_at_every_power_of_two(n: int, k: int) -> None:
    units = SEGMENTER("w " * n)
    priorities_N = build("stride").priorities([units], [Example("x", units.text)], 0.5, 0)[0]
    count = 2 ** min(k, (n - 1).bit_length())
    step = 2 ** (n - 1).bit_length() // count
    first = np.argsort(-priorities_N, kind="stable")[: len(range(0, n, step))]
    assert sorted(first.tolist()) == list(range(0, n, step))


@given(st.integers(8, 200), st.floats(0.1, 0.9))
def test_stride_leaves_no_large_gap_at_any_rate(n: int, rate: float) -> None:
    kept = np.flatnonzero(compress("stride", "w " * n, rate).kept_N)
    edges = np.concatenate([[-1], kept, [n]])
    assert np.diff(edges).max() <= 4 / rate


def test_frequent_and_rare() -> None:
    text = "the small quokka bird sat the"
    assert order("frequent", text) == ["the", "the", "small", "sat", "bird", "quokka"]
    assert order("rare", text) == ["quokka", "bird", "sat", "small", "the", "the"]
    assert order("rare", "The THE quokka")[0] == "quokka", "case does not make a word rare"
    assert compress("rare", text, 0.5).text != compress("head", text, 0.5).text


def test_rare_takes_the_mean_over_the_words_of_a_phrase() -> None:
    segmenter = Segmenter(TOKENIZER, "phrase")
    units = segmenter("the cat and the quokka on the mat ")
    assert [word.strip() for word in units.words()] == ["the cat", "and the quokka", "on the mat"]
    rare_N = build("rare").priorities([units], [Example("x", units.text)], 0.5, 0)[0]
    count = {"the": 36, "quokka": 0, "and": 12}
    assert rare_N[1] == pytest.approx(-np.mean([np.log1p(count[word]) for word in ("and", "the", "quokka")]))
    assert rare_N.argmax() == 1


def test_stopwords_go_first() -> None:
    assert order("stopwords", "The cat, and the dog") == ["cat", ",", "dog", "The", "and", "the"]


def test_random_differs_by_seed_and_example_only() -> None:
    units = SEGMENTER(TEN)
    method = build("random")

    def kept(seed: int, example_id: str, rate: float = 0.5) -> Sequence[float]:
        return list(method.priorities([units], [Example(example_id, TEN)], rate, seed)[0])

    assert kept(0, "a") == kept(0, "a", rate=0.1)
    assert len({tuple(kept(seed, i)) for seed in range(5) for i in "abc"}) == 15


def test_random_is_uniform_over_units() -> None:
    method, units = build("random"), SEGMENTER(TEN)
    examples = [Example(str(i), TEN) for i in range(400)]
    kept_BN = np.array([select(units, p, 0.5).kept_N for p in method.priorities([units] * 400, examples, 0.5, 7)])
    assert np.abs(kept_BN.mean(axis=0) - 0.5).max() < 0.1  # four standard deviations


ELSEWHERE = """
import json, sys
sys.path[:0] = {path!r}
from rlcompress.baselines import BASELINES
from rlcompress.text.segment import Segmenter
from rlcompress.words import Example
from tests.rlcompress.baselines.fakes import TOKENIZER, build
texts, questions = {texts!r}, {questions!r}
units = [Segmenter(TOKENIZER)(text) for text in texts]
examples = [Example(f"text#{{i}}", *row) for i, row in enumerate(zip(texts, questions))]
methods = [build(name) for name in BASELINES]
print(json.dumps({{m.name: [p.tolist() for p in m.priorities(units, examples, 0.5, 3)] for m in methods}}))
"""


def test_priorities_are_equal_in_every_process() -> None:
    script = ELSEWHERE.format(path=sys.path, texts=TEXTS, questions=QUESTIONS)
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert "self_information" in outputs.pop()


def test_self_information_recovers_planted_words() -> None:
    generator = np.random.default_rng(0)
    planted = ["quokka", "zephyr", "onyx"]
    for _ in range(20):
        pieces = " and ".join(TRAIN[:3]).split()
        places = sorted(generator.choice(len(pieces), 3, replace=False).tolist())
        for place, word in zip(places, planted, strict=True):
            pieces[place] = word
        assert set(order("self_information", " ".join(pieces))[:3]) == set(planted)


def test_self_information_with_a_pretrained_scorer() -> None:
    from rlcompress.baselines.information import SelfInformation

    class LastIsDear:
        tokenizer = TOKENIZER

        def bits(self, texts: Sequence[str]) -> list[np.ndarray]:
            return [np.arange(len(TOKENIZER.encode(text)[0]), dtype=np.float64) for text in texts]

    method = SelfInformation(LastIsDear())
    method.fit(["ignored"])
    units: Units = SEGMENTER("a b c")
    assert method.priorities([units], [Example("x", "a b c")], 0.5, 0)[0].tolist() == [0.0, 1.0, 2.0]


def test_self_information_is_the_mean_over_the_tokens_of_a_unit() -> None:
    phrases = Segmenter(TOKENIZER, "phrase")("the cat and the quokka on the mat")
    words = SEGMENTER(phrases.text)
    method = build("self_information")
    by_word = method.priorities([words], [Example("x", words.text)], 0.5, 0)[0]
    by_phrase = method.priorities([phrases], [Example("x", words.text)], 0.5, 0)[0]
    assert by_phrase == pytest.approx([by_word[:2].mean(), by_word[2:5].mean(), by_word[5:].mean()])

"""`Compressor`: budgets, nesting, spans, protection, long texts, threads, and a life without Ray."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcompress.artifact import save_artifact
from rlcompress.compressor import Compressed, Compressor, CompressorMethod
from rlcompress.errors import UserError
from rlcompress.models.tokenizer import TextTokenizer, train_tokenizer
from rlcompress.words import Example
from tests.rlcompress.small_models import TEXTS, WORDS, small_scorer
from tests.rlcompress.test_artifact import manifest

READER = train_tokenizer(TEXTS * 3, 420)
ANY_TEXT = st.lists(
    st.sampled_from([*TEXTS, *WORDS.split(), "\n\n", " ", "日本", "👩‍👩‍👧", "e\u0301", "12.5", "\ud800", "[MASK]"])
    | st.text(max_size=8)
).map(" ".join)
RATES = st.floats(0.01, 1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "artifact"
    save_artifact(folder, manifest(protect=()), small_scorer(READER).network, READER)
    return folder


@pytest.fixture(scope="module")
def compressor(folder: Path) -> Compressor:
    return Compressor.from_pretrained(folder, device="cpu")


def check(one: Compressed, text: str, budget: int) -> None:
    """What holds for every result without protected text."""
    assert one.source == text
    assert one.text == "".join(text[a:b] for a, b in one.spans) == str(one)
    assert all(a < b for a, b in one.spans)
    assert all(b < c for (_, b), (c, _) in zip(one.spans, one.spans[1:], strict=False))
    inside = np.zeros(len(text) + 1, np.bool_)
    for a, b in one.spans:
        inside[a:b] = True
    for (a, b), kept in zip(one.units, one.kept, strict=True):
        left = text[a:b] if kept else "".join(c for c, stays in zip(text[a:b], inside[a:b], strict=True) if stays)
        assert inside[a:b].all() if kept else (len(left) < 2 and not left.strip()), "at most a space between words"
    assert "".join(text[a:b] for a, b in one.units) == text
    assert len(one.scores) == len(one.units)
    assert one.kept_tokens <= budget
    assert one.original_tokens == len(READER.encode(text)[0])
    assert one.achieved_rate == (one.kept_tokens / one.original_tokens if one.original_tokens else 1.0)
    assert one.compressed_tokens == len(READER.encode(one.text)[0])
    assert one.status == "ok"


@pytest.fixture(scope="module")
def in_memory() -> Compressor:
    return Compressor(manifest(protect=()), small_scorer(READER), READER)


@settings(max_examples=60)
@given(ANY_TEXT, RATES, RATES)
def test_abstaining(in_memory: Compressor, text: str, low: float, high: float) -> None:
    """Each result is the exact one or the source, by a rule; a reader never sees more tokens, nor nothing at all.

    A higher rate loses no word of a text that was compressed at the lower one.
    """
    low, high = sorted((low, high))
    found = []
    for rate in (low, high):
        exact, one = in_memory.compress(text, rate, abstain=False), in_memory.compress(text, rate)
        in_vain = exact.compressed_tokens >= exact.original_tokens and not all(exact.kept)
        empty = not exact.text.strip() and text.strip() != ""
        if in_vain or empty:
            assert (one.text, one.status, one.kept_tokens) == (text, "unchanged", one.original_tokens)
            assert all(one.kept)
            assert one.spans == [(0, len(text))]
            assert one.scores == exact.scores
        else:
            assert one == exact
        assert one.compressed_tokens <= one.original_tokens
        assert one.compressed_tokens == len(READER.encode(one.text)[0])
        assert one.text.strip() or not text.strip()
        found.append(one)
    small, large = found
    if small.status == "ok":
        assert all(kept or not before for before, kept in zip(small.kept, large.kept, strict=True))


def test_what_cannot_help_comes_back_as_it_was(compressor: Compressor) -> None:
    """Too short for the rate; no token saved; shorter than asked. A limit in tokens holds all the same."""
    assert compressor.compress("One", 0.1).status == "unchanged"
    assert compressor.compress("One", 0.1, abstain=False).text == ""
    words = compressor.compress(TEXTS[0], target_tokens=1)
    assert words.kept_tokens <= 1
    assert words.status == "ok"
    tokens = len(READER.encode(TEXTS[0])[0])
    assert compressor.compress(TEXTS[0], 0.5, min_tokens=tokens + 1).text == TEXTS[0]
    assert compressor.compress(TEXTS[0], 0.5, min_tokens=tokens + 1, abstain=False).status == "unchanged"
    assert compressor.compress(TEXTS[0], 0.5, min_tokens=tokens) == compressor.compress(TEXTS[0], 0.5)
    reader = train_tokenizer([" to", " tomorrow", "x"] * 9, 300)
    glued = Compressor(manifest(protect=()), small_scorer(READER), reader)
    source = "x tomorrow"
    exact = glued.compress(source, protect=["tomorrow"], abstain=False)
    assert exact.text == "tomorrow"
    assert exact.compressed_tokens > exact.original_tokens
    assert glued.compress(source, protect=["tomorrow"]).text == source
    equal = glued.compress("qx tomorrow", protect=["tomorrow"], abstain=False)
    assert (equal.text, equal.compressed_tokens, equal.original_tokens) == ("tomorrow", 3, 3)
    assert glued.compress("qx tomorrow", protect=["tomorrow"]).status == "unchanged"


@settings(max_examples=20)
@given(ANY_TEXT, RATES)
def test_pieces_on_request(in_memory: Compressor, text: str, rate: float) -> None:
    one = in_memory.compress(text, rate, return_tokens=True, return_removed=True)
    assert one.tokens is not None
    assert "".join(piece.text for piece in one.tokens) == text
    assert all(piece.text == text[piece.start : piece.end] for piece in one.tokens)
    assert [piece.score for piece in one.tokens] == one.scores
    assert sum(piece.tokens for piece in one.tokens) == one.original_tokens
    assert sum(piece.tokens for piece in one.tokens if piece.kept) == one.kept_tokens
    assert one.removed == [piece for piece in one.tokens if not piece.kept]
    plain = in_memory.compress(text, rate)
    assert (plain.tokens, plain.removed) == (None, None)
    assert dataclasses.replace(one, tokens=None, removed=None) == plain


@settings(max_examples=40)
@given(ANY_TEXT, RATES, RATES)
def test_any_text_at_any_rate(text: str, low: float, high: float) -> None:
    """Budget, tiling and nesting: what stays at a lower rate stays at a higher one."""
    one = Compressor(manifest(protect=()), small_scorer(READER), READER)
    low, high = sorted((low, high))
    small, large = one.compress(text, low, abstain=False), one.compress(text, high, abstain=False)
    check(small, text, round(low * small.original_tokens))
    check(large, text, round(high * large.original_tokens))
    assert small.scores == large.scores  # the rate is no input
    assert all(kept or not before for before, kept in zip(small.kept, large.kept, strict=True))


@pytest.mark.parametrize("text", ["", " ", "\n \t\n", "x", "\ud800"])
def test_texts_of_nothing_much(compressor: Compressor, text: str) -> None:
    for rate in (0.01, 0.5, 1.0):
        one = compressor.compress(text, rate, abstain=False)
        check(one, text, round(rate * one.original_tokens))
    assert compressor.compress(text, 1.0).text == text
    assert compressor.compress(text, target_tokens=1).kept_tokens <= 1


def test_from_pretrained(folder: Path, compressor: Compressor) -> None:
    """A run directory or its artifact; equal scores to the scorer that was saved."""
    run = Compressor.from_pretrained(folder.parent)
    assert run.path == folder
    text = " ".join(TEXTS)
    expected = Compressor(manifest(protect=()), small_scorer(READER), READER).compress(text)
    assert run.compress(text) == compressor.compress(text) == expected
    assert expected.rate == 0.5
    with pytest.raises(UserError, match="no artifact in"):
        Compressor.from_pretrained(folder.parent.parent)
    with pytest.raises(UserError, match="use auto, cpu, cuda"):
        Compressor.from_pretrained(folder, device="abacus")


def test_a_list_gives_a_list(compressor: Compressor) -> None:
    together = compressor.compress(TEXTS, 0.6)
    assert [one.source for one in together] == TEXTS
    for one, text in zip(together, TEXTS, strict=True):
        alone = compressor.compress(text, 0.6)
        assert (alone.text, alone.spans) == (one.text, one.spans)
        np.testing.assert_allclose(alone.scores, one.scores, atol=1e-5)
    assert compressor.compress([], 0.6) == []


def test_target_tokens(compressor: Compressor) -> None:
    text = " ".join(TEXTS)
    for target in (1, 7, 40, 10_000):
        one = compressor.compress(text, target_tokens=target)
        check(one, text, target)
        units = compressor.segmenter(text)
        dropped = [cost for cost, kept in zip(units.costs_N.tolist(), one.kept, strict=True) if not kept]
        assert not dropped or target - one.kept_tokens < max(dropped)
    assert compressor.compress(text, target_tokens=10_000).text == text


def test_protected_text_stays(compressor: Compressor) -> None:
    text = "pay 1,234.50 to the old man at https://example.org/x and again"
    one = compressor.compress(text, 0.5, protect=["numbers", "urls"])
    assert "1,234.50" in one.text
    assert "https://example.org/x" in one.text
    assert one.status == "over_budget" or one.achieved_rate <= 0.52
    all_of_it = compressor.compress(text, 0.05, protect=["urls"])
    assert all_of_it.status == "over_budget"
    assert all_of_it.text.strip() == "https://example.org/x"
    assert "https://example.org/x" not in compressor.compress(text, 0.05).text
    own = Compressor(manifest(protect=("numbers",)), small_scorer(READER), READER)
    assert "1,234.50" in own.compress(text, 0.4).text


def test_a_question_reaches_the_scores(compressor: Compressor) -> None:
    plain, asked = compressor.compress(TEXTS[0]), compressor.compress(TEXTS[0], question="Who paid?")
    assert plain.scores != asked.scores


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": 0.0}, "above 0 and at most 1"),
        ({"rate": 1.5}, "above 0 and at most 1"),
        ({"rate": float("nan")}, "above 0 and at most 1"),
        ({"target_tokens": 0}, "at least 1"),
        ({"rate": 0.5, "target_tokens": 3}, "not both"),
        ({"protect": ["("]}, "protect"),
    ],
)
def test_mistakes(compressor: Compressor, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        compressor.compress("some text", **arguments)  # type: ignore[call-overload]


def test_thirty_two_thousand_tokens(compressor: Compressor) -> None:
    """Many windows, one global selection: the budget is exact, and the end of the text is not forgotten."""
    rng = np.random.default_rng(0)
    words = np.array(" ".join(TEXTS[:2]).split())
    text = " ".join(rng.choice(words, 21_000).tolist())
    total = len(READER.encode(text)[0])
    assert total > 32_000
    started = time.process_time()
    one = compressor.compress(text, 0.4)
    assert time.process_time() - started < 30
    budget = round(0.4 * total)
    check(one, text, budget)
    costs_N = compressor.segmenter(text).costs_N
    assert budget - one.kept_tokens < costs_N.max()
    kept_N = np.array(one.kept)
    quarters = [part.mean() for part in np.array_split(kept_N, 4)]
    assert max(quarters) - min(quarters) < 0.1
    lowest_kept = np.array(one.scores)[kept_N].min()
    assert (np.array(one.scores)[~kept_N] <= lowest_kept).all()
    assert np.unique(one.scores).size > 1000


def test_eight_threads_give_what_one_gives(compressor: Compressor) -> None:
    texts = [" ".join(np.random.default_rng(i).permutation(TEXTS).tolist()) for i in range(24)]
    serial = [compressor.compress(text, 0.5, protect=["numbers"]) for text in texts]
    fresh = Compressor.from_pretrained(compressor.path, device="cpu")  # type: ignore[arg-type]
    with ThreadPoolExecutor(8) as pool:
        threaded = list(pool.map(lambda text: fresh.compress(text, 0.5, protect=["numbers"]), texts * 3))
    assert threaded == serial * 3


def test_without_ray_and_gymnasium(folder: Path, compressor: Compressor) -> None:
    code = f"""
import json, sys
sys.modules["ray"] = sys.modules["gymnasium"] = None
from rlcompress import Compressor
one = Compressor.from_pretrained({str(folder)!r}, device="cpu").compress({TEXTS[1]!r}, 0.5)
assert not any(name.split(".")[0] in ("envs", "policies", "cluster", "transformers") for name in sys.modules)
print(json.dumps([one.text, one.scores]))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    here = compressor.compress(TEXTS[1], 0.5)
    assert json.loads(done.stdout) == [here.text, here.scores]


def test_as_an_evaluation_method(compressor: Compressor) -> None:
    method = CompressorMethod(compressor)
    units = [compressor.segmenter(text) for text in TEXTS]
    examples = [Example(str(i), text, question="who") for i, text in enumerate(TEXTS)]
    found = method.priorities(units, examples, 0.3, seed=1)
    assert method.name == "rl"
    assert all((a == b).all() for a, b in zip(found, method.priorities(units, examples, 0.9, seed=2), strict=True))
    for text, scores in zip(TEXTS, found, strict=True):
        np.testing.assert_allclose(scores, compressor.compress(text, question="who").scores, atol=1e-5)


def test_reader_and_policy_may_cut_differently(tmp_path: Path) -> None:
    """The budget counts reader tokens, whatever the policy reads."""
    other: TextTokenizer = train_tokenizer(TEXTS, 300)
    one = Compressor(manifest(protect=()), small_scorer(READER), other).compress(" ".join(TEXTS), 0.5)
    assert one.original_tokens == len(other.encode(one.source)[0])
    assert one.kept_tokens <= round(0.5 * one.original_tokens)


def chooser(**changes: object) -> Compressor:
    """A policy that was trained to choose its length."""
    return Compressor(manifest(protect=(), sampler="bernoulli", **changes), small_scorer(READER), READER)


@settings(max_examples=20)
@given(ANY_TEXT)
def test_without_a_rate_a_policy_that_chooses_keeps_what_it_would_rather_keep(text: str) -> None:
    one = chooser()
    result = one.compress(text, abstain=False)
    assert result.kept == [score >= 0 for score in result.scores]
    check(result, text, result.kept_tokens)
    assert result.rate == result.achieved_rate


def test_a_policy_that_chooses_meets_a_budget_that_is_given(compressor: Compressor) -> None:
    one = chooser()
    assert one.compress(TEXTS[4], 0.3) == compressor.compress(TEXTS[4], 0.3)
    assert one.compress(TEXTS[4], target_tokens=5) == compressor.compress(TEXTS[4], target_tokens=5)
    assert not compressor.chooses_length
    assert compressor.compress(TEXTS[4]) == compressor.compress(TEXTS[4], 0.5)
    with pytest.raises(UserError, match="rate must be above 0"):
        one.compress(TEXTS[4], 0.0)


def test_a_policy_that_chooses_keeps_what_is_protected() -> None:
    free, bound = chooser().compress(TEXTS[0]), chooser().compress(TEXTS[0], protect=["paid", "known"])
    assert not any(word in free.text for word in ("paid", "known"))
    assert all(word in bound.text for word in ("paid", "known"))
    assert all(b or not a for a, b in zip(free.kept, bound.kept, strict=True))

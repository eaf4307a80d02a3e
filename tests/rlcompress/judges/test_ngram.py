"""The judge of word counts: its bits by hand, its bookkeeping, and that it needs no torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from rlcompress.judges.ngram import NgramJudge, WordTokenizer, default_ngram_judge
from rlcompress.text.segment import Segmenter
from rlcompress.words import BoolArray, JudgeRequest

TRAIN = ["new york is a city", "new york is old", "a city is old", "new york new york"]
TOKENIZER = WordTokenizer(TRAIN)
JUDGE = NgramJudge(TOKENIZER, TRAIN)


def request(text: str, kept: BoolArray) -> JudgeRequest:
    return JudgeRequest(text, Segmenter(TOKENIZER)(text).starts_N, kept)


def test_tokenizer() -> None:
    ids_T, spans_T2 = TOKENIZER.encode("  New York, Xanadu")
    assert ids_T.tolist() == [TOKENIZER.encode("new")[0][0], TOKENIZER.encode("york")[0][0], 0, 0]
    assert spans_T2.tolist() == [[0, 6], [6, 10], [10, 12], [12, 18]]
    assert TOKENIZER.encode("")[1].shape == (0, 2)


def slow_bits(text: str, kept: list[bool]) -> list[float]:
    """Absolute discounting over pairs up to three words apart, with dictionaries."""
    rows = [row.split() for row in TRAIN]
    words = [word for row in rows for word in row]
    pairs = [(row[i], row[j]) for row in rows for i in range(len(row)) for j in range(i + 1, min(i + 4, len(row)))]

    def level(seen: list[str], everything: list[object], token: str, lower: float) -> float:
        counts = [everything.count(event) for event in set(everything)]
        ones, twos = counts.count(1), counts.count(2)
        discount = ones / (ones + 2 * twos) if ones else 0.5
        if not seen:
            return lower
        return (max(seen.count(token) - discount, 0) + discount * len(set(seen)) * lower) / len(seen)

    bits, given = [], text.split()
    for i, word in enumerate(given):
        near = [given[j] for j in range(max(0, i - 3), i) if kept[j]]
        frequency = level(words, list(words), word, 1 / TOKENIZER.vocabulary)
        after = [b for a, b in pairs if near and a == near[-1]]
        bits.append(0.0 if kept[i] else -np.log2(level(after, list(pairs), word, frequency)))
    return bits


@pytest.mark.parametrize("kept", ["00000000", "10000000", "01010000", "11111111", "00010001", "10101010"])
def test_bits_equal_the_slow_twin(kept: str) -> None:
    text = "new york is xanadu old city a new"
    kept_N = np.array([digit == "1" for digit in kept])
    verdict = JUDGE.judge([request(text, kept_N)])[0]
    assert verdict.per_unit_N is not None
    assert verdict.per_unit_N.tolist() == pytest.approx(slow_bits(text, kept_N.tolist()))
    assert verdict.score == pytest.approx(verdict.per_unit_N.sum())
    assert (verdict.tokens, verdict.dropped) == (8, int((~kept_N).sum()))


def test_a_hit_is_the_most_likely_word() -> None:
    verdict = JUDGE.judge([request("new york is old", np.array([True, False, True, False]))])[0]
    best = {}
    for left in ("new", "is"):
        chances = {}
        for word in {word for row in TRAIN for word in row.split()}:
            judged = JUDGE.judge([request(f"{left} {word}", np.array([True, False]))])[0]
            chances[word] = judged.score
        best[left] = {word for word in chances if chances[word] == min(chances.values())}
    assert best["new"] == {"york"}
    assert verdict.hits == 1 + (best["is"] == {"old"})


def test_a_kept_neighbour_helps_and_order_does_not_matter() -> None:
    with_it = request("new york", np.array([True, False]))
    without = request("old york", np.array([True, False]))
    first, second = JUDGE.judge([with_it, without])
    assert first.score < second.score
    assert [v.score for v in JUDGE.judge([without, with_it])] == [second.score, first.score]
    assert JUDGE.judge([]) == []


def test_units_of_several_words_and_empty_texts() -> None:
    whole = JudgeRequest("new york is old", np.array([0, 9]), np.array([True, False]))
    verdict = JUDGE.judge([whole, request("", np.zeros(0, np.bool_))])
    assert verdict[0].dropped == 2
    assert verdict[0].per_unit_N is not None
    assert verdict[0].per_unit_N[0] == 0.0
    assert (verdict[1].score, verdict[1].tokens) == (0.0, 0)


def test_the_version_names_the_counts() -> None:
    assert NgramJudge(TOKENIZER, TRAIN).version == JUDGE.version
    assert NgramJudge(TOKENIZER, TRAIN[:2]).version != JUDGE.version
    assert JUDGE.judge([request("new", np.array([False]))])[0].version == JUDGE.version


def test_the_default_judge_needs_no_torch_and_is_equal_in_every_process() -> None:
    script = (
        "import sys; from rlcompress.judges.ngram import default_ngram_judge as d; print(d().version);"
        "assert not {'torch', 'ray', 'transformers', 'gymnasium'} & set(sys.modules)"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {script}"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout.strip()
    assert elsewhere == default_ngram_judge().version

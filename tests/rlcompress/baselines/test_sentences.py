"""Sentence baselines: planted sentences are kept first, whole sentences before parts of the next."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rlcompress.baselines.sentences import SentenceMethod, by_bm25, by_embedding, by_mix
from rlcompress.config.embedding import EmbedderConfig
from rlcompress.measuring.metrics import answer_retention
from rlcompress.models.embedder import build_embedder
from rlcompress.questions.sentences import mix
from rlcompress.selection import select
from rlcompress.text.segment import Segmenter
from rlcompress.words import Example, FloatArray
from tests.rlcompress.evaluation_fakes import WordTokenizer

TEXT = "The ship left at dawn. The clerk owed a large loan. A vessel sank in the storm."
SEA = ["The ship sailed in a storm.", "A vessel sailed in a storm.", "The captain of the ship sailed at dawn."] * 5
BANK = ["The clerk had a loan.", "Interest on a loan is owed.", "The clerk owed interest."] * 5


def first_sentence(method: SentenceMethod, question: str) -> str:
    units = Segmenter(WordTokenizer())(TEXT)
    priorities_N = method.priorities([units], [Example("x", TEXT, question)], 0.34, 0)[0]
    return select(units, priorities_N, 0.34).text.strip()


def test_bm25_keeps_the_sentence_with_the_rare_word_of_the_question() -> None:
    method = SentenceMethod("bm25_sentences", by_bm25)
    assert first_sentence(method, "What did the CLERK do?") == "The clerk owed a large loan."
    assert first_sentence(method, "What did the vessel do at the end of the day?") == "A vessel sank in the storm."
    assert first_sentence(method, "The?") == "The ship left at dawn. The", "stop words where there is nothing else"
    assert first_sentence(method, "??") == "The ship left at dawn. The", "ties by position"


def test_an_encoder_finds_a_paraphrase_and_the_mix_breaks_ties() -> None:
    embedder = build_embedder(EmbedderConfig(dimension=3), SEA + BANK)
    asked = "Who had interest?"  # no word of the sentence about the loan
    by_words = SentenceMethod("bm25_sentences", by_bm25)
    assert first_sentence(by_words, asked).startswith("The ship")
    for name, score in (("embedding_sentences", by_embedding), ("mix_sentences", by_mix)):
        assert first_sentence(SentenceMethod(name, score, embedder), asked) == "The clerk owed a large loan."


class Fixed:
    """An encoder whose cosines with any question are planted."""

    version = "fixed"

    def __init__(self, cosines: dict[str, float]) -> None:
        self.cosines = cosines

    def sentences(self, texts: list[str]) -> FloatArray:
        found = [self.cosines.get(text.strip(), 1.0) for text in texts]
        return np.array([[c, np.sqrt(1 - c * c)] for c in found])

    def words(self, text: str, spans_N2: np.ndarray) -> FloatArray:
        raise NotImplementedError


def test_units_have_the_score_of_their_sentence() -> None:
    a, b, c = (piece.strip() + "." for piece in TEXT.split(".")[:3])
    embedder = Fixed({a: 0.2, b: -0.4, c: 0.8})
    for granularity in ("word", "phrase", "sentence"):
        units = Segmenter(WordTokenizer(), granularity)(TEXT)
        example = Example("x", TEXT, "dawn?")
        cosine_N = SentenceMethod("e", by_embedding, embedder).priorities([units], [example], 0.5, 0)[0]
        mix_N = SentenceMethod("m", by_mix, embedder).priorities([units], [example], 0.5, 0)[0]
        place_N = np.array([sum(unit_start >= TEXT.index(s) for s in (b, c)) for unit_start in units.starts_N])
        assert cosine_N == pytest.approx(np.array([0.2, -0.4, 0.8])[place_N])
        assert mix_N == pytest.approx(mix(np.array([0.2, -0.4, 0.8]), np.array([7.0, 0.0, 0.0]))[place_N])


def test_real_questions_keep_more_answers_than_the_head_does(real_data: Path) -> None:
    lines = (real_data / "context-qa" / "train.jsonl").read_text(encoding="utf-8").splitlines()[:120]
    rows = [json.loads(line) for line in lines]
    segmenter, method = Segmenter(WordTokenizer()), SentenceMethod("bm25_sentences", by_bm25)
    units = [segmenter(row["context"]) for row in rows]
    examples = [Example(str(i), row["context"], row["question"]) for i, row in enumerate(rows)]
    ranked = {
        "bm25": method.priorities(units, examples, 0.33, 0),
        "head": [np.zeros(len(u)) for u in units],
    }
    kept = {
        name: np.mean(
            [
                answer_retention(row["answer"], select(u, p, 0.33).text)
                for row, u, p in zip(rows, units, priorities, strict=True)
            ]
        )
        for name, priorities in ranked.items()
    }
    assert kept["bm25"] > kept["head"] + 0.05

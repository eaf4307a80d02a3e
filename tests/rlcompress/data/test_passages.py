from __future__ import annotations

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcompress.data.passages import count_tokens, passages
from rlcompress.words import IntArray


class Words:
    """One token a word; a word that opens a text costs one more, as with byte-level BPE."""

    name = "words"

    def encode(self, text: str) -> tuple[IntArray, IntArray]:
        spans = [match.span() for match in re.finditer(r"\S+", text)]
        if spans and spans[0][1] - spans[0][0] > 1:
            spans = [(spans[0][0], spans[0][0] + 1), (spans[0][0] + 1, spans[0][1]), *spans[1:]]
        spans_T2 = np.asarray(spans, np.int64).reshape(-1, 2)
        return np.arange(len(spans_T2), dtype=np.int64), spans_T2


WORDS = Words()
TEXTS = st.lists(st.text(alphabet="ab.,é中 \n", min_size=1, max_size=6), max_size=60).map(" ".join)


@given(TEXTS, st.integers(1, 6), st.integers(6, 20))
@settings(deadline=None, max_examples=200)
def test_passages_keep_every_word_in_order_within_the_limit(text: str, least: int, most: int) -> None:
    pieces = passages(text, WORDS, least, most)
    assert re.sub(r"\s", "", "".join(piece for piece, _ in pieces)) == re.sub(r"\s", "", text)
    for piece, tokens in pieces:
        assert tokens == count_tokens(piece, WORDS) <= most
        assert piece == piece.strip()


def test_a_short_text_stays_whole() -> None:
    assert passages("  One two.  Three. ", WORDS, 1, 10) == [("One two.  Three.", 4)]


def test_cuts_after_sentences_then_after_words() -> None:
    text = "One two three. Four five six seven eight nine. " + " ".join(f"w{i}" for i in range(12)) + "."
    assert [piece for piece, _ in passages(text, WORDS, 3, 8)] == [
        "One two three.",
        "Four five six seven eight nine.",
        "w0 w1 w2 w3 w4 w5 w6",
        "w7 w8 w9 w10 w11.",
    ]


def test_a_sentence_too_short_to_stand_alone_does_not_end_a_passage() -> None:
    text = "No. " + " ".join(f"w{i}" for i in range(20))
    assert passages(text, WORDS, 4, 8)[0][0] == "No. w0 w1 w2 w3 w4 w5"


def test_a_single_word_above_the_limit_stands_alone() -> None:
    class Letters:
        name = "letters"

        def encode(self, text: str) -> tuple[IntArray, IntArray]:
            spans = [(i, i + 1) for i, c in enumerate(text) if not c.isspace()]
            return np.arange(len(spans), dtype=np.int64), np.asarray(spans, np.int64).reshape(-1, 2)

    assert passages("ab " + "x" * 30 + " cd", Letters(), 1, 10) == [("ab", 2), ("x" * 30, 30), ("cd", 2)]

"""Sentences and the units in them, scaling to the best sentence, the mix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.judges.ngram import WordTokenizer
from rlcompress.questions.sentences import cosines, mix, scaled, sentence_numbers, sentence_texts, spread
from rlcompress.text.segment import Segmenter

TEXT = "Dr. Hall paid 3.50 of it. Who else? Nobody did!\n\n日本語の文。次の文。 The end"
SENTENCES = ["Dr. Hall paid 3.50 of it. ", "Who else? ", "Nobody did!\n\n", "日本語の文。", "次の文。 ", "The end"]
TOKENIZER = WordTokenizer([TEXT])
numbers = st.lists(st.floats(-1e6, 1e6), max_size=8).map(np.array)


def test_sentences_tile_the_text() -> None:
    assert sentence_texts(TEXT) == SENTENCES
    assert sentence_texts("") == []
    assert sentence_texts("\n ") == ["\n "]


@given(st.text(alphabet="ab. ?!\n。あ1", max_size=40), st.sampled_from(["word", "phrase", "sentence"]))
def test_every_unit_lies_in_its_sentence(text: str, granularity: str) -> None:
    units = Segmenter(TOKENIZER, granularity)(text)
    sentences = sentence_texts(text)
    assert "".join(sentences) == text
    number_N = sentence_numbers(units)
    assert number_N.shape == (len(units),)
    ends = np.cumsum([len(sentence) for sentence in sentences])
    for start, number in zip(units.starts_N, number_N, strict=True):
        assert ends[number] - len(sentences[number]) <= start < ends[number]
    if granularity == "sentence":
        assert number_N.tolist() == list(range(len(sentences)))


def test_words_get_the_score_of_their_sentence() -> None:
    units = Segmenter(TOKENIZER)("One two. Three four five.")
    assert units.words() == ["One ", "two", ". ", "Three ", "four ", "five", "."]
    assert spread(np.array([0.5, 2.0]), sentence_numbers(units)).tolist() == [0.5] * 3 + [2.0] * 4
    empty = Segmenter(TOKENIZER)("")
    assert spread(np.zeros(0), sentence_numbers(empty)).shape == (0,)


@given(numbers)
def test_scaled_keeps_the_order_of_what_is_positive(scores: np.ndarray) -> None:
    shares = scaled(scores)
    assert ((shares >= 0) & (shares <= 1)).all()
    assert (scaled(shares) == shares).all(), "scaling twice changes nothing"
    if (scores > 0).any():
        assert shares.max() == 1
        assert (np.sign(shares) <= (scores > 0)).all()
    else:
        assert not shares.any()


def test_scaled_and_mix_by_hand() -> None:
    assert scaled(np.array([1.0, 4.0, -8.0, 0.0])).tolist() == [0.25, 1.0, 0.0, 0.0]
    assert scaled(np.array([-0.2, -0.1])).tolist() == [0.0, 0.0]
    # embedding: 0.5, 1, 0; BM25: 1, 0, 0.25
    assert mix(np.array([0.3, 0.6, -0.1]), np.array([8.0, 0.0, 2.0])) == pytest.approx([0.65, 0.7, 0.075])
    assert mix(np.array([0.1, 0.2]), np.zeros(2)) == pytest.approx([0.35, 0.7]), "a question of unknown words"
    assert mix(np.array([-0.1, -0.2]), np.array([0.0, 3.0])) == pytest.approx([0, 0.3])
    assert mix(np.array([0.4]), np.array([2.0])) == pytest.approx([1.0])
    assert mix(np.zeros(0), np.zeros(0)).shape == (0,)


def test_cosines_of_unit_vectors() -> None:
    vectors = np.array([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0], [0.0, 0.0]])
    assert cosines(vectors, np.array([1.0, 0.0])) == pytest.approx([1.0, 0.6, -1.0, 0.0])

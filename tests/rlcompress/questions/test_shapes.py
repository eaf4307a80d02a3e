"""Kinds of questions and shapes of words."""

from __future__ import annotations

import numpy as np
import pytest

from rlcompress.questions.shapes import (
    ANSWERING,
    QUESTION_KINDS,
    WORD_SHAPES,
    answering,
    question_kind,
    word_shape,
    word_shapes,
)


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Who paid the old man?", "who"),
        ("what year were the groups compared", "when"),
        ("When did the man who paid leave?", "when"),
        ("How many people met?", "how many"),
        ("How long is it?", "how much"),
        ("How did they meet?", "how"),
        ("What is the last name of the person who left?", "name"),
        ("What is it that he wants?", "what"),
        ("Did she leave?", "is"),
        ("Name the river.", "other"),
        ("Whoever", "other"),
        ("", "other"),
        ("日本語の質問", "other"),
    ],
)
def test_the_first_cue_names_the_kind(question: str, kind: str) -> None:
    one_hot_K = question_kind(question)
    assert one_hot_K.sum() == 1.0
    assert list(QUESTION_KINDS)[int(one_hot_K.argmax())] == kind


@pytest.mark.parametrize(
    ("word", "shapes"),
    [
        ("Harrison", {"capital"}),
        ("NATO", {"capital", "capitals"}),
        ("1910", {"digit", "number", "year"}),
        ("$1,234.50", {"digit", "number"}),
        ("B12", {"capital", "digit"}),
        ("May", {"capital", "month"}),
        ("seven", {"number word"}),
        ("--", {"mark"}),
        ("river", set()),
        ("", {"mark"}),
    ],
)
def test_shapes_of_a_word(word: str, shapes: set[str]) -> None:
    flags = dict(zip(WORD_SHAPES[:-1], word_shape(word), strict=True))
    assert {name for name, flag in flags.items() if flag} == shapes


def test_the_first_word_of_each_sentence_is_marked() -> None:
    opens_N = word_shapes(["It", "is", "so.", "Is", "it?"], np.array([0, 0, 0, 1, 1]))[:, -1]
    assert opens_N.tolist() == [1.0, 0.0, 0.0, 1.0, 0.0]
    assert word_shapes([], np.zeros(0, np.int64)).shape == (0, len(WORD_SHAPES))


def test_products_are_on_where_kind_and_shape_meet() -> None:
    shapes_NF = word_shapes(["In", "1910", "Anna"], np.array([0, 0, 0]))
    found = answering(question_kind("When was that?"), shapes_NF)
    for column, (kind, shape) in enumerate(ANSWERING):
        wanted = shapes_NF[:, list(WORD_SHAPES).index(shape)] if kind == "when" else np.zeros(3)
        np.testing.assert_array_equal(found[:, column], wanted)

"""Ways to be paid without compressing well. Each is a policy; the contract in `test_cheats.py` runs all of them.

A masking cheat gives priorities, which an exact budget cuts (`select`), and the mask it would rather keep where the
length is free. A writing cheat gives a text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rlcompress.text.bare import bare_words
from rlcompress.text.stop_words import STOP_WORDS
from rlcompress.text.units import word_starts
from rlcompress.words import BoolArray, Example, FloatArray, Units

TACO_WINDOW = 30  # tokens on either side of the target that TACO-RL takes for good


def word_of(unit: str) -> str:
    return " ".join(bare_words(unit))


def position(units: Units) -> FloatArray:
    return -np.arange(len(units), dtype=np.float64)


def flags(units: Units, test: Callable[[str], bool]) -> FloatArray:
    return np.asarray([float(test(unit.strip())) for unit in units.words()])


@dataclass(frozen=True)
class Mask:
    """A masking cheat: priorities for an exact budget, and what it keeps where nobody sets one."""

    priorities: Callable[[Units, Example], FloatArray]
    free: Callable[[Units, Example], BoolArray]


def copies(units: Units, example: Example) -> FloatArray:
    """Everything is equally dear: what a budget leaves of that is the head of the text."""
    return position(units)


def everything(units: Units, example: Example) -> BoolArray:
    return np.ones(len(units), np.bool_)


def nothing(units: Units, example: Example) -> BoolArray:
    return np.zeros(len(units), np.bool_)


def one_token(units: Units, example: Example) -> FloatArray:
    """The longest word, then whatever is shortest."""
    length_N = np.asarray([len(unit.strip()) for unit in units.words()], np.float64)
    order_N = -length_N
    order_N[int(np.argmax(length_N))] = 1.0
    return order_N


def the_longest_word(units: Units, example: Example) -> BoolArray:
    return one_token(units, example) > 0


def the_answer_alone(units: Units, example: Example) -> BoolArray:
    """What a policy would keep that has learned its training answers by heart."""
    answer = set(bare_words(example.answer or ""))
    return flags(units, lambda unit: word_of(unit) in answer) > 0


def question_words(units: Units, example: Example) -> FloatArray:
    asked = set(bare_words(example.question or ""))
    return flags(units, lambda unit: word_of(unit) in asked) * 1e6 + flags(units, is_stop) * 1e3 + position(units)


def only_question_words(units: Units, example: Example) -> BoolArray:
    return question_words(units, example) > 1e5


def is_stop(unit: str) -> bool:
    return word_of(unit) in STOP_WORDS or not word_of(unit)


def answer_shaped(units: Units, example: Example) -> FloatArray:
    """Numbers and capitals, for answers often are."""
    return flags(units, is_shaped) * 1e6 + flags(units, is_stop) * 1e3 + position(units)


def only_answer_shaped(units: Units, example: Example) -> BoolArray:
    return flags(units, is_shaped) > 0


def is_shaped(unit: str) -> bool:
    return any(c.isdigit() for c in unit) or unit[:1].isupper()


def stop_words(units: Units, example: Example) -> FloatArray:
    """Many cheap words: they fill a budget and any measure that counts words."""
    return flags(units, is_stop) * 1e6 + position(units)


def only_stop_words(units: Units, example: Example) -> BoolArray:
    return flags(units, is_stop) > 0


def tail(units: Units, example: Example) -> FloatArray:
    return -position(units)


def edge_of_the_window(units: Units, example: Example) -> BoolArray:
    """As much as TACO-RL's window around one half lets pass: the head of the text."""
    return np.cumsum(units.costs_N) <= 0.5 * units.total_cost + TACO_WINDOW


MASKS: dict[str, Mask] = {
    "copy unchanged": Mask(copies, everything),
    "keep nothing": Mask(tail, nothing),
    "one token": Mask(one_token, the_longest_word),
    "the answer alone": Mask(copies, the_answer_alone),
    "question words": Mask(question_words, only_question_words),
    "answer shapes": Mask(answer_shaped, only_answer_shaped),
    "stop words": Mask(stop_words, only_stop_words),
    "edge of the window": Mask(copies, edge_of_the_window),
}


def shuffled(text: str, seed: int = 0) -> str:
    words = text.split()
    return " ".join(words[i] for i in np.random.default_rng(seed).permutation(len(words)))


def first_words(text: str, share: float) -> str:
    starts = word_starts(text)
    return text[: starts[int(share * len(starts))]]


def answer_among_noise(example: Example, honest: str) -> str:
    """The answer beside the question's words, and then words of the text in no order, for the gates' sake."""
    there = set(bare_words(example.text))
    asked = [word for word in bare_words(example.question or "") if word in there]
    return f"{' '.join(asked)} {example.answer} {first_words(shuffled(example.text, 1), 0.35)}"


Writer = Callable[[Example, str], str]  # the row and an honest compression of it -> what is written

WRITERS: dict[str, Writer] = {
    "copy unchanged": lambda example, honest: example.text,
    "nothing": lambda example, honest: "",
    "the answer alone": lambda example, honest: str(example.answer),
    "the answer again and again": lambda example, honest: " ".join([str(example.answer)] * 20),
    "the answer among noise": answer_among_noise,
    "answer and question": lambda example, honest: f"{example.question} {example.answer}",
    "an answer from elsewhere": lambda example, honest: f"{honest} The answer is therefore: {example.answer}!",
    "padding": lambda example, honest: honest + " the" * len(example.text.split()),
    "echo": lambda example, honest: f"{honest} {honest}",
    "scrambled": lambda example, honest: shuffled(honest),
    "one long word": lambda example, honest: honest.replace(" ", ""),
    "the question": lambda example, honest: str(example.question),
    "the head": lambda example, honest: first_words(example.text, 0.5),
}

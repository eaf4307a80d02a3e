"""What of a prompt is still there after it was rewritten: its numbers and its question."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from rlcompress.problems.numbers import mentions, numbers
from rlcompress.problems.problem import SENTENCE_END, question_of
from rlcompress.text.bare import bare_words
from rlcompress.text.stop_words import STOP_WORDS

_ASKING_TEXT = "how what which who whom whose when where why find calculate determine compute"
_ASKING = frozenset(_ASKING_TEXT.split())
_QUESTION_SHARE = 1 / 3  # of the question's content words: the least that makes a short question the same one
_PREFIX = 4  # letters that inflected forms have in common: "sells", "sold" not, "selling", "sell"


@dataclass(frozen=True, slots=True)
class NumberChange:
    """Values of the original that the rewrite still mentions, those it lost, and those that only it has."""

    survived: frozenset[Fraction]
    lost: frozenset[Fraction]
    new: frozenset[Fraction]


def number_change(original: str, rewrite: str) -> NumberChange:
    """Numbers by value: "half", 0.5 and 1/2 are one.

    A ratio of numbers that the original has, such as 80/2, is not counted itself; nor are the parts of a ratio in
    lowest terms, such as 1/2, whose value the original has.
    """
    there, written = numbers(original), numbers(rewrite)
    values = frozenset(mention.value for mention in mentions(original))
    new = set[Fraction]()
    for mention in mentions(rewrite):
        if mention.value in there and (not mention.parts or math.gcd(*map(int, mention.parts[-2:])) == 1):
            continue
        if not (mention.parts and there.issuperset(mention.parts)):
            new |= {mention.value, *mention.parts} - there
    return NumberChange(values & written, values - written, frozenset(new))


def question_stays(original: str, rewrite: str) -> bool:
    """One of the rewrite's sentences still asks, and has a third of the content words of the original's question.

    A sentence asks that has a question mark, or a word such as "how" or "find"; where the original's own question has
    neither, any sentence may be it. Words are the same that begin with the same four letters.
    """
    question = question_of(original)
    asked, must_ask = _content(question), _asks(question)
    least = math.ceil(_QUESTION_SHARE * len(asked))
    parts = [part for line in rewrite.splitlines() for part in SENTENCE_END.split(line) if part.strip()]
    return any(len(asked & _content(part)) >= least for part in parts if _asks(part) or not must_ask)


def _asks(sentence: str) -> bool:
    return "?" in sentence or bool(_ASKING & set(bare_words(sentence)))


def _content(text: str) -> set[str]:
    words = [word for word in bare_words(text) if word not in STOP_WORDS and word not in _ASKING]
    return {word[:_PREFIX] for word in words}

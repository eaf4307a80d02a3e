"""A word problem: its prompt, the question in it, the right answer, and how that comes about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from rlcompress.errors import UserError
from rlcompress.problems.answers import gold_value
from rlcompress.problems.calculator import results
from rlcompress.words import Example

SENTENCE_END = re.compile(r"(?<=[.?!])(?<!\bMr\.)(?<!\bMrs\.)(?<!\bMs\.)(?<!\bDr\.)(?<!\bSt\.)[\"'”’)]*\s+")


@dataclass(frozen=True, slots=True)
class Clause:
    """A sentence of a generated problem. `needed` is for tests and measurements alone: nothing that learns sees it."""

    text: str
    needed: bool
    kind: str


@dataclass(frozen=True)
class WordProblem:
    """A prompt with its question inside, and the solution in GSM8K's notation, which ends in `#### 190`.

    `clauses` are known of generated problems only. `template` is what a problem shares with others like it: the steps
    of a generated one, the group of a row; empty where it stands for itself.

    Raises:
        ValueError: the solution ends in no number.
    """

    id: str
    text: str
    solution: str
    source: str
    template: str = ""
    clauses: tuple[Clause, ...] = ()

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError(f"{self.id}: the problem has no text")
        if gold_value(self.solution) is None:
            raise ValueError(f"{self.id}: no number stands where the answer should: let the solution end in `#### 42`")

    @cached_property
    def answer(self) -> Fraction:
        value = gold_value(self.solution)
        assert value is not None  # looked at in the beginning
        return value

    @cached_property
    def results(self) -> tuple[Fraction, ...]:
        """What is worked out on the way, in order, and the answer last: what a rewritten prompt must not tell."""
        steps = [value for value in map(gold_value, results(self.solution)) if value is not None]
        return (*steps, self.answer)

    @property
    def question(self) -> str:
        """The last sentence that asks, or the last sentence where none has a question mark."""
        return question_of(self.text)

    def example(self) -> Example:
        """The row that the pipeline of data knows: the solution stands in `answer`, as in GSM8K."""
        return Example(self.id, self.text, answer=self.solution, group=self.template or self.id)


def problem_of(example: Example) -> WordProblem:
    """The problem in a prepared row, whose answer is a solution or a number alone; its template is the row's group.

    Raises:
        UserError: the row has no answer, or one without a number; the message names it.
    """
    if example.answer is None:
        raise UserError(f"{example.id}: the row has no answer: give each row a solution that ends in `#### 42`")
    asked = f"{example.text} {example.question}" if example.question else example.text
    template = "" if example.group == example.id else example.group
    try:
        return WordProblem(example.id, asked, example.answer, source="rows", template=template)
    except ValueError as error:
        raise UserError(str(error)) from None


def question_of(text: str) -> str:
    sentences = [sentence.strip() for sentence in SENTENCE_END.split(text) if sentence.strip()]
    asking = [sentence for sentence in sentences if "?" in sentence]
    return (asking or sentences or [""])[-1]

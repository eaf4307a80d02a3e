"""One generated problem from a template: which steps follow each other, their numbers, and the sentences around them.

A template is a beginning, at most two changes and an end, e.g. `packs-loss-share`: 1 to 3 operations in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from rlcompress.problems.lexicon import (
    DISTRACTORS,
    NEEDED,
    OTHERS,
    PEOPLE,
    PLACES,
    QUESTIONS,
    THINGS,
    Register,
)
from rlcompress.problems.problem import Clause

Equation = tuple[int, str, int, int]  # 80, "+", 110, 190
_SIGNS = {"packs": "*", "gain": "+", "loss": "-", "cost": "*", "share": "/", "more": "+", "fewer": "-", "times": "*"}
_ENDS = ("now", "cost", "share", "more", "fewer", "times")
_MOST_STEPS = 3
_LARGEST = 999
_DRAWS = 100  # of numbers, until a template has some that fit


def operations(template: str) -> int:
    return sum(step in _SIGNS for step in template.split("-"))


TEMPLATES: tuple[str, ...] = tuple(
    sorted(
        template
        for count in range(3)
        for begin, end in product(("has", "packs"), _ENDS)
        for changes in product(("gain", "loss"), repeat=count)
        if 1 <= operations(template := "-".join((begin, *changes, end))) <= _MOST_STEPS
    )
)


@dataclass(frozen=True, slots=True)
class Story:
    """A template with its numbers: what is needed, before any words are chosen."""

    template: str
    start: int | None  # the number of `has`; None where `packs` begins with a product
    equations: tuple[Equation, ...]


def draw_story(template: str, rng: np.random.Generator) -> Story | None:
    """Numbers for a template, whole and positive all the way; None where a hundred draws gave none."""
    for _ in range(_DRAWS):
        story = _numbers(template, rng)
        if story is not None:
            return story
    return None


def _numbers(template: str, rng: np.random.Generator) -> Story | None:
    steps = template.split("-")
    start = int(rng.integers(5, 61)) if steps[0] == "has" else None
    value = start or 0
    equations: list[Equation] = []
    for step in (step for step in steps if step in _SIGNS):
        first = int(rng.integers(2, 10)) if step == "packs" else value
        second = _operand(step, first, rng)
        if second is None:
            return None
        value = _OPERATE[_SIGNS[step]](first, second)
        if not 1 <= value <= _LARGEST:
            return None
        equations.append((first, _SIGNS[step], second, value))
    story = Story(template, start, tuple(equations))
    told, worked_out = told_numbers(story), {result for *_, result in equations}
    distinct = len(set(told)) == len(told) and len(worked_out) == len(equations) and not worked_out & set(told)
    return story if distinct else None


_OPERATE = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a // b,
}


def _operand(step: str, value: int, rng: np.random.Generator) -> int | None:
    if step == "share":
        divisors = [d for d in range(2, 10) if value % d == 0 and value > d]
        return int(rng.choice(divisors)) if divisors else None
    if step in ("loss", "fewer"):
        return int(rng.integers(2, min(value, 41))) if value > 3 else None
    low, high = {"packs": (3, 13), "cost": (2, 10), "times": (2, 6)}.get(step, (2, 41))
    return int(rng.integers(low, high))


def told_numbers(story: Story) -> list[int]:
    """The numbers that the text must tell, in order: those of the story that are not worked out."""
    told = [] if story.start is None else [story.start]
    for i, (first, _, second, _) in enumerate(story.equations):
        told += [first, second] if i == 0 and story.start is None else [second]
    return told


def solution(story: Story) -> str:
    """In GSM8K's notation, a line a step: `<<80+110=190>>190`, and `#### 190` at the end."""
    lines = [f"<<{a}{sign}{b}={c}>>{c}" for a, sign, b, c in story.equations]
    return "\n".join([*lines, f"#### {story.equations[-1][3]}"])


def tell(
    story: Story, registers: Sequence[Register], distractors: tuple[int, int], rng: np.random.Generator
) -> tuple[Clause, ...]:
    """The sentences in order, the question last; `distractors` are the fewest and the most that are strewn in.

    Distractors stand anywhere before the question. Their numbers are neither told nor worked out elsewhere.
    """
    hero, other = (PEOPLE[i] for i in rng.choice(len(PEOPLE), 2, replace=False).tolist())
    words: dict[str, str | int] = {"n": hero, "m": other, "t": THINGS[rng.integers(len(THINGS))]}
    numbers = iter(told_numbers(story))
    clauses = []
    for step in story.template.split("-"):
        if step == "now":
            continue
        values = {"a": next(numbers)} if step == "has" else {}
        values |= {"a": next(numbers), "b": next(numbers)} if step == "packs" else {}
        values |= {"b": next(numbers)} if not values else {}
        clauses.append(Clause(_form(NEEDED[step], registers, rng).format(**words, **values), True, step))
    taken = {*told_numbers(story), *(result for *_, result in story.equations)}
    free = [d for d in range(2, 100) if d not in taken]
    count = int(rng.integers(distractors[0], distractors[1] + 1))
    kinds = sorted(DISTRACTORS)
    for kind in (kinds[k] for k in rng.choice(len(kinds), count, replace=False).tolist()):
        number = free.pop(int(rng.integers(len(free))))
        told = {"d": number, "o": OTHERS[rng.integers(len(OTHERS))], "p": PLACES[rng.integers(len(PLACES))]}
        form = DISTRACTORS[kind][rng.integers(len(DISTRACTORS[kind]))]
        clauses.insert(int(rng.integers(len(clauses) + 1)), Clause(form.format(**words, **told), False, kind))
    end = story.template.rpartition("-")[2]
    asked = QUESTIONS[end if end in QUESTIONS else "other"]
    return (*clauses, Clause(_form(asked, registers, rng).format(**words), True, "question"))


def _form(forms: dict[Register, tuple[str, ...]], registers: Sequence[Register], rng: np.random.Generator) -> str:
    fitting = [form for register in registers for form in forms[register]]
    return fitting[rng.integers(len(fitting))]

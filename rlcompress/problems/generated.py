"""Word problems made here, by seed, with sentences that nothing depends on; three ways of holding some out.

Where a problem may stand is decided by its template and its numbers alone, not by any seed: what one seed trains on,
another never tests.

- `test_problems`: known templates and known equations, put together as never before
- `test_numbers`: an equation, such as 80+110, that no training problem has
- `test_templates`: an order of steps that no training problem has
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal

import numpy as np

from rlcompress.problems.lexicon import Register
from rlcompress.problems.problem import WordProblem
from rlcompress.problems.stories import TEMPLATES, Story, draw_story, operations, solution, tell

ProblemSplit = Literal["train", "validation", "test_problems", "test_numbers", "test_templates"]
PROBLEM_SPLITS: tuple[ProblemSplit, ...] = ("train", "validation", "test_problems", "test_numbers", "test_templates")
_DRAWS = 10_000  # of stories, until one belongs to the split


def _share(*parts: object) -> float:
    """A number in [0, 1) that is the same in every process."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=4).digest()
    return int.from_bytes(digest) / 2**32


# An eighth of the templates of several steps, so that every single step is known.
HELD_OUT_TEMPLATES = frozenset(t for t in TEMPLATES if operations(t) > 1 and _share("template", t) < 1 / 8)


def generated_problems(
    count: int,
    split: ProblemSplit = "train",
    *,
    seed: int = 0,
    registers: Sequence[Register] = ("long", "plain"),
    distractors: tuple[int, int] = (1, 3),
) -> list[WordProblem]:
    """`count` different problems of a split; problem i is the same whatever `count` is.

    Args:
        count: how many.
        split: one of `PROBLEM_SPLITS`.
        seed: decides templates, numbers, names and words, and never what is held out.
        registers: forms of the sentences; an evaluator that shall understand rewritten prompts is taught all three.
        distractors: fewest and most sentences that nothing depends on.
    """
    return list(islice(_problems(split, seed, registers, distractors), count))


def _problems(
    split: ProblemSplit, seed: int, registers: Sequence[Register], distractors: tuple[int, int]
) -> Iterator[WordProblem]:
    seen: set[str] = set()
    rng = np.random.default_rng([seed, PROBLEM_SPLITS.index(split)])
    while True:
        story = _story(split, rng)
        clauses = tell(story, registers, distractors, rng)
        text = " ".join(clause.text for clause in clauses)
        if text not in seen:
            name = f"problems/{split}/{seed}/{len(seen)}"
            seen.add(text)
            yield WordProblem(name, text, solution(story), "generated", story.template, clauses)


def _story(split: ProblemSplit, rng: np.random.Generator) -> Story:
    held_out = split == "test_templates"
    templates = [template for template in TEMPLATES if (template in HELD_OUT_TEMPLATES) == held_out]
    for _ in range(_DRAWS):
        story = draw_story(templates[rng.integers(len(templates))], rng)
        if story is not None and split_of(story) == split:
            return story
    raise AssertionError(f"no story of {split} in {_DRAWS} draws")


def split_of(story: Story) -> ProblemSplit | None:
    """The one split that a story may stand in; None where both its template and its numbers are held out."""
    new_numbers = any(_share("equation", *equation[:3]) < 1 / 10 for equation in story.equations)
    if story.template in HELD_OUT_TEMPLATES:
        return None if new_numbers else "test_templates"
    if new_numbers:
        return "test_numbers"
    place = _share("story", story.template, story.start, story.equations)
    return "test_problems" if place < 0.1 else "validation" if place < 0.2 else "train"

"""A programming problem, and which of its tests may be shown: hidden tests alone score."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlcompress.coding.syntax import normal


@dataclass(frozen=True, slots=True)
class CodeProblem:
    """A task in words, tests as assert lines, and a known solution.

    `setup` is code that the tests need and that runs after the program (MBPP's builds trees of the program's own
    classes). `preamble` is code that stands before any answer: the imports and helpers in a HumanEval prompt.
    `visible_tests` may be shown to a model and searched on; `hidden_tests` score.

    Raises:
        ValueError: nothing is hidden, or a test is both visible and hidden.
    """

    id: str
    prompt: str
    entry_point: str | None  # the function that the tests call, where there is one
    setup: str
    visible_tests: tuple[str, ...]
    hidden_tests: tuple[str, ...]
    solution: str
    source: str
    preamble: str = ""

    def __post_init__(self) -> None:
        if not self.hidden_tests:
            raise ValueError(f"{self.id}: no hidden test")
        if shared := {normal(test) for test in self.visible_tests} & {normal(test) for test in self.hidden_tests}:
            raise ValueError(f"{self.id}: both visible and hidden: {sorted(shared)[0]}")

    def program(self, code: str) -> str:
        """What is judged for an answer: `code` behind the preamble."""
        return f"{self.preamble.rstrip()}\n\n\n{code}" if self.preamble.strip() else code


def distinct(tests: Sequence[str]) -> list[str]:
    """The tests in their order, each once, whatever its spelling."""
    first: dict[str, str] = {}
    for test in tests:
        first.setdefault(normal(test), test.strip())
    return list(first.values())


def split_tests(
    tests: Sequence[str], visible: int, *, name: str, seed: int = 0, shown: Sequence[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(visible, hidden) tests in their order: `visible` of them chosen by seed and name, and at least one hidden.

    What a problem's own text shows (`shown`) can hide no more: those tests are visible in any case, and count. A test
    that stands twice is one test.
    """
    given = {normal(test) for test in shown}
    lines = distinct(tests)
    open_already = [line for line in lines if normal(line) in given]
    rest = [line for line in lines if normal(line) not in given]
    wanted = min(max(0, visible - len(open_already)), max(0, len(rest) - 1))
    key = int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest())
    drawn = np.random.default_rng([seed, key]).permutation(len(rest))[:wanted].tolist()
    chosen = {*open_already, *(rest[i] for i in drawn)}
    return tuple(line for line in lines if line in chosen), tuple(line for line in lines if line not in chosen)

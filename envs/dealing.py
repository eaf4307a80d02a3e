"""What every world does alike: deal out its examples, and ask whoever judges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np

from rlcompress.errors import JudgeUnavailable
from rlcompress.words import Judgement

Request = TypeVar("Request", contravariant=True)


class Passage:
    """Deals every example once before any twice, in orders drawn from the environment's own generator."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._left: list[int] = []

    def restart(self) -> None:
        self._left = []

    def deal(self, rng: np.random.Generator) -> int:
        if not self._left:
            self._left = rng.permutation(self._size).tolist()
        return self._left.pop()


class Asked(Protocol[Request]):
    """Anything with verdicts on requests of a kind: a `Judge` of kept words, a `PromptJudge` of prompts."""

    def judge(self, requests: Sequence[Request]) -> list[Judgement]: ...


def ask(judge: Asked[Request], requests: Sequence[Request]) -> list[Judgement]:
    """As many verdicts as requests; failed ones where nobody answered within the deadline."""
    try:
        verdicts = judge.judge(requests)
    except JudgeUnavailable as error:
        return [Judgement.failed(str(error)) for _ in requests]
    if len(verdicts) != len(requests):
        raise ValueError(f"{len(requests)} requests need as many verdicts, the judge gave {len(verdicts)}")
    return verdicts

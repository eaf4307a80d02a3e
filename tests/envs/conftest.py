"""Stand-ins that tests of the environments share: a few texts and a cheap judge that remembers its calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from envs.masking import TokenMasking
from rlcompress.errors import JudgeUnavailable
from rlcompress.models.tokenizer import train_tokenizer
from rlcompress.text.segment import Segmenter
from rlcompress.words import Example, Judgement, JudgeRequest

EXAMPLES = [
    Example("a", "Send 12 crates to Oslo, not to Bergen, before 17:30.", "Where to?", "Oslo SECRET-ANSWER"),
    Example("b", "日本語のテキスト。 And a naïve café 👩🏽‍🚀!", None, "a"),
    Example("c", "one", None, "one"),
    Example("d", "The quick brown fox jumps over the lazy dog\n\nand sleeps.", "Who?", "fox"),
    Example("e", "alpha beta gamma delta", None, "beta"),
]


class CountingJudge:
    """A dropped unit costs its characters in bits. Remembers every call; may fail or change its version on demand."""

    def __init__(self) -> None:
        self.version = "counting"
        self.calls: list[list[JudgeRequest]] = []
        self.away = False

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        self.calls.append(list(requests))
        if self.away:
            raise JudgeUnavailable("no answer within the deadline")
        return [self._one(request) for request in requests]

    def _one(self, request: JudgeRequest) -> Judgement:
        ends_N = np.append(request.unit_starts_N[1:], len(request.source))
        per_unit_N = np.where(request.kept_N, 0.0, ends_N - request.unit_starts_N).astype(np.float64)
        return Judgement(
            float(per_unit_N.sum()),
            version=self.version,
            per_unit_N=per_unit_N,
            tokens=len(per_unit_N),
            dropped=int((~request.kept_N).sum()),
        )


@pytest.fixture(scope="session")
def examples() -> list[Example]:
    return EXAMPLES


@pytest.fixture
def judge() -> CountingJudge:
    return CountingJudge()


@pytest.fixture(scope="session")
def arguments() -> Callable[..., dict[str, Any]]:
    """Keyword arguments of an environment: the texts, protected patterns, a judge of its own, and changes to them."""
    tokenizer = train_tokenizer([example.text for example in EXAMPLES], 300)

    def build(protect: Sequence[str] = (), **changes: Any) -> dict[str, Any]:
        segmenter = Segmenter(tokenizer, protect=protect)
        return {"examples": EXAMPLES, "segmenter": segmenter, "judge": CountingJudge(), **changes}

    return build


@pytest.fixture
def env(arguments: Callable[..., dict[str, Any]]) -> TokenMasking:
    return TokenMasking(**arguments())


@pytest.fixture(scope="session")
def lasting_env(arguments: Callable[..., dict[str, Any]]) -> TokenMasking:
    """For property tests, which may not take a fresh fixture for each example."""
    return TokenMasking(**arguments())

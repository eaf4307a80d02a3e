"""Plain stand-ins for judges, tokenizers and methods, small enough to check by hand."""

from collections.abc import Sequence

import numpy as np

from rlcompress.errors import JudgeUnavailable, UserError
from rlcompress.text.segment import Segmenter
from rlcompress.text.units import word_starts
from rlcompress.words import Example, FloatArray, IntArray, Judgement, JudgeRequest, Units


class WordTokenizer:
    """One token a word."""

    name = "words"

    def encode(self, text: str) -> tuple[IntArray, IntArray]:
        starts_N = word_starts(text)
        return np.arange(len(starts_N)), np.stack([starts_N, np.append(starts_N[1:], len(text))], axis=1)


class LengthJudge:
    """A dropped word costs one bit a letter; words of one letter are guessed right. Refuses texts with "fail"."""

    version = "length-1"

    def __init__(self, bits_per_letter: float = 1.0) -> None:
        self.bits_per_letter = bits_per_letter
        self.calls: list[int] = []

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        self.calls.append(len(requests))
        return [self._one(request) for request in requests]

    def _one(self, request: JudgeRequest) -> Judgement:
        if "fail" in request.source:
            return Judgement.failed("asked to fail", self.version)
        words = np.split(np.asarray(list(request.source)), request.unit_starts_N[1:])
        lengths_N = np.asarray([len("".join(word).strip()) for word in words])
        bits_N = np.where(request.kept_N, 0.0, lengths_N * self.bits_per_letter)
        dropped_N = ~request.kept_N
        return Judgement(
            score=float(bits_N.sum()),
            version=self.version,
            tokens=len(lengths_N),
            dropped=int(dropped_N.sum()),
            hits=int((dropped_N & (lengths_N == 1)).sum()),
        )


class SilentJudge(LengthJudge):
    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        raise JudgeUnavailable("nobody is there")


class LongestFirst:
    name = "rl"
    stochastic = False
    keeps_all = False

    def priorities(
        self, units: Sequence[Units], examples: Sequence[Example], rate: float, seed: int
    ) -> list[FloatArray]:
        return [np.asarray([float(len(word.strip())) for word in u.words()]) for u in units]


class ShortestFirst(LongestFirst):
    name = "short"

    def priorities(
        self, units: Sequence[Units], examples: Sequence[Example], rate: float, seed: int
    ) -> list[FloatArray]:
        return [-p for p in super().priorities(units, examples, rate, seed)]


class Random:
    name = "random"
    stochastic = True
    keeps_all = False

    def priorities(
        self, units: Sequence[Units], examples: Sequence[Example], rate: float, seed: int
    ) -> list[FloatArray]:
        return [np.random.default_rng([seed, i]).random(len(u)) for i, u in enumerate(units)]


class Identity(LongestFirst):
    name = "identity"
    keeps_all = True


class Unfitted(LongestFirst):
    name = "rare"

    def priorities(
        self, units: Sequence[Units], examples: Sequence[Example], rate: float, seed: int
    ) -> list[FloatArray]:
        raise UserError("rare is not fitted: call fit with the training texts")


def segmenter(protect: Sequence[str] = ()) -> Segmenter:
    return Segmenter(WordTokenizer(), "word", protect)


def rows(count: int = 12, seed: int = 0) -> list[Example]:
    """Texts of random word lengths, two to a document."""
    generator = np.random.default_rng(seed)
    return [
        Example(f"row#{i}", " ".join("x" * n for n in generator.integers(1, 9, size=10)), group=f"document {i // 2}")
        for i in range(count)
    ]

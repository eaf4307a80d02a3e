"""The words that every floor uses: what an example, a compression and a judgement are.

Legend for array names, used throughout the project: B rows or episodes, P prompts, G samples of one prompt,
T tokens, N units (words) of a text, V vocabulary, W windows. `logp_PGN` has shape [P, G, N].
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


class Status(enum.StrEnum):
    """How one sample ended. Only `OK` samples enter a loss or a mean; all others are counted."""

    OK = "ok"
    OVER_BUDGET = "over_budget"  # protected text alone exceeds the budget: all of it is kept
    JUDGE_FAILED = "judge_failed"  # no verdict: never a reward of zero
    REWARD_FAILED = "reward_failed"  # a reward term raised or returned a non-finite value
    UNFINISHED = "unfinished"  # the policy's text was cut off before its end: nobody is asked about it


@dataclass(frozen=True, slots=True)
class Example:
    """One row of data, e.g. `Example("asyncio#3", "A text ...", group="asyncio")`.

    `group` names the document or context that the row was cut from: splits never separate a group and
    confidence intervals resample groups.
    """

    id: str
    text: str
    question: str | None = None
    answer: str | None = None
    group: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """A text cut into the pieces that are kept or dropped; unit u is `text[starts_N[u]:ends_N[u]]`.

    The units tile the text: each owns its following white space, the first owns leading white space.
    `costs_N` counts reader tokens of the source tokenisation (0 is legal); `protected_N` must be kept.
    """

    text: str
    starts_N: IntArray
    ends_N: IntArray
    costs_N: IntArray
    protected_N: BoolArray

    def __len__(self) -> int:
        return len(self.starts_N)

    @property
    def total_cost(self) -> int:
        return int(self.costs_N.sum())

    def words(self) -> list[str]:
        return [self.text[a:b] for a, b in zip(self.starts_N.tolist(), self.ends_N.tolist(), strict=True)]


@dataclass(frozen=True, slots=True, eq=False)
class Compression:
    """What `select` made of a text: which units stay, what that costs and what was asked."""

    units: Units
    kept_N: BoolArray
    rate: float  # requested kept fraction of reader tokens
    status: Status = Status.OK

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Byte-exact kept pieces of the source as (start, end) character offsets, neighbours merged.

        Where dropping what stood between would glue two words into one that the source has not ("team, the plan" ->
        "teamplan"), one character of the white space between them stays as a piece of its own. It belongs to no unit
        and is not counted: readers spend no token on a space between words.
        """
        text = self.units.text
        merged: list[tuple[int, int]] = []
        for u in np.flatnonzero(self.kept_N).tolist():
            start, end = int(self.units.starts_N[u]), int(self.units.ends_N[u])
            before = merged[-1][1] if merged else start
            if before < start and text[before - 1].isalnum() and text[start].isalnum():
                space = next((i for i in reversed(range(before, start)) if text[i].isspace()), None)
                if space is not None and space + 1 < start:
                    merged.append((space, space + 1))
                elif space is not None:
                    start = space
            if before == start and merged:
                merged[-1] = (merged[-1][0], end)
            else:
                merged.append((start, end))
        return merged

    @property
    def text(self) -> str:
        return "".join(self.units.text[a:b] for a, b in self.spans)

    @property
    def kept_tokens(self) -> int:
        return int(self.units.costs_N[self.kept_N].sum())

    @property
    def achieved_rate(self) -> float:
        """Kept source tokens / source tokens; 1.0 for a text without tokens."""
        total = self.units.total_cost
        return self.kept_tokens / total if total else 1.0


@dataclass(frozen=True, slots=True, eq=False)
class JudgeRequest:
    """One thing to judge: an original, what was kept of it and, for readers, the question and answer.

    Judges with another tokenizer than the reader's map their tokens to units through `unit_starts_N`
    (a token belongs to the unit of its first non-space character).
    """

    source: str
    unit_starts_N: IntArray
    kept_N: BoolArray
    question: str | None = None
    answer: str | None = None

    @classmethod
    def of(cls, compression: Compression, example: Example | None = None) -> JudgeRequest:
        return cls(
            source=compression.units.text,
            unit_starts_N=compression.units.starts_N,
            kept_N=compression.kept_N,
            question=example.question if example else None,
            answer=example.answer if example else None,
        )

    @property
    def text(self) -> str:
        """What was kept, as a reader gets to see it."""
        starts_N = self.unit_starts_N
        ends_N = np.append(starts_N[1:], len(self.source))[: len(starts_N)].astype(np.int64)
        units = Units(self.source, starts_N, ends_N, np.zeros_like(starts_N), np.zeros(len(starts_N), np.bool_))
        return Compression(units, self.kept_N, 1.0).text

    def whole(self) -> JudgeRequest:
        """The same source with everything kept."""
        return replace(self, kept_N=np.ones(len(self.kept_N), np.bool_))

    def emptied(self) -> JudgeRequest:
        """The same source with nothing kept: the judge's D(∅)."""
        return replace(self, kept_N=np.zeros(len(self.kept_N), np.bool_))

    def key(self) -> str:
        """Content hash, equal in every process."""
        h = hashlib.blake2b(digest_size=16)
        for part in (self.source, self.question or "", self.answer or ""):
            data = part.encode("utf-8", "surrogatepass")
            h.update(len(data).to_bytes(8, "little"))
            h.update(data)
        h.update(np.ascontiguousarray(self.unit_starts_N, np.int64).tobytes())
        h.update(np.packbits(self.kept_N).tobytes())
        return h.hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """A judge's verdict. For reconstructors `score` is D(S): bits of the dropped tokens given the kept ones.

    `per_unit_N` splits the score over units. `tokens`, `dropped` and `hits` count the judge's own tokens:
    all of them, the dropped ones, and the dropped ones whose most likely guess was right.
    """

    score: float
    status: Status = Status.OK
    version: str = ""
    per_unit_N: FloatArray | None = None
    tokens: int = 0
    dropped: int = 0
    hits: int = 0
    detail: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def failed(cls, why: str, version: str = "") -> Judgement:
        return cls(score=float("nan"), status=Status.JUDGE_FAILED, version=version, detail={"why": why})


class Unfinished(str):
    """A text that its writer did not end: cut off at the most tokens, or not written at all. Never a rewrite."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Solve:
    """A prompt that is to be solved, and its gold answer if its likelihood is asked for."""

    text: str
    answer: str | None = None


class PromptJudge(Protocol):
    """Solves prompts in batches: a list in, a list of the same length and order out.

    `detail["said"]` of a verdict is what was written; `score` the bits of the gold answer over `tokens` tokens.
    """

    @property
    def version(self) -> str: ...

    def judge(self, requests: Sequence[Solve]) -> list[Judgement]: ...


class Judge(Protocol):
    """Gives verdicts in batches: a list in, a list of the same length and order out."""

    @property
    def version(self) -> str:
        """Names the exact weights; part of every verdict and cache key."""
        ...

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]: ...


class Tokenizer(Protocol):
    """What we need of a reader's tokenizer: ids and the character span of each token."""

    @property
    def name(self) -> str: ...

    def encode(self, text: str) -> tuple[IntArray, IntArray]:
        """Token ids [T] and character spans [T, 2] in `text`, without special tokens."""
        ...

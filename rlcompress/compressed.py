"""What became of a text: the shorter text and its account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

UNCHANGED = "unchanged"  # status of a text that came back as it was, because compressing it would not have helped


@dataclass(frozen=True, slots=True)
class Piece:
    """One unit of a source, `text = source[start:end]`, with its reader tokens and what the policy made of it."""

    text: str
    start: int
    end: int
    score: float
    tokens: int
    kept: bool


@dataclass(frozen=True, slots=True)
class Compressed:
    """A compressed text with its account: `text` is made of `spans` of the source, byte for byte.

    `status` is `ok` (the budget was met exactly), `over_budget` (protected text alone exceeds it: all of that is kept)
    or `unchanged` (see `Compressor.compress`). `tokens` and `removed` are there on request: all units in order, and
    those that were dropped.
    """

    text: str
    source: str
    spans: list[tuple[int, int]]
    units: list[tuple[int, int]]
    scores: list[float]
    kept: list[bool]
    status: str
    rate: float
    achieved_rate: float
    achieved_rate_retokenised: float
    original_tokens: int
    kept_tokens: int
    compressed_tokens: int
    tokens: list[Piece] | None = None
    removed: list[Piece] | None = None

    def __str__(self) -> str:
        return self.text


def nothing_saved(one: Compressed) -> bool:
    """Whether words were dropped and a reader would still see as many tokens as in the source, or more."""
    return not all(one.kept) and one.compressed_tokens >= one.original_tokens


def nothing_left(one: Compressed) -> bool:
    """Whether a source with words in it became one without any."""
    return not one.text.strip() and bool(one.source.strip())


def left_whole(one: Compressed) -> Compressed:
    """The account of a text that comes back as it was; its scores stay as they are."""
    return replace(
        one,
        text=one.source,
        spans=[(0, len(one.source))] if one.source else [],
        kept=[True] * len(one.kept),
        status=UNCHANGED,
        achieved_rate=1.0,
        achieved_rate_retokenised=1.0,
        kept_tokens=one.original_tokens,
        compressed_tokens=one.original_tokens,
    )


def with_pieces(one: Compressed, costs: Sequence[int], *, tokens: bool, removed: bool) -> Compressed:
    """Add the pieces that were asked for; `costs` are the reader tokens of each unit."""
    if not (tokens or removed):
        return one
    parts = zip(one.units, one.scores, costs, one.kept, strict=True)
    pieces = [Piece(one.source[a:b], a, b, score, cost, kept) for (a, b), score, cost, kept in parts]
    gone = [piece for piece in pieces if not piece.kept]
    return replace(one, tokens=pieces if tokens else None, removed=gone if removed else None)

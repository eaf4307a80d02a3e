"""The contexts of a call, cut into pieces and put together as one text, so that one budget covers them all."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rlcompress.errors import UserError
from rlcompress.llmlingua.request import Request
from rlcompress.words import BoolArray, Compression, IntArray, Units

SEPARATOR = "\n\n"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a context, with a rate of its own or none; what must not be compressed stays outside any budget."""

    text: str
    context: int
    rate: float | None = None
    compress: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """All pieces as the units of one text, contexts parted by an empty line, and where each unit belongs."""

    units: Units
    context_N: IntArray
    piece_N: IntArray
    pieces: list[Piece]
    bounds: list[tuple[int, int]]  # of each context in the text, separators left out
    piece_bounds: list[tuple[int, int]]

    def texts(self, kept_N: BoolArray, bounds: Sequence[tuple[int, int]] | None = None) -> list[str]:
        """What is left of each context, or between other bounds, byte for byte."""
        spans = Compression(self.units, kept_N, 1.0).spans
        result = []
        for start, end in self.bounds if bounds is None else bounds:
            first = bisect.bisect_right(spans, start, key=lambda span: span[1])
            last = bisect.bisect_left(spans, end, key=lambda span: span[0])
            result.append("".join(self.units.text[max(a, start) : min(b, end)] for a, b in spans[first:last]))
        return result

    def tokens(self, mask_N: BoolArray | None = None) -> int:
        """Reader tokens of all units, or of those in a mask."""
        costs_N = self.units.costs_N
        return int((costs_N if mask_N is None else costs_N[mask_N]).sum())


def pieces_of(request: Request) -> list[Piece]:
    """The pieces of a call: its contexts, or the segments that were given for each.

    Raises:
        UserError: segments that do not fit the contexts or one another.
    """
    if request.context_segs is None:
        return [Piece(text, i) for i, text in enumerate(request.context)]
    rates = request.context_segs_rate or [[None] * len(segs) for segs in request.context_segs]
    flags = request.context_segs_compress or [[True] * len(segs) for segs in request.context_segs]
    for name, given in (("", request.context_segs), ("_rate", rates), ("_compress", flags)):
        if len(given) != len(request.context):
            raise UserError(
                f"context_segs{name} has {len(given)} entries for {len(request.context)} contexts: give one a context"
            )
    pieces = []
    for i, (text, segs) in enumerate(zip(request.context, request.context_segs, strict=True)):
        if "".join(segs) != text:
            raise UserError(f"context_segs[{i}] does not make up context[{i}]: their texts joined must be equal")
        if not len(segs) == len(rates[i]) == len(flags[i]):
            raise UserError(f"context_segs[{i}], its rates and its compress flags differ in length: give one of each")
        for seg, rate, compress in zip(segs, rates[i], flags[i], strict=True):
            if rate is not None and not 0.0 <= rate <= 1.0:
                raise UserError(f"context_segs_rate[{i}] holds {rate:g}: rates lie between 0 and 1")
            pieces.append(Piece(seg, i, rate, compress))
    return pieces


def lay_out(pieces: Sequence[Piece], cut: Callable[[str], Units]) -> Layout:
    """Each piece cut on its own, so that no unit belongs to two; a context's separator belongs to its last unit."""
    parts: list[Units] = []
    bounds: dict[int, tuple[int, int]] = {}
    piece_bounds = []
    at = 0
    for i, piece in enumerate(pieces):
        ends = i + 1 < len(pieces) and pieces[i + 1].context != piece.context
        parts.append(cut(piece.text + SEPARATOR * ends))
        first = bounds.get(piece.context, (at, at))[0]
        bounds[piece.context] = (first, at + len(piece.text))
        piece_bounds.append((at, at + len(piece.text)))
        at += len(parts[-1].text)
    counts = [len(part) for part in parts]
    offset_N = np.repeat(np.cumsum([0, *(len(part.text) for part in parts[:-1])]), counts).astype(np.int64)
    piece_N = np.repeat(np.arange(len(parts)), counts).astype(np.int64)
    fixed_N = np.repeat([not piece.compress for piece in pieces], counts)
    units = Units(
        "".join(part.text for part in parts),
        np.concatenate([part.starts_N for part in parts]) + offset_N,
        np.concatenate([part.ends_N for part in parts]) + offset_N,
        np.concatenate([part.costs_N for part in parts]),
        np.concatenate([part.protected_N for part in parts]) | fixed_N,
    )
    context_N = np.array([piece.context for piece in pieces], np.int64)[piece_N]
    return Layout(units, context_N, piece_N, list(pieces), [bounds[c] for c in sorted(bounds)], piece_bounds)

"""Baselines that look at each text alone: position, length, chance, a list of stop words.

All are independent of the rate, so a higher rate keeps a superset of what a lower one keeps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rlcompress.text.stop_words import STOP_WORDS
from rlcompress.words import Example, FloatArray, Units


def _same(units: Units) -> FloatArray:
    return np.zeros(len(units))


def _shortest(units: Units) -> FloatArray:
    return np.array([-float(len(word.strip())) for word in units.words()])


def _longest(units: Units) -> FloatArray:
    return -_shortest(units)


def _first(units: Units) -> FloatArray:
    return -np.arange(len(units), dtype=np.float64)


def _last(units: Units) -> FloatArray:
    return -_first(units)


def _outermost(units: Units) -> FloatArray:
    """First, last, second, second to last, ..."""
    from_head_N = np.arange(len(units))
    from_tail_N = from_head_N[::-1]
    return -(2.0 * np.minimum(from_head_N, from_tail_N) + (from_head_N > from_tail_N))


def _evenly_spread(units: Units) -> FloatArray:
    """Bit-reversed positions (van der Corput): 0, 1/2, 1/4, 3/4, ... of the text.

    The first 2^k units of this order are equally far apart, and what lies between two such counts is spread as evenly
    as an order with nested prefixes can be.
    """
    position_N = np.arange(len(units), dtype=np.int64)
    reversed_N = np.zeros_like(position_N)
    for _ in range(int(max(len(units) - 1, 0)).bit_length()):
        reversed_N = (reversed_N << 1) | (position_N & 1)
        position_N >>= 1
    return -reversed_N.astype(np.float64)


def _content_first(units: Units) -> FloatArray:
    """1 minus the share of stop words in the unit: for single words 1 or 0, ties by position."""
    shares = []
    for unit in units.words():
        words = [word.strip(".,;:!?'\"()").casefold() for word in unit.split()]
        shares.append(1.0 - sum(word in STOP_WORDS for word in words) / len(words) if words else 0.0)
    return np.array(shares)


@dataclass(frozen=True, slots=True)
class Heuristic:
    """A fixed rule: `rank_units` gives the priorities [N] of one text."""

    name: str
    rank_units: Callable[[Units], FloatArray]
    keeps_all: bool = False

    @property
    def stochastic(self) -> bool:
        return False

    def priorities(
        self, units: Sequence[Units], examples: Sequence[Example], rate: float, seed: int
    ) -> list[FloatArray]:
        return [self.rank_units(u) for u in units]


IDENTITY = Heuristic("identity", _same, keeps_all=True)
SHORT = Heuristic("short", _shortest)
LONG = Heuristic("long", _longest)
HEAD = Heuristic("head", _first)
TAIL = Heuristic("tail", _last)
HEAD_TAIL = Heuristic("head_tail", _outermost)
STRIDE = Heuristic("stride", _evenly_spread)
STOPWORDS = Heuristic("stopwords", _content_first)


@dataclass(frozen=True, slots=True)
class Random:
    """Uniform priorities from (seed, example id): the same in every process, batch and order."""

    name: str = "random"
    stochastic: bool = True
    keeps_all: bool = False

    def priorities(
        self, units: Sequence[Units], examples: Sequence[Example], rate: float, seed: int
    ) -> list[FloatArray]:
        return [
            np.random.default_rng([seed, _number(example.id)]).random(len(u))
            for u, example in zip(units, examples, strict=True)
        ]


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")

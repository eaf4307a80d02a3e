"""`Segmenter`: text in, `Units` out; the same object in training, evaluation and serving."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from rlcompress.text.protect import protected_spans
from rlcompress.text.units import overlaps, token_units, unit_costs, unit_starts
from rlcompress.words import Tokenizer, Units

_CACHED_TEXTS = 4096
_CACHED_CHARACTERS = 8192  # of one text: longer ones are rare, and 4096 of them would fill the memory


class Segmenter:
    """Cuts texts into units with reader-token costs and protected flags; remembers recent texts."""

    def __init__(self, tokenizer: Tokenizer, granularity: str = "word", protect: Sequence[str] = ()) -> None:
        self.tokenizer = tokenizer
        self.granularity = granularity
        self.protect = tuple(protect)
        self._recent: OrderedDict[tuple[str, tuple[str, ...]], Units] = OrderedDict()

    def __call__(self, text: str, protect: Sequence[str] = ()) -> Units:
        """Units of `text`; `protect` adds patterns for this text alone."""
        key = (text, tuple(protect))
        units = self._recent.get(key)
        if units is None:
            units = self._cut(text, (*self.protect, *protect))
            if len(text) <= _CACHED_CHARACTERS:
                self._recent[key] = units
            if len(self._recent) > _CACHED_TEXTS:
                self._recent.popitem(last=False)
        return units

    def _cut(self, text: str, protect: tuple[str, ...]) -> Units:
        starts_N = unit_starts(text, self.granularity)
        ends_N = np.append(starts_N[1:], len(text)).astype(np.int64) if len(starts_N) else starts_N
        _, spans_T2 = self.tokenizer.encode(text)
        costs_N = unit_costs(len(starts_N), token_units(text, starts_N, spans_T2))
        protected_N = overlaps(starts_N, ends_N, protected_spans(text, protect))
        return Units(text, starts_N, ends_N, costs_N, protected_N)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_recent": OrderedDict()}  # a cache is not worth its transport

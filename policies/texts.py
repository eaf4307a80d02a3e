"""The texts of a run by their row, so that rows travel between processes instead of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from policies.groups import pad_stack
from policies.module import MaskingModule
from rlcompress.models.features import Features, Featuriser
from rlcompress.words import Example, Units

_REMEMBERED = 20_000  # texts whose units and features are kept


class TextTable:
    """Units and features of each row of the training split, made when first asked for."""

    def __init__(self, examples: Sequence[Example], segmenter: Callable[[str], Units]) -> None:
        self.examples = examples
        self.segmenter = segmenter
        self.units = lru_cache(_REMEMBERED)(self._units)
        self._features = lru_cache(_REMEMBERED)(self._featurised)

    def features(self, rows: Sequence[int], module: MaskingModule) -> dict[str, NDArray[np.generic]]:
        """Columns of the module's forward, one place a row, padded to the largest of them."""
        found = [self._features(row, module.features) for row in rows]
        columns = {name: pad_stack([one[name] for one in found]) for name in found[0]}
        columns["valid_PWT"][:, :, 0] = True  # windows that padding added still need one token to attend to
        return columns

    def _units(self, row: int) -> Units:
        return self.segmenter(self.examples[row].text)

    def _featurised(self, row: int, features: Featuriser) -> Features:
        return features([self.units(row)], [self.examples[row].question])


Texts = Callable[[], TextTable]  # called where the table is needed: it does not travel

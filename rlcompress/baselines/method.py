"""What a method of compression is to evaluation: something that ranks the units of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from rlcompress.words import Example, FloatArray, Units


@runtime_checkable
class Method(Protocol):
    """Ranks units; `select` turns the ranking into a kept text, the same way for every method."""

    @property
    def name(self) -> str: ...

    @property
    def stochastic(self) -> bool:
        """Whether `seed` changes anything; if not, one seed is enough."""
        ...

    @property
    def keeps_all(self) -> bool:
        """Whether the method ignores every budget: evaluation selects at rate 1 and reports what was asked."""
        ...

    def priorities(
        self, units: Sequence[Units], examples: Sequence[Example], rate: float, seed: int
    ) -> list[FloatArray]:
        """One priority [N] a unit for each text; the higher, the sooner it is kept."""
        ...


@runtime_checkable
class FittedMethod(Method, Protocol):
    """A method that learns from training texts first; it raises UserError when used without."""

    def fit(self, texts: Sequence[str]) -> None: ...

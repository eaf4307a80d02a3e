"""What a method of compression is to evaluation: something that ranks the units of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from rlcompress.errors import UserError
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


@runtime_checkable
class AskingMethod(Method, Protocol):
    """A method that asks a model. One that is not asks none: rules, and tables of counts."""

    def passes_of(self, units: Units) -> int:
        """How often a model (encoder, language model, judge) reads this text to rank its units."""
        ...


def mean_passes(method: Method, units: Sequence[Units]) -> float:
    """Model passes a text, the mean over texts."""
    if not isinstance(method, AskingMethod) or not units:
        return 0.0
    return sum(method.passes_of(u) for u in units) / len(units)


def questions_of(name: str, examples: Sequence[Example]) -> list[str]:
    """The questions of rows, for the baseline `name`.

    Raises:
        UserError: a row has none; the message names it.
    """
    for example in examples:
        if example.question is None:
            raise UserError(
                f"baseline {name} matches texts with questions and row {example.id} has none: "
                "give every row a question, or leave it out"
            )
    return [example.question or "" for example in examples]

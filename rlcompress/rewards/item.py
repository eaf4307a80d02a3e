"""What a reward looks at, and what a term is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from rlcompress.config.rewarding import RewardConfig
from rlcompress.errors import UserError
from rlcompress.text.units import unit_starts
from rlcompress.words import Compression, Example, FloatArray, Judgement

_DEFAULT = RewardConfig()


@dataclass(frozen=True, eq=False)
class RewardInput:
    """All that a reward may look at.

    `empty_judgement` is D(∅): the same judge version on nothing kept. `written` is an output that was not made by
    dropping units; None for masks, whose text is `compression.text`. `price` is β of the iteration: what all tokens of
    the text cost, in shares of its bits. `read` and `read_original` are a reader's verdicts on the output and on the
    text before (see `judges/reader.py`), None where no term asks for them. `settings` is filled in by `Reward`.
    """

    example: Example
    compression: Compression
    judgement: Judgement
    empty_judgement: Judgement
    importance_N: FloatArray | None = None
    written: str | None = None
    price: float = 1.0
    read: Judgement | None = None
    read_original: Judgement | None = None
    settings: RewardConfig = _DEFAULT

    @cached_property
    def text(self) -> str:
        return self.compression.text if self.written is None else self.written

    @cached_property
    def rate(self) -> float:
        """Kept share of reader tokens; of a written text the share of words or of characters, whichever is more.

        Characters count, for a word can be of any length; words count, for a character can cost as much as a word.
        """
        source = self.compression.units.text
        if self.written is None or not source:
            return self.compression.achieved_rate
        words = len(unit_starts(self.written)) / max(1, len(unit_starts(source)))
        return max(words, len(self.written) / len(source))

    @property
    def readings(self) -> tuple[Judgement, Judgement]:
        """The reader's verdicts on the output and on the original.

        Raises:
            UserError: nobody has read them.
        """
        if self.read is None or self.read_original is None:
            raise UserError("a reward term asks for a reader's answers: hand in a reader (judges.reader)")
        return self.read, self.read_original

    @property
    def said(self) -> tuple[str, str]:
        """What the reader answers from the output and from the original."""
        read, original = self.readings
        return str(read.detail["said"]), str(original.detail["said"])


@dataclass(frozen=True, slots=True)
class Term:
    """A reward term. `Reward` clips its value to [low, high]; `needs` names what an example must have.

    `reads` is what a reader has to find out for it: `bits` of the answer, or what it `said`.
    """

    function: Callable[[RewardInput], float]
    low: float = 0.0
    high: float = 1.0
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()

"""`UnicodeText`: the space of all strings. Gymnasium's own `Text` needs a fixed alphabet and refuses real text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import create_empty_array

# What `sample` draws from: scripts, combining marks, wide characters and white space that break naive code.
_ALPHABET = "aeiouzAEZ0123456789 .,:;'\"\\{}\n\t\u00e9\u0301\u0436\u05d0\u0645\u0939\u093f\u0e01日本語ﬀ\u200d👩🏽💡🇳🇴"
_LONGEST_SAMPLE = 48


class UnicodeText(gym.Space[str]):
    """Any Python string, of any length. A batch of n values is a tuple of n strings.

    Gymnasium's defaults for custom spaces already batch, join and iterate it this way; only the empty batch is ours.
    `AsyncVectorEnv` must be made with `shared_memory=False`, as strings have no fixed size.
    """

    def __init__(self, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(dtype=str, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        return False

    def sample(self, mask: None = None, probability: None = None) -> str:
        """A random string of 0 to 48 characters from many scripts; masks make no sense here and are ignored."""
        length = int(self.np_random.integers(_LONGEST_SAMPLE + 1))
        return "".join(_ALPHABET[i] for i in self.np_random.integers(len(_ALPHABET), size=length))

    def contains(self, x: Any) -> bool:
        return isinstance(x, str)

    def to_jsonable(self, sample_n: Sequence[str]) -> list[str]:
        return list(sample_n)

    def from_jsonable(self, sample_n: list[str]) -> list[str]:
        return list(sample_n)

    def __repr__(self) -> str:
        return "UnicodeText()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnicodeText)

    def __hash__(self) -> int:
        return hash(UnicodeText)


@create_empty_array.register(UnicodeText)
def _empty_batch(space: UnicodeText, n: int = 1, fn: Callable[..., Any] = np.zeros) -> tuple[str, ...]:
    return ("",) * n

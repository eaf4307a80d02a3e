"""Keys of the reward of rewritten prompts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rlcompress.config.rewarding import LengthConfig
from rlcompress.config.section import Rate, Section

GateName = Literal["leak", "numbers", "question", "instructions", "hidden", "glued"]
EVERY_GATE: tuple[GateName, ...] = ("leak", "numbers", "question", "instructions", "hidden", "glued")


class RewriteRewardConfig(Section):
    """What a rewritten prompt is paid for, and what it must not be."""

    terms: dict[str, float] = Field(
        default_factory=lambda: {"guarded": 1.0},
        min_length=1,
        description="correctness, agreement, reasoning, likelihood, length, shorter, guarded -> weight",
    )
    gates: tuple[GateName, ...] = Field(EVERY_GATE, description="nothing is paid where one of them is shut")
    cap: Rate = Field(1.0, description="nothing is paid above this kept fraction of the evaluator's tokens")
    length: LengthConfig = LengthConfig()

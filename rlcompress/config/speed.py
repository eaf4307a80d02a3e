"""Keys of the measurement of what compressing costs and saves a language model that reads the result."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rlcompress.config.section import Positive, Rate, Section


class SpeedConfig(Section):
    reader: str = Field("random:12x768", description="a model folder, a hub id, or random:LAYERSxWIDTH (a GPT-2)")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="auto: as it was saved")
    lengths: tuple[Positive, ...] = Field((256, 1024, 4096), min_length=1, description="tokens of the original prompts")
    rates: tuple[Rate, ...] = Field((0.5, 0.33), min_length=1)
    repeats: Positive = Field(5, description="timed rounds, each with texts of its own; one more warms up")
    new_tokens: Positive = Field(32, description="written after every prompt, never fewer")
    price_per_million: float | None = Field(None, gt=0, description="of input tokens; none gives no costs")

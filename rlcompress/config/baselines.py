"""Keys of the baselines that need more than the texts: a language model, and how it is asked."""

from __future__ import annotations

from pydantic import Field

from rlcompress.config.section import NonNegative, Positive, Section


class LanguageModelConfig(Section):
    """A causal language model; every key but model, window and chunk is about training builtin:causal."""

    model: str = Field("builtin:causal", description="builtin:causal (trained on the training texts), a folder, hub id")
    seed: int = 0
    steps: Positive = 1000
    batch: Positive = Field(16, description="rows of `window` tokens in a step")
    learning_rate: float = Field(3e-3, gt=0)
    warmup: NonNegative = 50
    width: Positive = Field(128, multiple_of=32)
    layers: Positive = 2
    window: int = Field(256, ge=16, description="most tokens read together; longer texts are read in overlapping rows")
    chunk: Positive = Field(8, description="rows in one forward; fixed, so that results never depend on callers")


class BaselinesConfig(Section):
    language_model: LanguageModelConfig = LanguageModelConfig()
    segment: Positive = Field(100, description="tokens that llmlingua compresses at a time")

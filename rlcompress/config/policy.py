"""The network that scores units: what it reads, what is told to it, its size. An artifact carries these settings."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from rlcompress.config.section import Positive, Section


class PolicyConfig(Section):
    encoder: str = Field(
        "builtin:scorer", description="builtin:scorer, a local folder or a hub id of an encoder; none: channels alone"
    )
    channels: Literal["none", "text", "question"] = Field(
        "none",
        description="question: what the question tells of each word is an input, by the encoder of `embedder`; "
        "text: the same inputs, and no question is ever heard",
    )
    prior: Literal["rarity", "sentences", "none"] = Field(
        "rarity", description="sentences: how well each matches the question, and rarity where there is no question"
    )
    prior_scale: float = Field(1.0, description="weight of the prior at the start; the learned residual starts at 0")
    width: Positive = 128
    layers: Positive = 2
    window: Positive = Field(256, description="tokens an encoder sees at once; longer texts use overlapping windows")

    @model_validator(mode="after")
    def _told(self) -> Self:
        if self.channels == "none" and (self.encoder == "none" or self.prior == "sentences"):
            key = "encoder none" if self.encoder == "none" else "prior sentences"
            raise ValueError(f"policy.{key} needs what the question tells: set policy.channels to question")
        return self

"""Keys of the sentence encoder that matches texts with questions."""

from __future__ import annotations

from pydantic import Field

from rlcompress.config.section import Positive, Section


class EmbedderConfig(Section):
    model: str = Field("builtin:lsa", description="builtin:lsa (fitted on the training texts), a folder or a hub id")
    dimension: Positive = Field(128, description="channels of builtin:lsa")
    vocabulary: Positive = Field(20_000, description="most words that builtin:lsa knows: those of most sentences")

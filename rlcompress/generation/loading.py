"""A language model by name: a whole one, or adapters on the base that they name."""

from __future__ import annotations

import torch

from rlcompress.config.generating import LanguageConfig
from rlcompress.generation.language import LanguageModel, load_base
from rlcompress.generation.lora import is_adapter, load_adapter


def load_language(config: LanguageConfig, device: torch.device | None = None, *, learn: bool = False) -> LanguageModel:
    """What `config.model` names: an adapter's folder, a model folder or a hub id.

    Raises:
        UserError: nothing can be loaded from there, or not as the other keys wish.
    """
    if is_adapter(config.model):
        return load_adapter(config, device, learn=learn)
    return load_base(config, device)

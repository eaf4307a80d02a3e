"""A causal language model that writes: any of Hugging Face, with its own tokenizer, start and end tokens.

`rlcompress.models.causal` measures bits of texts; here prompts are read with their special tokens and outputs end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rlcompress.config.generating import LanguageConfig
from rlcompress.errors import UserError
from rlcompress.generation.vocabulary import Vocabulary

_NO_ROOM = 10**30  # tokenizers without a limit name a number like this


class LanguageModel(Vocabulary):
    """A model with its tokenizer, in evaluation mode: what is sampled and what is learned from see no dropout.

    Args:
        model: `AutoModelForCausalLM` or one with adapters of `peft`.
        tokenizer: fast, of the model.
        name: what it was loaded from, at `revision` if that is a hub id.
        window: most tokens of prompt and output together.
        chunk: rows of one forward.

    Raises:
        UserError: the tokenizer is none of `tokenizers`, or has no end token.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        revision: str | None = None,
        window: int,
        chunk: int = 8,
        device: torch.device | None = None,
    ) -> None:
        super().__init__(tokenizer, name, [model.config, getattr(model, "generation_config", None)])
        self.device = device or torch.device("cpu")
        self.model = (model if _is_placed(model) else model.to(self.device)).eval()
        self.revision = revision
        self.window = window
        self.chunk = chunk

    def save(self, folder: Path) -> None:
        """Write a Hugging Face folder, or an adapter's folder for a model with adapters, with the tokenizer."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def load_base(config: LanguageConfig, device: torch.device | None = None) -> LanguageModel:
    """A whole model, without adapters, from a folder or a hub id.

    Raises:
        UserError: nothing loadable under that name, it reads less than the window, or it cannot be quantised here.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = device or torch.device("cpu")
    more: dict[str, Any] = {
        "dtype": config.precision if config.precision == "auto" else getattr(torch, config.precision)
    }
    if config.quantise != "none":
        more |= {"quantization_config": _quantised(config.quantise, device), "device_map": {"": device}}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            config.model, revision=config.revision, trust_remote_code=False, **more
        )
        tokenizer = AutoTokenizer.from_pretrained(config.model, revision=config.revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"language model {config.model!r} cannot be loaded ({str(error).splitlines()[0]}): give a model folder or "
            "a hub id that is in the local cache"
        ) from error
    longest = _longest(model.config)
    if config.window is not None and longest is not None and config.window > longest:
        raise UserError(
            f"language model {config.model!r} reads {longest} tokens and window is {config.window}: lower the window"
        )
    window = config.window or longest or int(min(tokenizer.model_max_length, _NO_ROOM))
    if window == _NO_ROOM:
        raise UserError(f"language model {config.model!r} does not say how much it reads: give window")
    return LanguageModel(
        model,
        tokenizer,
        name=config.model,
        revision=config.revision,
        window=window,
        chunk=config.chunk,
        device=device,
    )


def _longest(config: Any) -> int | None:
    """Positions at which a token's state does not depend on how long the rest of its batch is.

    Beyond their original length, scaled rotary embeddings change with the longest row (Phi-3's longrope).
    """
    scaling = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    longest = getattr(config, "max_position_embeddings", None)
    if scaling.get("rope_type") in ("longrope", "dynamic"):
        original = getattr(config, "original_max_position_embeddings", None)
        longest = scaling.get("original_max_position_embeddings") or original or longest
    return None if longest is None else int(longest)


def _quantised(bits: str, device: torch.device) -> Any:
    """Settings of bitsandbytes: NF4 with double quantisation (Dettmers et al. 2023), or LLM.int8()."""
    if device.type != "cuda":
        raise UserError(f"quantise {bits} needs a CUDA device and this is {device.type}: set quantise to none")
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"quantise {bits} needs bitsandbytes: pip install bitsandbytes, or set quantise to none"
        ) from error
    from transformers import BitsAndBytesConfig

    if bits == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def _is_placed(model: Any) -> bool:
    """Quantised weights lie where they were loaded to and refuse to move."""
    return bool(getattr(model, "is_loaded_in_8bit", False) or getattr(model, "is_loaded_in_4bit", False))

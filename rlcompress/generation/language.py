"""A causal language model that writes: any of Hugging Face, with its own tokenizer, start and end tokens.

`rlcompress.models.causal` measures bits of texts; here prompts are read with their special tokens and outputs end.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer as FastTokenizer

from rlcompress.config.generating import LanguageConfig
from rlcompress.errors import UserError
from rlcompress.generation.prompting import Prompt, turn_end

_NO_ROOM = 10**30  # tokenizers without a limit name a number like this


class LanguageModel:
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
        if not hasattr(tokenizer, "backend_tokenizer"):
            raise UserError(f"language model {name!r} has no fast tokenizer: add a tokenizer.json to it")
        self.device = device or torch.device("cpu")
        self.model = (model if _is_placed(model) else model.to(self.device)).eval()
        self.tokenizer = tokenizer
        self.name = name
        self.revision = revision
        self.window = window
        self.chunk = chunk
        self._fast = FastTokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._fast.no_padding()
        self._fast.no_truncation()
        self._literal = FastTokenizer.from_str(self._fast.to_str())
        self._literal.encode_special_tokens = True
        self._special = [str(token) for token in tokenizer.added_tokens_decoder.values()]
        self.end_id, self.end_ids = self._ends()
        pad = tokenizer.pad_token_id
        self.pad_id = int(self.end_id if pad is None else pad)
        start = tokenizer.bos_token_id
        begins = start is not None and tokenizer("a")["input_ids"][:1] == [start]
        self.start_ids: list[int] = [start] if begins else []

    def _ends(self) -> tuple[int, frozenset[int]]:
        """The token that ends an output here, and all that end one."""
        after = self._fast.encode(turn_end(self.tokenizer), add_special_tokens=False).ids
        turn = [i for i in after if i in self.tokenizer.added_tokens_decoder][:1]
        found: list[int] = [*turn, *_listed(self.tokenizer.eos_token_id)]
        for settings in (self.model.config, getattr(self.model, "generation_config", None)):
            found += _listed(getattr(settings, "eos_token_id", None))
        if not found:
            raise UserError(f"language model {self.name!r} has no end token: give its tokenizer an eos_token")
        return found[0], frozenset(found)

    def encode(self, text: str) -> list[int]:
        """Ids of a text by itself; special tokens in it are text."""
        return list(self._literal.encode(_writable(text), add_special_tokens=False).ids)

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Ids of a prompt, with special tokens where its template has them; at least one."""
        before, content, after = (_writable(part) for part in (prompt.before, prompt.content, prompt.after))
        start = [] if prompt.marked else self.start_ids
        if any(token in content for token in self._special):
            ids = [*self._template_ids(before), *self.encode(content), *self._template_ids(after)]
        else:  # in one piece, as the model has learned to read it
            ids = self._template_ids(before + content + after)
        return [*start, *ids] or [self.end_id]

    def _template_ids(self, text: str) -> list[int]:
        return list(self._fast.encode(text, add_special_tokens=False).ids)

    def output_ids(self, text: str) -> list[int]:
        """Ids of a text as an output: the end token stands at its end."""
        return [*self.encode(text), self.end_id]

    def following_ids(self, text: str) -> list[int]:
        """Ids of a text that goes on in the middle of another: many tokenizers set a space before the first word."""
        for anchor in ("=", "a", ""):
            before, whole = self.encode(anchor), self.encode(anchor + text)
            if whole[: len(before)] == before and self.decode(whole) == self.decode(before) + text:
                return whole[len(before) :]
        return self.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._fast.decode(list(ids), skip_special_tokens=True))

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


def _listed(ids: Any) -> list[int]:
    return [] if ids is None else list(ids) if isinstance(ids, list | tuple) else [int(ids)]


def _writable(text: str) -> str:
    """Lone surrogates have no bytes."""
    return text.encode("utf-8", "replace").decode("utf-8")

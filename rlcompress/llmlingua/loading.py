"""From the constructor's arguments to what scores words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from rlcompress.errors import UserError
from rlcompress.llmlingua.arguments import Kind
from rlcompress.llmlingua.exact import ExactScoring
from rlcompress.llmlingua.scoring import CausalScoring, CheckpointScoring, PolicyScoring, Scoring, read_config
from rlcompress.machine.device import choose_device
from rlcompress.models.tokenizer import load_tokenizer
from rlcompress.words import IntArray, Tokenizer

_ANY_DEVICE = ("auto", "balanced", "balanced_low_0")


@dataclass(frozen=True, slots=True)
class Settings:
    """The constructor's arguments, checked; `dtype` is a checkpoint's number format, None for its own."""

    device: str
    dtype: Any
    llmlingua2: bool
    exact: bool
    max_batch_size: int = 50
    max_force_token: int = 100

    @classmethod
    def of(
        cls,
        *,
        device_map: str,
        model_config: Mapping[str, Any],
        open_api_config: Mapping[str, Any],
        use_llmlingua2: bool,
        llmlingua2_config: Mapping[str, Any],
        use_slingua: bool,
        compat: str,
    ) -> Self:
        """Settings of a call.

        Raises:
            UserError: an argument that is refused, named.
        """
        if open_api_config:
            raise UserError("open_api_config is refused: nothing here asks the network; leave it out")
        if use_slingua:
            raise UserError("use_slingua is refused: SecurityLingua keeps no budget; leave it out")
        if compat not in ("fixed", "exact"):
            raise UserError(f"compat is {compat!r}: use fixed or exact")
        _refuse_unknown("llmlingua2_config", llmlingua2_config, ("max_batch_size", "max_force_token"))
        for name, value in llmlingua2_config.items():
            if not isinstance(value, int) or value < 1:
                raise UserError(f"llmlingua2_config.{name} is {value!r}: give a number of at least 1")
        device = "auto" if device_map in _ANY_DEVICE else device_map
        return cls(device, _dtype(model_config), use_llmlingua2, compat == "exact", **llmlingua2_config)


def load(folder: Path, settings: Settings, reader: Tokenizer | None) -> Scoring:
    """What scores words: made of a local folder, nothing is fetched.

    Raises:
        UserError: the folder holds no such thing, or not what the settings need.
    """
    kind = kind_of(folder)
    if kind is Kind.CAUSAL and settings.llmlingua2:
        raise UserError(f"use_llmlingua2: {folder} is a causal language model; leave it out or give a checkpoint")
    if settings.exact and kind is not Kind.CHECKPOINT:
        raise UserError(f'compat="exact" needs an LLMLingua-2 checkpoint and {folder} is {kind.value}: leave it out')
    device = choose_device(settings.device)
    if kind is Kind.POLICY:
        return PolicyScoring(folder, str(device), reader)
    if kind is Kind.CAUSAL:
        return CausalScoring(folder, device, reader)
    if not settings.exact:
        return CheckpointScoring(folder, device, reader, settings.max_batch_size, settings.dtype)
    if reader is None:
        raise UserError(
            'compat="exact" needs reader, as the original counts with a tokenizer of its own: '
            'give tiktoken.encoding_for_model("gpt-3.5-turbo"), or a folder with its tokenizer.json'
        )
    return ExactScoring(folder, device, reader, settings.max_batch_size, settings.dtype, settings.max_force_token)


def kind_of(folder: Path) -> Kind:
    """What a local folder holds.

    Raises:
        UserError: nothing that scores words, or nothing at all.
    """
    if (folder / "manifest.json").is_file() or (folder / "artifact" / "manifest.json").is_file():
        return Kind.POLICY
    architectures = " ".join(read_config(folder).get("architectures") or ())
    if "ForTokenClassification" in architectures:
        return Kind.CHECKPOINT
    if "ForCausalLM" in architectures or "LMHeadModel" in architectures:
        return Kind.CAUSAL
    raise UserError(
        f"model_name: {folder} is no local folder with an artifact, a token classifier or a causal language model: "
        "nothing is downloaded, so give the folder of one"
    )


def choose_reader(reader: str | Path | Tokenizer | None) -> Tokenizer | None:
    """The tokenizer that budgets are counted in: a folder with `tokenizer.json`, or an object.

    Any object whose `encode(text)` gives ids and spans will do, or that of tiktoken.
    """
    if isinstance(reader, (str, Path)):
        return load_tokenizer(str(reader))
    if reader is not None and hasattr(reader, "decode_with_offsets"):
        return TiktokenReader(reader)
    return reader


class TiktokenReader:
    """A `tiktoken.Encoding`, which knows where each token begins."""

    def __init__(self, encoding: Any) -> None:
        self.encoding = encoding
        self.name = str(encoding.name)

    def encode(self, text: str) -> tuple[IntArray, IntArray]:
        clean = text.encode("utf-8", "replace").decode("utf-8")
        ids: Sequence[int] = self.encoding.encode(clean, disallowed_special=())
        _, starts = self.encoding.decode_with_offsets(ids)
        # a token may end inside a character: where the next one begins, or the text's end
        ends = [max(b, a + 1) for a, b in zip(starts, [*starts, len(clean)][1:], strict=True)]
        return np.asarray(ids, np.int64), np.array([starts, ends], np.int64).T.reshape(-1, 2)


def _dtype(config: Mapping[str, Any]) -> Any:
    """The number format that `model_config` asks for; float32 without."""
    import torch

    _refuse_unknown("model_config", config, ("torch_dtype", "dtype", "pad_to_left", "trust_remote_code"))
    if config.get("trust_remote_code"):
        raise UserError("model_config.trust_remote_code is refused: no code of a model is run; set it to False")
    asked = config.get("dtype", config.get("torch_dtype"))
    if asked in (None, "auto"):
        return None
    found = getattr(torch, asked, None) if isinstance(asked, str) else asked
    if not isinstance(found, torch.dtype):
        raise UserError(f"model_config.torch_dtype is {asked!r}: use float32, bfloat16 or float16")
    return found


def _refuse_unknown(name: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in given:
        if key not in known:
            raise UserError(f"{name}.{key} is not honoured: use {', '.join(known)}")

"""Low-rank adapters of `peft`: added, moved, saved and merged. The base never changes and is never saved again.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models".
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rlcompress.config.generating import LanguageConfig, LoraConfig
from rlcompress.errors import UserError
from rlcompress.generation.language import LanguageModel, load_base
from rlcompress.models.presence import fingerprint

# All linear layers of attention and MLP, by the `model_type` of a configuration.
_SPLIT = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
TARGETS: dict[str, tuple[str, ...]] = {
    "gpt2": ("c_attn", "c_proj", "c_fc"),
    "llama": _SPLIT,
    "mistral": _SPLIT,
    "phi3": ("qkv_proj", "o_proj", "gate_up_proj", "down_proj"),
    "qwen2": _SPLIT,
    "qwen3": _SPLIT,
}
_SETTINGS, _WEIGHTS, _BASE = "adapter_config.json", "adapter_model.safetensors", "base.json"


def is_adapter(name: str) -> bool:
    return (Path(name) / _SETTINGS).is_file()


def add_adapter(language: LanguageModel, config: LoraConfig) -> LanguageModel:
    """The same model with adapters that are learned from here on; it writes as before until they are.

    They are put into the model that `language` holds: use what comes back in its place.

    Raises:
        UserError: no layer has such a name, or it has adapters already.
    """
    peft = _peft()
    model = language.model
    if hasattr(model, "peft_config"):
        raise UserError(f"language model {language.name!r} has adapters already: merge them first, or go on with them")
    kind = str(model.config.model_type)
    targets = list(config.targets or TARGETS.get(kind, ())) or "all-linear"
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=targets,
        fan_in_fan_out=kind == "gpt2",  # its layers hold transposed weights
        task_type="CAUSAL_LM",
    )
    if getattr(model, "is_quantized", False):
        model = peft.prepare_model_for_kbit_training(model)
    with torch.random.fork_rng(devices=[language.device] if language.device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        try:
            with _quiet():
                adapted = peft.get_peft_model(model, settings)
        except ValueError as error:
            linear = sorted({name.rpartition(".")[2] for name, layer in model.named_modules() if _is_linear(layer)})
            raise UserError(
                f"lora.targets {list(config.targets)} cannot be adapted in {language.name!r}: use {', '.join(linear)}"
            ) from error
    return _with(language, adapted)


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise UserError("adapters need peft: pip install 'rlcompress[rewriting]', or do without lora") from error
    return peft


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """`peft` asks `transformers` by an old name; that is none of the user's business."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield


def _is_linear(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or type(layer).__name__ == "Conv1D"


def _with(language: LanguageModel, model: Any) -> LanguageModel:
    return LanguageModel(
        model,
        language.tokenizer,
        name=language.name,
        revision=language.revision,
        window=language.window,
        chunk=language.chunk,
        device=language.device,
    )


def learned_state(model: nn.Module) -> dict[str, Tensor]:
    """Copies of what is learned, on the CPU: adapters alone where there are some. This travels to other processes."""
    return {name: p.detach().cpu().clone() for name, p in model.named_parameters() if p.requires_grad}


def set_learned_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put `learned_state` of a like model into this one, in place.

    Raises:
        ValueError: it is the state of another model.
    """
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if learned.keys() != state.keys():
        odd = sorted(learned.keys() ^ state.keys())
        raise ValueError(f"the state of another model: {odd[0]} and {len(odd) - 1} others do not agree")
    with torch.no_grad():
        for name, parameter in learned.items():
            parameter.copy_(state[name])


def save_adapter(language: LanguageModel, folder: Path) -> None:
    """Write adapters, tokenizer and which base they belong to; not the base."""
    language.save(folder)
    name = str(Path(language.name).resolve()) if Path(language.name).is_dir() else language.name
    files = "" if language.revision else fingerprint(name)  # a revision names the files already
    record = {"base": name, "revision": language.revision, "files": files}
    (folder / _BASE).write_text(json.dumps(record, indent=1), encoding="utf-8")


def load_adapter(config: LanguageConfig, device: torch.device | None = None, *, learn: bool = False) -> LanguageModel:
    """The base that an adapter's folder names, with the adapters in it.

    Args:
        config: `model` is the adapter's folder; the other keys hold for the base.
        device: where all of it lies.
        learn: whether the adapters go on learning.

    Raises:
        UserError: no adapter that can be read without unpickling, no base, or another base than they were learned on.
    """
    folder = Path(config.model)
    if not (folder / _WEIGHTS).is_file():
        raise UserError(f"adapter {folder} has no {_WEIGHTS}: save it again with safetensors")
    record = _base_of(folder)
    base = load_base(config.model_copy(update={"model": record["base"], "revision": record["revision"]}), device)
    if record["files"] and record["files"] != fingerprint(record["base"]):
        raise UserError(f"adapter {folder} was learned on other files than {record['base']!r} has now: restore them")
    peft = _peft()
    with _quiet():
        return _with(base, peft.PeftModel.from_pretrained(base.model, str(folder), is_trainable=learn))


def _base_of(folder: Path) -> dict[str, Any]:
    """The base by name, revision and content hash; others' adapters tell no hash."""
    try:
        if (folder / _BASE).is_file():
            record: dict[str, Any] = json.loads((folder / _BASE).read_text(encoding="utf-8"))
            return {name: record[name] for name in ("base", "revision", "files")}
        found = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
        return {"base": found["base_model_name_or_path"], "revision": found.get("revision"), "files": ""}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"adapter {folder} names no base ({error}): save it again") from error


def export_merged(adapter: Path, folder: Path) -> None:
    """Write a plain Hugging Face model with the adapters added to the base's weights, in the base's precision."""
    language = load_adapter(LanguageConfig(model=str(adapter)))
    language.model.merge_and_unload().save_pretrained(folder)
    language.tokenizer.save_pretrained(folder)

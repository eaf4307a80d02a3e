"""A network in the middle of its training, on disk: weights, optimizer, a record, and what chance will draw next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

_TENSORS, _RECORD = "state.safetensors", "state.json"


def save_state(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    record: Mapping[str, Any],
    random: Mapping[str, Tensor] | None = None,
) -> None:
    """Fill a folder that `publish.publishing` makes whole; `record` is JSON, `random` states of generators by name."""
    tensors = {f"weight {name}": tensor.detach() for name, tensor in _weights(model).items()}
    for number, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer {number} {name}": torch.as_tensor(value) for name, value in slots.items()}
    tensors |= {f"random {name}": value for name, value in (random or {}).items()}
    save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, str(folder / _TENSORS))
    (folder / _RECORD).write_text(json.dumps(dict(record), indent=1, sort_keys=True), encoding="utf-8")


def load_state(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Put weights and optimizer back, in place; returns the record and the states of the generators.

    Raises:
        ValueError: the folder holds the state of another network.
    """
    record, found, weights = read_record(folder), load_file(str(folder / _TENSORS)), _weights(model)
    named = {name.removeprefix("weight ") for name in found if name.startswith("weight ")}
    if named != weights.keys() or any(found[f"weight {n}"].shape != w.shape for n, w in weights.items()):
        raise ValueError(f"{folder} holds the state of another network")
    with torch.no_grad():
        for name, tensor in weights.items():
            tensor.copy_(found[f"weight {name}"])
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in found.items():
        if name.startswith("optimizer "):
            _, number, slot = name.split(" ")
            slots.setdefault(int(number), {})[slot] = tensor
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
    return record, {n.removeprefix("random "): t for n, t in found.items() if n.startswith("random ")}


def read_record(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    return record


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, each once: tied weights share memory."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def random_states(device: torch.device) -> dict[str, Tensor]:
    """What dropout draws next: the states of the global generators of the CPU and of `device`."""
    states = {"cpu": torch.random.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    torch.random.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
    elif device.type == "mps":
        torch.mps.set_rng_state(states["mps"])

"""Several workers that learn one model: each has its share of a batch's rows, and gradients are added up."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, distributed, nn


def place() -> tuple[int, int]:
    """This worker's number, and how many there are; (0, 1) where nobody shares."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def share(rows: Tensor) -> Tensor:
    """The rows of this worker: every so manieth, so that lengths are alike."""
    number, workers = place()
    return rows[number::workers]


def added_up(value: float, device: torch.device) -> float:
    """The sum of what all workers hold."""
    if place()[1] == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return float(total)


def add_up_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Every worker gets the sum; a parameter that took no part in a worker's share counts as zero there."""
    learned = [parameter for parameter in parameters if parameter.requires_grad]
    if place()[1] == 1:
        return
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in learned])
    distributed.all_reduce(flat)
    for parameter, gradient in zip(learned, torch.split(flat, [p.numel() for p in learned]), strict=True):
        parameter.grad = gradient.view_as(parameter)

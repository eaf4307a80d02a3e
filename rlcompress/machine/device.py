"""Chooses the torch device of a run; `auto` never picks a device that cannot compute."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rlcompress.errors import UserError

if TYPE_CHECKING:
    import torch

_NAMES = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def choose_device(name: str = "auto") -> torch.device:
    """The device called `name`: auto (cuda, else mps, else cpu), cpu, cuda, cuda:N or mps.

    Raises:
        UserError: an unknown name, or a device that is absent or fails a small computation.
    """
    import torch

    if not _NAMES.fullmatch(name):
        raise UserError(f"device is {name!r}: use auto, cpu, cuda, cuda:N or mps")
    if name == "auto":
        return next(torch.device(kind) for kind in ("cuda", "mps", "cpu") if fault(kind) is None)
    if (why := fault(name)) is not None:
        raise UserError(f"device {name} cannot be used: {why}; set device=auto or device=cpu")
    return torch.device(name)


def fault(name: str) -> str | None:
    """Why the device cannot compute, or None when it can: a driver may list a card that then fails."""
    import torch

    if name.startswith("cuda"):
        present = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(name.partition(":")[2] or 0) >= present:
            return f"torch sees {present} CUDA devices"
    if name == "mps" and not torch.backends.mps.is_available():
        return "torch sees no MPS device"
    try:
        computed = float((torch.ones(2, 2, device=name) @ torch.ones(2, 2, device=name)).sum())
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        return str(error).partition("\n")[0]
    return None if computed == 8.0 else f"it computed {computed:g} where 8 is right"

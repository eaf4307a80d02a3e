"""What this machine has: cores, memory, disk and graphics cards, as far as this process may use them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from rlcompress.config.profiles import suited

GIGABYTE = 1024**3


def cores() -> int:
    """CPU cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Memory of the machine or of the container, whichever is smaller."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    return min(total, int(text)) if text.isdigit() else total


def resident_bytes() -> int:
    """Memory that this process holds now (where the system does not say: held at most so far)."""
    statm = Path("/proc/self/statm")
    if statm.is_file():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_disk_bytes(folder: str | Path) -> int:
    """Free space where `folder` is or would be."""
    path = Path(folder).resolve()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def graphics_cards() -> list[dict[str, Any]]:
    """Name and memory of each CUDA device; empty without torch or without a card."""
    try:
        import torch
    except ImportError:
        return []
    if not torch.cuda.is_available():
        return []
    cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return [{"name": card.name, "memory_gb": round(card.total_memory / GIGABYTE, 1)} for card in cards]


def suited_profile() -> tuple[str, str]:
    """The profile that suits the devices of this machine that compute, and why."""
    from rlcompress.machine.device import choose_device, fault

    memory = [card["memory_gb"] for n, card in enumerate(graphics_cards()) if fault(f"cuda:{n}") is None]
    return suited(choose_device("auto").type, min(memory, default=0.0))

"""Where processes start: `from cluster import train, tune, evaluate`. Importing it starts and loads nothing."""

from __future__ import annotations

import importlib
from typing import Any

# name -> module; loaded on first use, so that a command line's --help costs nothing
_STAGES = {
    "train": "cluster.training",
    "sft": "cluster.training",
    "train_judges": "cluster.stages",
    "tune": "cluster.tuning",
    "evaluate": "cluster.evaluating",
    "baselines": "cluster.evaluating",
    "compare": "cluster.comparing",
    "submit": "cluster.jobs",
    "job_status": "cluster.jobs",
}

__all__ = ["baselines", "compare", "evaluate", "job_status", "sft", "submit", "train", "train_judges", "tune"]


def __getattr__(name: str) -> Any:
    if name not in _STAGES:
        raise AttributeError(f"module 'cluster' has no attribute {name!r}")
    return getattr(importlib.import_module(_STAGES[name]), name)

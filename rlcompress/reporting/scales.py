"""Level and spread of a reward and of its terms over a run, and a warning where a term cannot teach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlcompress.measuring.summary import Row
from rlcompress.reporting.plots import curve

SPREAD_FLOOR = 1e-3  # a reward that spreads less teaches nothing
LARGEST = 10.0  # rewards should be of order 1


def reward_scales(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Level and spread of the reward and of each logged term over the run, with a warning where it is out of scale.

    The spread is the median logged deviation over samples (`reward/std`, `reward/<term>_std`), else that of the logged
    means over iterations.
    """
    names = {key for row in rows for key in row if key.startswith("reward/")}
    spreads = {name: "reward/std" if name == "reward/mean" else f"{name}_std" for name in names}
    scales = []
    for name in sorted(names - set(spreads.values()) - {"reward/group_spread"}):
        values_I = curve(rows, name)[:, 1]
        spreads_I = curve(rows, spreads[name])[:, 1]
        if not len(values_I):
            continue
        over = "samples" if len(spreads_I) else "iterations"
        spread = float(np.median(spreads_I)) if len(spreads_I) else float(values_I.std())
        scales.append(
            {
                "name": name,
                "first": float(values_I[0]),
                "last": float(values_I[-1]),
                "low": float(values_I.min()),
                "high": float(values_I.max()),
                "spread": spread,
                "over": over,
                "warning": _scale_warning(float(np.abs(values_I).max()), spread, over),
            }
        )
    return scales


def _scale_warning(largest: float, spread: float, over: str) -> str:
    if largest > LARGEST:
        return f"beyond ±{LARGEST:g}, not of order 1: lower the term's weight"
    if spread >= SPREAD_FLOOR:
        return ""
    if over == "samples":
        return f"spread below {SPREAD_FLOOR:g}: samples hardly differ in it, so it teaches nothing"
    return f"moved by less than {SPREAD_FLOOR:g} in this run"

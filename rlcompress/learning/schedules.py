"""Values that change over a run, such as the sampling temperature."""

from __future__ import annotations

from rlcompress.config.schema import ScheduleConfig


def scheduled(
    config: ScheduleConfig, progress: float, previous: float | None = None, entropy: float | None = None
) -> float:
    """The value at `progress` in [0, 1].

    fixed: `start`. linear: straight line to `end`. exponential: geometric path to `end`. adaptive: `previous` moved
    by 2 % up or down so that the normalised entropy (0 to 1) of the last iteration nears `target`, within
    [min(start, end), max(start, end)].
    """
    progress = min(max(progress, 0.0), 1.0)
    if config.kind == "linear":
        return config.start + (config.end - config.start) * progress
    if config.kind == "exponential":
        return float(config.start * (config.end / config.start) ** progress)
    if config.kind == "adaptive" and previous is not None and entropy is not None:
        moved = previous * (1.02 if entropy < config.target else 1 / 1.02)
        return min(max(moved, min(config.start, config.end)), max(config.start, config.end))
    return config.start

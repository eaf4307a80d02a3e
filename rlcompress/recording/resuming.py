"""Where a killed run goes on: at a whole checkpoint, with everything that came later put away.

No process keeps random state between iterations: every draw follows from the run's seed and a serial number. So what a
run does after a checkpoint follows from the checkpoint and the configuration, and a run that goes back to one does the
same again. The metrics and the ledger hold everything up to a checkpoint before it is written (`Tracker.sync`), which
is why `best` and the patience of the validation need not be in it: they follow from the metrics.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlcompress.config.running import VALIDATION, Run
from rlcompress.recording.directory import RunDirectory
from rlcompress.recording.lines import step_rows
from rlcompress.recording.publish import (
    POINTERS,
    checkpoint_name,
    find_checkpoint,
    iteration_of,
    latest_stable,
    periodic,
    point,
    remove,
    sweep,
    why_torn,
)

log = logging.getLogger(__name__)

REWARD = "validation/reward"  # of the served policy at one of the configured rates
FROM_THE_START = -1  # the step after which everything is done again


@dataclass(frozen=True, slots=True)
class Rewound:
    """Where a run goes on; `lost` says in words what could not be used."""

    checkpoint: Path | None  # None: from the start
    step: int
    lost: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = "the start: there is no whole checkpoint" if self.checkpoint is None else str(self.checkpoint)
        return "\n           ".join([place, *self.lost])


def rewind(run: RunDirectory[Any], name: str = "latest") -> Rewound:
    """Take a run back to a checkpoint (`latest`: the newest whole one, else the start).

    Later checkpoints are deleted, `best` and `last` are pointed to what they named at that time, and what could not be
    used is printed by the caller, logged and kept in `environment.json`. Killed in the middle, it can be done again.

    Raises:
        UserError: the named checkpoint is not there or torn.
    """
    sweep(run.checkpoints)
    if name == "latest":
        latest = latest_stable(run.checkpoints)
        checkpoint, lost = latest.path, [f"torn: {why}" for why in latest.skipped]
    else:
        checkpoint, lost = find_checkpoint(run.checkpoints, name), []
    step = FROM_THE_START if checkpoint is None else iteration_of(checkpoint)
    for path in reversed(periodic(run.checkpoints)):  # the newest first: what is left is always one run's
        if iteration_of(path) > step:
            remove(path)
    if checkpoint is None:
        for pointer in POINTERS:
            (run.checkpoints / pointer).unlink(missing_ok=True)
    else:
        point(run.checkpoints, "last", checkpoint.name)
        lost += _point_to_best(run, step)
    for what in lost:
        log.warning("%s: %s", run.path, what)
    run.note("resumed", {"from": checkpoint and checkpoint.name, "lost": lost})
    return Rewound(checkpoint, step, tuple(lost))


def _point_to_best(run: RunDirectory[Any], step: int) -> list[str]:
    """Point `best` to the best validated checkpoint up to `step` that is whole; says so when a better one is not."""
    lost: list[str] = []
    for better in [*best_first(validations(run.metrics, step, run.config.decides)), step]:
        path = run.checkpoints / checkpoint_name(better)
        why = why_torn(path) if path.is_dir() else "it is no longer there"
        if why is None:
            point(run.checkpoints, "best", path.name)
            break
        if not lost:
            lost.append(f"the best so far, {path.name}, cannot be used ({why}): the next best stands in")
    return lost


def validations(metrics: Path, until: int, name: str = VALIDATION) -> dict[int, float]:
    """Step -> what was validated under this name, of the logged steps up to `until`."""
    rows = step_rows(metrics, until)
    return {row["step"]: row[name] for row in rows if row.get(name) is not None}


def best_first(measured: dict[int, float]) -> list[int]:
    """Steps by what was validated; of equal ones the earliest is the best."""
    return sorted(measured, key=lambda step: (measured[step], step))


class Validated:
    """What was validated, by step: which step is the best, and how long ago that was.

    Args:
        run: `until` is the step that it continues from: what was measured before it counts; None begins anew.
    """

    def __init__(self, run: RunDirectory[Any], until: int | None) -> None:
        config: Run = run.config
        self.patience, self.decides = config.checkpoint.patience, config.decides
        self.measured = {} if until is None else validations(run.metrics, until, self.decides)

    def note(self, step: int, metrics: dict[str, float]) -> None:
        self.measured[step] = metrics[self.decides]

    @property
    def best(self) -> int | None:
        """The step that was measured best, None before the first."""
        return next(iter(best_first(self.measured)), None)

    def patience_is_over(self) -> bool:
        best = self.best
        return self.patience is not None and best is not None and sum(s > best for s in self.measured) >= self.patience

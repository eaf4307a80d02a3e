"""The loop that every family of runs goes through: iterations, each one logged before its checkpoint is written."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from policies.algorithm import CompressorAlgorithm
from rlcompress.config.running import COST, VALIDATION, Run
from rlcompress.recording.directory import RunDirectory
from rlcompress.recording.ledger import Ledger
from rlcompress.recording.progress import Progress
from rlcompress.recording.publish import checkpoint_name, find_checkpoint, point, publishing, rotate
from rlcompress.recording.resuming import FROM_THE_START, Validated
from rlcompress.recording.tracking import Tracker

SHOWN = ("reward/mean", VALIDATION, COST)
Metrics = dict[str, float]
OnValidation = Callable[[int, Metrics], None]


class Course(Protocol):
    """What a family brings to the loop."""

    @property
    def algorithm(self) -> CompressorAlgorithm[Any]: ...

    @property
    def validated(self) -> Validated: ...

    def after_iteration(self, step: int, began: float) -> Metrics:
        """What else is known of the iteration that began at `began` of `time.perf_counter`."""
        ...

    def validate(self, step: int) -> Metrics:
        """How the policy does as it would be served; noted in `validated`."""
        ...

    def watch(self, step: int, metrics: Metrics, after_validation: bool) -> Metrics:
        """Last look at the metrics of a step, before they are logged; what it adds."""
        ...

    def save(self, folder: Path) -> None:
        """Add to a checkpoint what is not in the algorithm's state."""
        ...

    def export(self) -> None:
        """Write the artifact of the weights that the algorithm has now."""
        ...


def iterate(run: RunDirectory[Any], course: Course, after: int | None, on_validation: OnValidation | None) -> None:
    """All iterations from `after` on, then the best checkpoint becomes the artifact."""
    config: Run = run.config
    algorithm, validated = course.algorithm, course.validated
    progress = Progress(config.learner.iterations, every=10, start=algorithm.iteration)
    with (
        Tracker(config.tracking, run.path, config.name, after=after) as tracker,
        contextlib.closing(Ledger(run.samples, after=after)) as ledger,
    ):
        if after is None or after == FROM_THE_START:
            tracker.log(0, course.validate(0))
            tracker.sync()
            _checkpoint(run, course, best=True)
        while algorithm.iteration < config.learner.iterations and not validated.patience_is_over():
            began = time.perf_counter()
            algorithm.train()
            step = algorithm.iteration
            metrics = {**algorithm.last_metrics, **course.after_iteration(step, began)}
            measured = step % config.checkpoint.validate_every == 0 or step == config.learner.iterations
            if measured:
                metrics.update(course.validate(step))
            metrics.update(course.watch(step, metrics, measured))
            ledger.write(step, algorithm.last_rollout)
            tracker.log(step, metrics)
            progress.update(step, {k: metrics[k] for k in SHOWN if k in metrics})
            best = measured and validated.best == step
            stop = measured and validated.patience_is_over()
            if step % config.checkpoint.every == 0 or step == config.learner.iterations or best or stop:
                ledger.sync()
                tracker.sync()
                _checkpoint(run, course, best=best)
            if measured and on_validation is not None:
                on_validation(step, metrics)
            if stop:
                print(f"stopped    no improvement in {config.checkpoint.patience} validations", flush=True)
    algorithm.restore_from_path(str(find_checkpoint(run.checkpoints, "best").resolve()))
    course.export()


def _checkpoint(run: RunDirectory[Any], course: Course, best: bool) -> None:
    name = checkpoint_name(course.algorithm.iteration)
    with publishing(run.checkpoints / name) as folder:
        course.algorithm.save_to_path(str(folder.resolve()))
        course.save(folder)
    point(run.checkpoints, "last", name)
    if best:
        point(run.checkpoints, "best", name)
    rotate(run.checkpoints, run.config.checkpoint.keep)

"""Where metrics go: JSONL always, CSV and TensorBoard by default, Weights & Biases and MLflow only when asked.

Metrics are numbers under `group/name` keys. JSON Lines hold every one of them (a non-finite number as null); the CSV
gets a column for each key, and is rewritten when a new key appears, for some metrics come only with validations.
Two runs with equal configurations have equal metrics, but for the keys that begin as `OF_THE_HOST` says.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from rlcompress.config.schema import TrackingConfig
from rlcompress.errors import UserError
from rlcompress.recording.lines import StepLines, step_rows
from rlcompress.recording.meters import HOST

# Keys, or beginnings of keys, that tell of processes and clocks: equal runs differ in these alone.
OF_THE_HOST = (*HOST, "time", "runners/", "judge/")

_MEND = "pip install 'rlcompress[tracking]'"


class Sink(Protocol):
    """One place that takes metrics."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class Tracker:
    """Sends each step's metrics to every sink that the configuration names.

    Args:
        after: the step that a resumed run continues from; lines of later steps, which the lost process still wrote,
            are removed first. None starts new files.

    Raises:
        UserError: wandb or mlflow is asked for and not installed.
    """

    def __init__(self, config: TrackingConfig, run_dir: Path, run_name: str, *, after: int | None = None) -> None:
        services: list[Sink] = []  # first: where one is not installed, no file has been touched
        if config.wandb is not None:
            services.append(_Wandb(config.wandb, run_dir, run_name))
        if config.mlflow is not None:
            services.append(_Mlflow(config.mlflow, run_name))
        self._lines = StepLines(run_dir / "metrics.jsonl", after)
        rows = step_rows(run_dir / "metrics.jsonl")
        self._sinks: list[Sink] = [*services, _JsonLines(self._lines)]
        if config.csv:
            self._sinks.append(_Csv(run_dir / "metrics.csv", rows))
        if config.tensorboard:
            self._sinks.append(_TensorBoard(run_dir / "tensorboard", rows))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record plain numbers of one step; numpy's and torch's scalars are turned into floats."""
        assert not {"step", "time"} & metrics.keys(), "step and time are added here"
        numbers = {key: float(value) for key, value in metrics.items()}
        for sink in self._sinks:
            sink.log(step, numbers)

    def sync(self) -> None:
        """What was logged is on the disk: a checkpoint never knows of a step that the metrics lost."""
        self._lines.sync()

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _JsonLines:
    def __init__(self, lines: StepLines) -> None:
        self._lines = lines

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        finite = {key: value if math.isfinite(value) else None for key, value in metrics.items()}
        self._lines.write(step, {"time": round(time.time(), 3), **finite})

    def close(self) -> None:
        self._lines.close()


class _Csv:
    """A table of the JSON Lines, from which a resumed run also writes it anew (`rows`)."""

    def __init__(self, path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        self._path = path
        self._columns = list(dict.fromkeys(["step", *(key for row in rows for key in row if key != "time")]))
        self._rewrite([_cells(row) for row in rows])

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        new = [key for key in metrics if key not in self._columns]
        if new:
            self._file.close()
            with self._path.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            self._columns += new
            self._rewrite(rows)
        self._writer.writerow(_cells({"step": step, **metrics}))
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _rewrite(self, rows: Sequence[Mapping[str, Any]]) -> None:
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        self._file = temporary.open("w", encoding="utf-8", newline="")
        self._writer = csv.DictWriter(self._file, self._columns)
        self._writer.writeheader()
        self._writer.writerows(rows)
        self._file.flush()
        temporary.replace(self._path)


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without its time; what is not finite, which JSON holds as null, is nan."""
    finite = {key: value if value is not None and math.isfinite(value) else math.nan for key, value in row.items()}
    return {key: value for key, value in finite.items() if key != "time"}


class _TensorBoard:
    """Curves of the JSON Lines: a killed process loses events that it had not written yet, so these are drawn anew."""

    def __init__(self, folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        from tensorboardX import SummaryWriter

        for events in folder.glob("events.out.tfevents.*"):
            events.unlink()
        self._writer = SummaryWriter(str(folder))
        for row in rows:
            numbers = {key: value for key, value in row.items() if key not in ("step", "time") and value is not None}
            self.log(row["step"], numbers, row["time"])

    def log(self, step: int, metrics: Mapping[str, float], when: float | None = None) -> None:
        for key, value in metrics.items():
            if math.isfinite(value):
                self._writer.add_scalar(key, value, step, walltime=when)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, project: str, run_dir: Path, run_name: str) -> None:
        try:
            import wandb
        except ImportError:
            raise UserError(f"tracking.wandb is set but wandb is not installed: {_MEND}") from None
        self._run = wandb.init(project=project, name=run_name, dir=str(run_dir))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        self._run.finish()


class _Mlflow:
    def __init__(self, experiment: str, run_name: str) -> None:
        try:
            import mlflow
        except ImportError:
            raise UserError(f"tracking.mlflow is set but mlflow is not installed: {_MEND}") from None
        self._mlflow = mlflow
        mlflow.set_experiment(experiment)
        mlflow.start_run(run_name=run_name)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._mlflow.log_metrics(dict(metrics), step=step)

    def close(self) -> None:
        self._mlflow.end_run()

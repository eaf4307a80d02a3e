"""Where metrics go: JSONL always, CSV and TensorBoard by default, Weights & Biases and MLflow only when asked.

Metrics are numbers under `group/name` keys. JSON Lines hold every one of them (a non-finite number as null); the CSV
gets a column for each key, and is rewritten when a new key appears, for some metrics come only with validations.
"""

from __future__ import annotations

import csv
import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from rlcompress.config.schema import TrackingConfig
from rlcompress.errors import UserError
from rlcompress.publish import write_atomically

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
        self._sinks: list[Sink] = [*services, _JsonLines(run_dir / "metrics.jsonl", after)]
        if config.csv:
            self._sinks.append(_Csv(run_dir / "metrics.csv", after))
        if config.tensorboard:
            self._sinks.append(_TensorBoard(run_dir / "tensorboard", after))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record plain numbers of one step; numpy's and torch's scalars are turned into floats."""
        assert not {"step", "time"} & metrics.keys(), "step and time are added here"
        numbers = {key: float(value) for key, value in metrics.items()}
        for sink in self._sinks:
            sink.log(step, numbers)

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
    def __init__(self, path: Path, after: int | None) -> None:
        lines = path.read_text(encoding="utf-8").splitlines() if after is not None and path.is_file() else []
        kept = [line for line in lines if _step_of(line) <= (after or 0)]
        write_atomically(path, "".join(f"{line}\n" for line in kept))
        self._file = path.open("a", encoding="utf-8")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        finite = {key: value if math.isfinite(value) else None for key, value in metrics.items()}
        self._file.write(json.dumps({"step": step, "time": round(time.time(), 3), **finite}) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def _step_of(line: str) -> float:
    """The step of a line of metrics; infinite for one that was cut off in the middle, so that it is dropped."""
    try:
        return float(json.loads(line)["step"])
    except ValueError:
        return math.inf


class _Csv:
    def __init__(self, path: Path, after: int | None) -> None:
        self._path = path
        self._columns = ["step"]
        rows: list[dict[str, Any]] = []
        if after is not None and path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                reader = csv.DictReader(file)
                rows = [row for row in reader if int(row["step"]) <= after]
                self._columns = list(reader.fieldnames or self._columns)
        self._rewrite(rows)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        new = [key for key in metrics if key not in self._columns]
        if new:
            self._file.close()
            with self._path.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            self._columns += new
            self._rewrite(rows)
        self._writer.writerow({"step": step, **metrics})
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        self._file = temporary.open("w", encoding="utf-8", newline="")
        self._writer = csv.DictWriter(self._file, self._columns)
        self._writer.writeheader()
        self._writer.writerows(rows)
        self._file.flush()
        temporary.replace(self._path)


class _TensorBoard:
    def __init__(self, folder: Path, after: int | None) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=None if after is None else after + 1)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for key, value in metrics.items():
            if math.isfinite(value):
                self._writer.add_scalar(key, value, step)

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

"""What must be equal in an interrupted run and one that was left alone: everything but clocks, processes and places."""

from __future__ import annotations

import csv
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlcompress.measuring.results import load_results
from rlcompress.recording.lines import step_rows
from rlcompress.recording.publish import periodic, why_torn
from rlcompress.recording.tracking import OF_THE_HOST


def differences(run: Path, reference: Path) -> list[str]:
    """What differs between two finished runs, in words."""
    return [
        *unequal("metrics.jsonl", metrics(run), metrics(reference)),
        *unequal("metrics.csv", table(run), table(reference)),
        *unequal("tensorboard", curves(run / "tensorboard"), curves(reference / "tensorboard")),
        *unequal("samples.jsonl", _bytes(run / "samples.jsonl"), _bytes(reference / "samples.jsonl")),
        *unequal("checkpoints", _pointed(run), _pointed(reference)),
        *(
            difference
            for a, b in zip(periodic(run / "checkpoints"), periodic(reference / "checkpoints"), strict=False)
            for difference in unequal(f"checkpoint {b.name}", checkpoint(a), checkpoint(b))
        ),
        *(
            difference
            for name in ("prior", "warm_start", "artifact")
            for difference in unequal(name, _files(run / name), _files(reference / name))
        ),
        *unequal("evaluation", _measured(run), _measured(reference)),
    ]


def metrics(run: Path) -> list[list[tuple[str, Any]]]:
    """The lines in order, without what tells of the host."""
    return [
        [(k, v) for k, v in row.items() if not k.startswith(OF_THE_HOST)] for row in step_rows(run / "metrics.jsonl")
    ]


def table(run: Path) -> list[list[str]]:
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    shown = [c for c, name in enumerate(rows[0]) if not name.startswith(OF_THE_HOST)]
    return [[row[c] for c in shown] for row in rows]


def checkpoint(folder: Path) -> dict[str, Any]:
    """Weights, optimizer, position and live judge as plain nested dicts; a torn checkpoint is only that."""
    if (why := why_torn(folder)) is not None:
        return {"torn": why}
    learner = folder / "learner_group" / "learner"
    algorithm = pickle.loads((folder / "algorithm_state.pkl").read_bytes())
    state = pickle.loads((learner / "state.pkl").read_bytes())
    return {
        "weights": pickle.loads((learner / "rl_module" / "default_policy" / "module_state.pkl").read_bytes()),
        "learner": {key: value for key, value in state.items() if key != "metrics_logger"},
        "algorithm": {key: value for key, value in algorithm.items() if key != "metrics_logger"},
        "live": _files(folder / "live"),  # empty without co-training
    }


def curves(folder: Path) -> dict[tuple[str, int], list[float]]:
    """(tag, step) -> values."""
    shown: dict[tuple[str, int], list[float]] = {}
    for event in _events(folder):
        for value in event.summary.value:
            if not value.tag.startswith(OF_THE_HOST):
                shown.setdefault((value.tag, event.step), []).append(value.simple_value)
    return shown


def _events(folder: Path) -> Iterator[Any]:
    from tensorboardX.proto.event_pb2 import Event

    for file in sorted(folder.iterdir()):
        data, start = file.read_bytes(), 0
        while len(data) - start >= 12:
            (length,) = struct.unpack_from("<Q", data, start)
            body = data[start + 12 : start + 12 + length]
            if len(body) < length:
                break  # cut off by a kill
            yield Event.FromString(body)
            start += 12 + length + 4


def _pointed(run: Path) -> dict[str, Any]:
    folder = run / "checkpoints"
    return {
        "there": sorted(path.name for path in folder.iterdir()),
        **{pointer: (folder / pointer).read_text() for pointer in ("best", "last")},
    }


def _measured(run: Path) -> Any:
    document = load_results(run / "evaluation" / "results.json")
    return {"results": document["results"], "comparisons": document["comparisons"]}


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _bytes(file: Path) -> bytes:
    return file.read_bytes()


def unequal(name: str, mine: Any, other: Any) -> Iterator[str]:
    """Where two nested values differ, leaf by leaf and bit by bit."""
    if isinstance(mine, dict) and isinstance(other, dict):
        if list(mine) != list(other):
            yield f"{name} has {sorted(map(str, {*mine} ^ {*other}))} on one side only, or in another order"
        for key in [key for key in mine if key in other]:
            yield from unequal(f"{name} {key}", mine[key], other[key])
    elif isinstance(mine, (list, tuple)) and isinstance(other, (list, tuple)):
        if len(mine) != len(other):
            yield f"{name} has {len(mine)} entries, not {len(other)}"
        for i, (one, two) in enumerate(zip(mine, other, strict=False)):
            yield from unequal(f"{name}[{i}]", one, two)
    elif isinstance(mine, (np.ndarray, torch.Tensor)):
        a, b = np.asarray(mine), np.asarray(other)
        if (a.dtype, a.shape, a.tobytes()) != (b.dtype, b.shape, b.tobytes()):
            yield f"{name} differs"
    elif not (mine == other or (mine != mine and other != other)):
        yield f"{name}: {str(mine)[:80]} is not {str(other)[:80]}"

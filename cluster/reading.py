"""The reader of a run, where a term of its reward needs one: made ready, gated, and served as a named actor."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayTaskError

from cluster.services import JudgeService, RemoteJudge, start_service
from rlcompress.config.schema import ReaderJudgeConfig, RunConfig
from rlcompress.errors import UserError
from rlcompress.judges.build import bits_saved
from rlcompress.judges.reading import load_reader, make_reader, reader_key
from rlcompress.machine.device import choose_device
from rlcompress.models.presence import require_model
from rlcompress.recording.directory import RunDirectory
from rlcompress.recording.publish import publishing, why_torn
from rlcompress.rewards.terms import reads

ROLE = "reader"  # its folder among the run's judges


class ReaderService(JudgeService):
    """What runs inside the actor: a reader loaded from its folder, asked for what the reward needs."""

    def __init__(self, folder: str, measures: tuple[str, ...], threads: int, device: str) -> None:
        torch.set_num_threads(threads)
        self.judge_model = load_reader(Path(folder), measures, choose_device(device))


def wanted(config: RunConfig) -> bool:
    """Whether a term of the reward asks for a reader."""
    return bool(reads(config.reward))


def require_named(config: RunConfig) -> None:
    """Refuse an `evaluate.reader` that nothing can be loaded from.

    Raises:
        UserError: naming the key.
    """
    name = config.evaluate.reader
    if name is not None and not (Path(name) / "judge.json").is_file():
        own = {config.judges.reader.model} if wanted(config) else set()
        require_model("evaluate.reader", name, ("builtin:overlap", *own & {"builtin:causal"}))


def ready_reader(config: RunConfig, data: Path, data_hash: str, folder: Path) -> dict[str, float]:
    """Write `folder/reader`, from the cache beside the judges' or new; the share of the bits that reading saves it.

    Empty where no term asks for a reader.

    Raises:
        UserError: the model cannot be loaded, the data have too few questions, or it misses `judges.reader.gate`.
    """
    if not wanted(config):
        return {}
    reader = config.judges.reader
    cached = Path(config.runs) / "cache" / "judges" / f"reader-{reader_key(reader, data_hash)}"
    if not cached.is_dir() or why_torn(cached):
        task = ray.remote(_make_into).options(num_cpus=max(1, math.ceil(reader.cpus)), num_gpus=reader.gpus)
        try:
            ray.get(task.remote(reader, data.resolve(), cached.resolve(), _device(config)))
        except RayTaskError as error:
            raise error.cause from None
    gain = bits_saved(cached)
    if reader.gate and gain < reader.gate:
        raise UserError(
            f"judges.reader saves only {gain:.1%} of an answer's bits by reading the right text, judges.reader.gate "
            f"asks for {reader.gate:.0%}: take another judges.reader.model, or train builtin:causal longer"
        )
    with publishing(folder / ROLE) as made:
        shutil.copytree(cached, made, dirs_exist_ok=True)
    return {ROLE: gain}


def _device(config: RunConfig) -> str:
    return config.device if config.judges.reader.gpus else "cpu"


def _make_into(reader: ReaderJudgeConfig, data: Path, target: Path, device: str) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(max(1, math.ceil(reader.cpus)))
    with publishing(target) as made:
        make_reader(reader, data, made, choose_device(device))


def start_reader(name: str, run: RunDirectory) -> tuple[RemoteJudge, Any]:
    """The reader's actor, started or found, and who asks it."""
    config = run.config.judges.reader
    measures = tuple(sorted(reads(run.config.reward)))
    given = (str((run.judges / ROLE).resolve()), measures, config.threads, _device(run.config))
    actor = start_service(ReaderService, name, config, run.config.resources.restarts, *given)
    return RemoteJudge(name, config.timeout, key="judges.reader.timeout"), actor

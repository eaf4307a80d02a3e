"""Judges made ready for a run: trained side by side as Ray tasks, or taken from the cache, and held to the gate."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import ray
from ray.exceptions import RayTaskError

from cluster.reading import ready_reader
from rlcompress.config.schema import JudgeConfig, RunConfig
from rlcompress.errors import UserError
from rlcompress.judges.build import bits_saved, judge_key, train_judge
from rlcompress.machine.device import choose_device
from rlcompress.recording.publish import publishing, why_torn


def ready_judges(config: RunConfig, data: Path, data_hash: str, folder: Path) -> dict[str, float]:
    """Write `folder/reward`, `folder/heldout` and, where a term reads, `folder/reader`; what share of bits each saves.

    A judge that is `none` has no folder and no share. Judges are cached under `<runs>/cache/judges`, by everything that
    decides their weights. A training that was killed goes on from the state that it left there.

    Raises:
        UserError: a judge does not read, i.e. misses `judges.gate`.
    """
    roles = {"reward": config.judges.reward, "heldout": config.judges.heldout}
    roles = {role: judge for role, judge in roles.items() if not judge.silent}
    cached = {role: _cache(config, judge, data_hash) for role, judge in roles.items()}
    missing = [role for role, path in cached.items() if not path.is_dir() or why_torn(path)]
    train = ray.remote(_train_into)
    tasks = [
        train.options(num_cpus=max(1, math.ceil(roles[role].cpus)), num_gpus=roles[role].gpus, max_retries=1).remote(
            roles[role], data.resolve(), cached[role].resolve(), _device(config, roles[role])
        )
        for role in missing
    ]
    try:
        ray.get(tasks)
    except RayTaskError as error:
        raise error.cause from None  # a user's mistake stays one, with its own message
    gains = {}
    for role, path in cached.items():
        gains[role] = bits_saved(path)
        if config.judges.gate and gains[role] < config.judges.gate:
            raise UserError(
                f"judges.{role} saves only {gains[role]:.1%} of the bits by reading the kept text, judges.gate asks "
                f"for {config.judges.gate:.0%}: train it longer (judges.{role}.steps) or give it more text"
            )
        with publishing(folder / role) as made:
            shutil.copytree(path, made, dirs_exist_ok=True)
            _restate(made, roles[role])
    return {**gains, **ready_reader(config, data, data_hash, folder)}


def _cache(config: RunConfig, judge: JudgeConfig, data_hash: str) -> Path:
    return Path(config.runs) / "cache" / "judges" / judge_key(judge, data_hash, _device(config, judge))


def _device(config: RunConfig, judge: JudgeConfig) -> str:
    """Where a judge is trained: Ray hands out no MPS devices, so such a one is taken when it is asked for by name."""
    return config.device if judge.gpus or config.device == "mps" else "cpu"


def _train_into(judge: JudgeConfig, data: Path, target: Path, device: str) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    state = target.with_name(f"{target.name}-state")
    with publishing(target) as temporary:
        train_judge(judge, data, temporary, device=choose_device(device), state=state)
    shutil.rmtree(state, ignore_errors=True)


def _restate(folder: Path, judge: JudgeConfig) -> None:
    """Serving settings (threads, chunk, …) are the run's own, not those of whoever trained the cached weights."""
    file = folder / "judge.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**record, "settings": judge.model_dump()}, indent=2, sort_keys=True), encoding="utf-8")

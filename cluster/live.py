"""Co-training as a run does it: the live judge as a named actor, a barrier after an iteration, state in checkpoints."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from cluster.services import JudgeService, RemoteJudge, start_service
from cluster.stages import Prepared
from policies.rollouts import Rolled
from rlcompress.config.schema import CotrainConfig, RunConfig
from rlcompress.errors import JudgeUnavailable, UserError
from rlcompress.judges.live import LiveJudge, newest_version
from rlcompress.machine.device import choose_device
from rlcompress.recording.directory import RunDirectory
from rlcompress.words import Judgement, JudgeRequest, Status

FOLDER = "live"  # of the versions, inside the run's judges; and of one version, inside each checkpoint


class CotrainingFailed(RuntimeError):
    """The live judge gave no new version in time, although its process was replaced once."""


class LiveService(JudgeService):
    """What runs inside the actor. A new process serves the newest version that is on disk."""

    judge_model: LiveJudge  # type: ignore[assignment]

    def __init__(
        self, frozen: str, versions: str, data: str, cotrain: dict[str, Any], seed: int, threads: int, device: str
    ) -> None:
        torch.set_num_threads(threads)
        settings = CotrainConfig.model_validate(cotrain)
        self.judge_model = LiveJudge(Path(frozen), Path(versions), Path(data), settings, seed, choose_device(device))

    def judge_frozen(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        return self.judge_model.judge_frozen(requests)

    def advance(self, number: int, requests: Sequence[JudgeRequest]) -> dict[str, float]:
        return self.judge_model.advance(number, requests)


def start_live(name: str, run: RunDirectory, data: Path) -> Any:
    """Start the live judge of a run in the place of its reward judge."""
    config, judge = run.config, run.config.judges.reward
    folders = [str(path.resolve()) for path in (run.judges / "reward", run.judges / FOLDER, data)]
    device = config.device if judge.gpus else "cpu"
    given = (*folders, config.cotrain.model_dump(), config.seed, judge.threads, device)
    return start_service(LiveService, name, judge, config.resources.restarts, *given)


class RemoteTeacher(RemoteJudge):
    """Asks the same actor for a new version; a process that dies or hangs meanwhile is replaced and asked again."""

    def advance(self, number: int, requests: Sequence[JudgeRequest]) -> dict[str, float]:
        metrics: dict[str, float] = self._ask("advance", number, list(requests))
        return metrics


class Cotraining:
    """The driver's side: `barrier` after an iteration, `save` into a checkpoint. Version n follows iteration n · every.

    `live` and `frozen` ask the two judges of the actor; the second chooses checkpoints, for it never changes.
    """

    def __init__(self, run: RunDirectory, prepared: Prepared, name: str) -> None:
        self.config: RunConfig = run.config
        self.versions = run.judges / FOLDER
        timeout = self.config.judges.reward.timeout
        self.live, self.frozen = RemoteJudge(name, timeout), RemoteJudge(name, timeout, "judge_frozen")
        self._teacher = RemoteTeacher(name, self.config.cotrain.timeout)
        self._examples = prepared.examples("train")
        self._prepared = prepared

    def barrier(self, iteration: int, rollout: Sequence[Rolled]) -> dict[str, float]:
        """Let the live judge learn on the masks of this iteration, where one is due; metrics by name.

        Raises:
            CotrainingFailed: no new version within `cotrain.timeout`, twice.
        """
        if iteration % self.config.cotrain.every:
            return {}
        number = iteration // self.config.cotrain.every
        began = time.perf_counter()
        try:
            metrics = self._teacher.advance(number, self._masks(rollout))
        except JudgeUnavailable as error:
            raise CotrainingFailed(
                f"the live judge gave no version {number} within cotrain.timeout ({self.config.cotrain.timeout:g} s), "
                "nor did a new process: raise it, or lower cotrain.steps"
            ) from error
        named = {f"cotrain/{name}": value for name, value in metrics.items()}
        return {**named, "time/cotrain": time.perf_counter() - began}

    def _masks(self, rollout: Sequence[Rolled]) -> list[JudgeRequest]:
        """What the policy kept of each sample that was judged, in the order of the samples."""
        used = sorted((r for r in rollout if r.status is Status.OK), key=lambda r: (r.serial, r.sample))
        numbers = sorted({rolled.example for rolled in used})
        texts = self._prepared.units([self._examples[number] for number in numbers])
        units = dict(zip(numbers, texts, strict=True))
        return [JudgeRequest(units[r.example].text, units[r.example].starts_N, r.kept_N) for r in used]

    def save(self, checkpoint: Path) -> None:
        """Put the newest version into a checkpoint that is being written."""
        number = newest_version(self.versions)
        assert number is not None, f"no version in {self.versions}"
        name = f"version-{number:06d}"
        shutil.copytree(self.versions / name, checkpoint / FOLDER / name)


def put_back(run: RunDirectory, checkpoint: Path | None) -> None:
    """Before the actor starts: the versions on disk are the checkpoint's alone, or none. May be done again."""
    versions = run.judges / FOLDER
    shutil.rmtree(versions, ignore_errors=True)
    if checkpoint is not None:
        if not (checkpoint / FOLDER).is_dir():
            raise UserError(
                f"{checkpoint} has no live judge: it was written without co-training; set cotrain.steps to 0"
            )
        shutil.copytree(checkpoint / FOLDER, versions)

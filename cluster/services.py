"""Judges as named Ray actors: one copy for all runners, restarted when they die, asked through a plain `Judge`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from cluster.session import NAMESPACE
from rlcompress.config.schema import JudgeConfig
from rlcompress.device import choose_device
from rlcompress.errors import UserError
from rlcompress.judges.build import load_judge
from rlcompress.words import Judgement, JudgeRequest

_PAUSE = 0.2  # seconds between attempts while an actor restarts


class JudgeService:
    """What runs inside the actor: a judge loaded from its folder. Plain, so it is tested without Ray.

    Calls are answered one by one and never merged across callers: the same question gets the same bits in any company.
    """

    def __init__(self, folder: str, threads: int, device: str) -> None:
        torch.set_num_threads(threads)
        self.judge_model = load_judge(Path(folder), choose_device(device))
        self.calls = 0

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        self.calls += 1
        return self.judge_model.judge(requests)

    def version(self) -> str:
        return self.judge_model.version

    def stats(self) -> dict[str, int]:
        """Counters since the actor started, and its process id."""
        judge = self.judge_model
        return {"calls": self.calls, "asked": judge.asked, "computed": judge.computed, "pid": os.getpid()}


def start_judge(name: str, folder: Path, config: JudgeConfig, device: str, restarts: int) -> Any:
    """Start the actor `name`, or find it running; constructor arguments stay small, so that it can restart.

    Inside a placement group it takes the last bundle, for RLlib puts env runner i into bundle i.
    """
    group = ray.util.get_current_placement_group()
    actor = ray.remote(JudgeService).options(
        name=name,
        namespace=NAMESPACE,
        get_if_exists=True,
        max_restarts=restarts,
        num_cpus=config.cpus,
        num_gpus=config.gpus,
        placement_group_bundle_index=group.bundle_count - 1 if group else -1,
    )
    return actor.remote(str(folder.resolve()), config.threads, device if config.gpus else "cpu")


class RemoteJudge:
    """A `Judge` that asks a named actor; picklable, found by name, patient while the actor restarts.

    After `timeout` seconds without an answer, every request gets the status `JUDGE_FAILED`.
    """

    def __init__(self, name: str, timeout: float) -> None:
        self.name = name
        self.timeout = timeout
        self.restarts = 0  # as far as `stats` has seen them
        self._actor: Any = None
        self._version: str | None = None
        self._pid: int | None = None

    @property
    def version(self) -> str:
        if self._version is None:
            self._version = str(self._ask("version"))
        return self._version

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        try:
            verdicts: list[Judgement] = self._ask("judge", list(requests))
            return verdicts
        except TimeoutError as error:
            return [Judgement.failed(str(error)) for _ in requests]

    def _ask(self, method: str, *arguments: Any) -> Any:
        deadline = time.monotonic() + self.timeout
        while (left := deadline - time.monotonic()) > 0:
            try:
                if self._actor is None:
                    self._actor = ray.get_actor(self.name, namespace=NAMESPACE)
                return ray.get(getattr(self._actor, method).remote(*arguments), timeout=left)
            except GetTimeoutError:
                break
            except RayTaskError as error:
                raise error.as_instanceof_cause() from None  # the judge itself raised: a bug, not an absence
            except (RayActorError, ValueError) as error:  # dead, restarting, or not registered (yet)
                if isinstance(error, RayActorError) and error.actor_init_failed:
                    raise UserError(
                        f"judge {self.name!r} cannot start: {str(error).strip().splitlines()[-1]}"
                    ) from error
                self._actor = None
                time.sleep(min(_PAUSE, max(0.0, deadline - time.monotonic())))
        raise TimeoutError(f"judge {self.name!r} gave no answer to {method} within {self.timeout:g} s (judges timeout)")

    def stats(self) -> dict[str, int]:
        """The actor's counters since it started, and how often it was another process than the last time."""
        result: dict[str, int] = self._ask("stats")
        self.restarts += self._pid not in (None, result["pid"])
        self._pid = result["pid"]
        return {**result, "restarts": self.restarts}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_actor": None}


def wait_until_ready(judge: RemoteJudge) -> None:
    """Fail early, with a name, when a judge cannot start.

    Raises:
        UserError: it cannot start, or did not answer within its timeout.
    """
    try:
        _ = judge.version
    except TimeoutError as error:
        raise UserError(f"{error}: look at the Ray logs for why it cannot start") from error

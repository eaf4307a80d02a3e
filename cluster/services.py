"""Judges as named Ray actors: one copy for all runners, restarted when they die, asked through a plain `Judge`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import ray
import torch
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from cluster.session import NAMESPACE
from rlcompress.config.schema import JudgeConfig
from rlcompress.errors import JudgeUnavailable, UserError
from rlcompress.judges.build import load_judge
from rlcompress.machine.device import choose_device
from rlcompress.words import Judgement

_PAUSE = 0.2  # seconds between attempts while an actor restarts
_START = 60.0  # seconds, at most, that a process which replaces a hung one may take until it listens


class Share(Protocol):
    """What an actor takes of the cluster."""

    @property
    def cpus(self) -> float: ...
    @property
    def gpus(self) -> float: ...


class Served(Protocol):
    """A judge of some kind, which counts what it was asked and what it had to compute."""

    asked: int
    computed: int

    @property
    def version(self) -> str: ...

    def judge(self, requests: Any, /) -> list[Judgement]: ...


class JudgeService:
    """What runs inside the actor: a judge loaded from its folder. Plain, so it is tested without Ray.

    Calls are answered one by one and never merged across callers: the same question gets the same bits in any company.
    """

    calls, seconds = 0, 0.0

    def __init__(self, folder: str, threads: int, device: str) -> None:
        torch.set_num_threads(threads)
        self.judge_model: Served = load_judge(Path(folder), choose_device(device))

    def judge(self, requests: Sequence[Any]) -> list[Judgement]:
        self.calls += 1
        began = time.perf_counter()
        verdicts = self.judge_model.judge(requests)
        self.seconds += time.perf_counter() - began
        return verdicts

    def version(self) -> str:
        return self.judge_model.version

    def stats(self) -> dict[str, float]:
        """Counters since the actor started, the seconds that answers took, and its process id."""
        counts = {"calls": self.calls, "asked": self.judge_model.asked, "computed": self.judge_model.computed}
        return {**counts, "seconds": self.seconds, "pid": os.getpid()}


def start_judge(name: str, folder: Path, config: JudgeConfig, device: str, restarts: int) -> Any:
    """Start the actor `name`, or find it running, with the judge in `folder`."""
    given = (str(folder.resolve()), config.threads, device if config.gpus else "cpu")
    return start_service(JudgeService, name, config, restarts, *given)


def start_service(service: type, name: str, config: Share, restarts: int, *arguments: Any) -> Any:
    """Start an actor by name, or find it running; constructor arguments stay small, so that it can restart.

    Inside a placement group it takes the last bundle, for RLlib puts env runner i into bundle i.
    """
    group = ray.util.get_current_placement_group()
    actor = ray.remote(service).options(
        name=name,
        namespace=NAMESPACE,
        get_if_exists=True,
        max_restarts=restarts,
        num_cpus=config.cpus,
        num_gpus=config.gpus,
        placement_group_bundle_index=group.bundle_count - 1 if group else -1,
    )
    return actor.remote(*arguments)


class RemoteJudge:
    """A `Judge` or `PromptJudge` that asks a named actor; picklable, found by name, patient while the actor restarts.

    A process that hangs for `timeout` seconds is replaced and asked once more; without an answer even then, every
    request gets the status `JUDGE_FAILED`. `method` is what it is asked for: `judge`, or another with the same form;
    `key` is where the timeout stands.
    """

    def __init__(self, name: str, timeout: float, method: str = "judge", key: str = "judges.reward.timeout") -> None:
        self.key = key
        self.name = name
        self.timeout = timeout
        self.method = method
        self.restarts = 0  # as far as `stats` has seen them
        self._actor: Any = None
        self._version: str | None = None
        self._pid: int | None = None

    @property
    def version(self) -> str:
        if self._version is None:
            self._version = str(self._ask("version"))
        return self._version

    def judge(self, requests: Sequence[Any]) -> list[Judgement]:
        try:
            verdicts: list[Judgement] = self._ask(self.method, list(requests))
            return verdicts
        except JudgeUnavailable as error:
            return [Judgement.failed(str(error)) for _ in requests]

    def _ask(self, method: str, *arguments: Any) -> Any:
        deadline, replaced = time.monotonic() + self.timeout, False
        while (left := deadline - time.monotonic()) > 0:
            try:
                if self._actor is None:
                    self._actor = ray.get_actor(self.name, namespace=NAMESPACE)
                return ray.get(getattr(self._actor, method).remote(*arguments), timeout=left)
            except GetTimeoutError:
                if replaced:
                    break
                self.replace()  # it hangs, and is asked once more
                deadline, replaced = time.monotonic() + self.timeout + min(_START, self.timeout), True
            except RayTaskError as error:
                raise error.as_instanceof_cause() from None  # the judge itself raised: a bug, not an absence
            except (RayActorError, ValueError) as error:  # dead, restarting, or not registered (yet)
                if isinstance(error, RayActorError) and error.actor_init_failed:
                    raise UserError(
                        f"judge {self.name!r} cannot start: {str(error).strip().splitlines()[-1]}"
                    ) from error
                self._actor = None
                time.sleep(min(_PAUSE, max(0.0, deadline - time.monotonic())))
        raise JudgeUnavailable(f"judge {self.name!r} gave no answer to {method} within {self.timeout:g} s ({self.key})")

    def submit(self, method: str, *arguments: Any) -> Any:
        """Ask and do not wait: a reference to the answer, for who asks several actors at once.

        Raises:
            JudgeUnavailable: there is no actor of that name.
        """
        try:
            self._actor = self._actor or ray.get_actor(self.name, namespace=NAMESPACE)
        except ValueError:
            raise JudgeUnavailable(f"there is no actor {self.name!r}") from None
        return getattr(self._actor, method).remote(*arguments)

    def replace(self) -> None:
        """End the process, e.g. one that hangs: Ray starts another in its place."""
        ray.kill(self._actor, no_restart=False)

    def wait(self) -> None:
        """Wait until the actor answers, e.g. after it died. Raises JudgeUnavailable where it does not in time."""
        self._ask("version")

    def stats(self) -> dict[str, float]:
        """The actor's counters since it started, and how often it was another process than the last time."""
        result: dict[str, float] = self._ask("stats")
        self.restarts += self._pid not in (None, result["pid"])
        self._pid = int(result["pid"])
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
    except JudgeUnavailable as error:
        raise UserError(f"{error}: look at the Ray logs for why it cannot start") from error

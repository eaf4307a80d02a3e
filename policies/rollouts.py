"""Prompts handed out to runners and brought back, whoever dies on the way.

What is sampled depends on the weights and on the task alone (its example, rate and seed), never on which runner does
it: a lost runner's tasks are simply given to another, and the number of runners changes nothing that is learned.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
from ray.rllib.algorithms.algorithm import Algorithm

from rlcompress.config.schema import ResourcesConfig
from rlcompress.machine.hardware import resident_bytes
from rlcompress.words import BoolArray, Status

log = logging.getLogger(__name__)

PAUSE = 0.2  # seconds between looks at runners that restart


class SamplingFailed(RuntimeError):
    """The environment or a reward raised again and again, or no runner answered; carries the last traceback."""


@dataclass(frozen=True, slots=True)
class Task:
    """One prompt to sample G times: `serial` numbers tasks over the whole run and orders results."""

    serial: int
    example: int  # row of the training split
    rate: float
    tau: float
    seed: int
    price: float = 1.0  # of the tokens, for rewards that weigh them against the bits


@dataclass(frozen=True, slots=True, eq=False)
class Rolled:
    """One sample of the last iteration, for whoever keeps account of samples or learns from their masks."""

    serial: int  # of its task
    sample: int  # 0 to G - 1
    example: int
    kept_N: BoolArray
    status: Status
    judge_version: str

    @property
    def content(self) -> bytes:
        """What it kept, for the hash in the ledger."""
        return len(self.kept_N).to_bytes(8, "little") + np.packbits(self.kept_N).tobytes()


class HasTask(Protocol):
    @property
    def task(self) -> Task: ...


R = TypeVar("R", bound=HasTask)


@dataclass(slots=True)
class SampleReport(Generic[R]):
    """What a runner sends back: its results, one a task that did not raise, and the tracebacks of those that did.

    `first` is the serial number of the first task that it was asked for.
    """

    first: int
    results: list[R] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    resident: int = field(default_factory=resident_bytes)  # memory of the process that the report is made in


class Rollouts(Generic[R]):
    """Samples tasks on the runners of an algorithm; heals, waits within bounds, and stops when all is in vain."""

    def __init__(
        self,
        algorithm: Algorithm,
        sample_on: Callable[..., SampleReport[R]],  # (runner, tasks)
        resources: ResourcesConfig,
    ) -> None:
        self.algorithm = algorithm
        self.sample_on = sample_on
        self.resources = resources
        self.failures: list[str] = []  # the same one, in a row
        self.resident: list[int] = []  # memory of each runner process, as the last round of sampling found it

    def sample(self, tasks: list[Task]) -> list[R]:
        """The results of `tasks` in serial order, without those that raised.

        Tasks are cut into one share a runner before anybody is asked, and a share that a lost runner had is asked again
        as it is: a result is computed in the same company, hence to the same bits, whoever does it.

        Raises:
            SamplingFailed: not all were sampled within `resources.sample_timeout`, or the same error came too often.
        """
        parts = np.array_split(np.arange(len(tasks)), max(1, self.resources.env_runners))
        shares = {tasks[part[0]].serial: [tasks[i] for i in part] for part in parts if len(part)}
        results: list[R] = []
        self.resident = []
        deadline = time.monotonic() + self.resources.sample_timeout
        while shares:
            if time.monotonic() > deadline:
                raise SamplingFailed(
                    f"{sum(map(len, shares.values()))} of {len(tasks)} prompts were not sampled within "
                    f"resources.sample_timeout ({self.resources.sample_timeout:g} s): raise it, or look at the judge"
                )
            for report in self._ask_runners(list(shares.values()), deadline):
                del shares[report.first]
                results.extend(report.results)
                self.resident.append(report.resident)
                for error in report.errors:
                    self.count_failure(error)
        return sorted(results, key=lambda result: result.task.serial)

    def _ask_runners(self, shares: list[list[Task]], deadline: float) -> list[SampleReport[R]]:
        """Reports on as many shares as there are runners alive; those of runners that died are missing."""
        group = self.algorithm.env_runner_group
        if group.num_remote_env_runners() == 0:
            return [self.sample_on(group.local_env_runner, shares[0])]
        runners = group.healthy_env_runner_ids()[: len(shares)]
        reports: list[SampleReport[R]] = []
        if runners:
            reports = group.foreach_env_runner(
                [functools.partial(self.sample_on, tasks=share) for share in shares[: len(runners)]],
                local_env_runner=False,
                remote_worker_ids=runners,
                timeout_seconds=max(1.0, deadline - time.monotonic()),
            )
        if len(reports) < len(shares) and not self.algorithm.restore_env_runners(group):
            time.sleep(PAUSE)
        return reports

    def count_failure(self, error: str) -> None:
        """Show what went wrong; stop the run when the same came too often in a row."""
        log.error("while sampling: %s", error)
        same = error.strip().splitlines()[-1]
        self.failures = [*(e for e in self.failures if e.strip().endswith(same)), error]
        if len(self.failures) >= self.resources.failures:
            raise SamplingFailed(f"the same failure came {len(self.failures)} times in a row while sampling:\n{error}")

    def all_went_well(self) -> None:
        """Failures count in a row only."""
        self.failures = []

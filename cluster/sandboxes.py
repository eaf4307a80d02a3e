"""The sandbox as named Ray actors: a pool with a bound on what runs at once, a shared memory, and healing.

Each request goes to the actor that its content names, so all who ask share that actor's memory; an actor judges one
program at a time, so no more than the pool's size run at once. An actor that dies or hangs is replaced by Ray, and what
it was at is asked once more and no oftener: a program that takes two actors with it gets `SANDBOX_ERROR`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from cluster.services import RemoteJudge, start_service, wait_until_ready
from rlcompress.coding.judging import CodeRequest, SandboxJudge, lost
from rlcompress.errors import JudgeUnavailable
from rlcompress.sandbox import CodeStatus, Verdict

START = 120.0  # seconds, at least, that are waited for an actor to start, or to start again


@dataclass(frozen=True, slots=True)
class SandboxShare:
    """What each actor takes of the cluster; the jail's processes run on its CPUs."""

    cpus: float = 1.0
    gpus: float = 0.0


def start_sandboxes(
    name: str,
    count: int,
    *,
    level: str = "auto",
    minimum: str = "landlock",
    share: SandboxShare | None = None,
    restarts: int = -1,
    timeout: float = 300.0,
    service: type = SandboxJudge,
) -> tuple[RemoteSandboxes, list[Any]]:
    """Start the actors `name-0`, `name-1`, ..., or find them running; who asks them, and the actors.

    `restarts` bounds how often each may be replaced, -1 for no bound.

    Raises:
        UserError: no such level holds where an actor runs; or an actor did not start in time.
    """
    names = [f"{name}-{i}" for i in range(count)]
    actors = [start_service(service, each, share or SandboxShare(), restarts, level, minimum) for each in names]
    pool = RemoteSandboxes(names, timeout)
    pool.wait()
    return pool, actors


class RemoteSandboxes:
    """Asks the pool; picklable, actors are found by name.

    `timeout` is seconds for one program, those included that others sent to the same actor before. `counts`: programs
    asked for, of these the ones that no verdict came for, and what was asked a second time.
    """

    def __init__(self, names: Sequence[str], timeout: float) -> None:
        self.names = tuple(names)
        self.timeout = timeout
        self.counts = {"asked": 0, "sandbox_errors": 0, "repeated": 0}
        patience = max(timeout, START)
        self._each = [RemoteJudge(name, patience, key="the sandbox pool's timeout") for name in names]

    def wait(self) -> None:
        """Until all actors are ready. Raises UserError where one cannot start."""
        for actor in self._each:
            wait_until_ready(actor)

    @property
    def level(self) -> str:
        """The level that the actors run at; all names where they differ."""
        return " and ".join(sorted({actor.version for actor in self._each}))

    def judge(self, requests: Sequence[CodeRequest]) -> list[Verdict]:
        """A verdict a request, in their order; equal requests are judged once.

        What no verdict could be had for has the status `SANDBOX_ERROR`: masked out of rewards, and counted.

        Raises:
            UserError: tests that cannot be judged.
        """
        keys = [request.key("") for request in requests]
        batch = _Batch(self, dict(zip(keys, requests, strict=True)))
        verdicts = batch.run()
        found = [verdicts[key] for key in keys]
        self.counts["asked"] += len(found)
        self.counts["sandbox_errors"] += sum(verdict.status is CodeStatus.SANDBOX_ERROR for verdict in found)
        self.counts["repeated"] += len(batch.repeated)
        return found

    def stats(self) -> dict[str, float]:
        """Sums of the actors' counters since they started, how often they were replaced, and what was repeated."""
        each = [actor.stats() for actor in self._each]
        names = ("asked", "computed", "sandbox_errors", "seconds", "restarts")
        return {**{name: sum(stats[name] for stats in each) for name in names}, "repeated": self.counts["repeated"]}


class _Batch:
    """One call of the pool. Every actor gets one request at a time: one that dies takes no other of them with it."""

    def __init__(self, pool: RemoteSandboxes, requests: dict[str, CodeRequest]) -> None:
        self.actors, self.timeout = pool._each, pool.timeout
        self.requests = requests
        self.waiting: list[deque[str]] = [deque() for _ in self.actors]
        for key in requests:
            self.waiting[int(key, 16) % len(self.actors)].append(key)
        self.running: dict[Any, tuple[int, str, float]] = {}  # reference -> actor, key, deadline
        self.gone: set[int] = set()  # actors that were lost
        self.repeated: set[str] = set()
        self.verdicts: dict[str, Verdict] = {}

    def run(self) -> dict[str, Verdict]:
        for place in range(len(self.actors)):
            self._next(place)
        while self.running:
            soonest = min(deadline for _, _, deadline in self.running.values())
            ready, _ = ray.wait(list(self.running), timeout=max(0.0, soonest - time.monotonic()))
            now = time.monotonic()
            for reference in ready or [each for each, (_, _, deadline) in self.running.items() if deadline <= now]:
                self._take(reference, came=bool(ready))
        return self.verdicts

    def _next(self, place: int) -> None:
        """Give an idle actor its next request, if it has one."""
        if not self.waiting[place]:
            return
        key = self.waiting[place].popleft()
        try:
            if place in self.gone:
                self.actors[place].wait()  # until Ray has put another in its place
                self.gone.remove(place)
            reference = self.actors[place].submit("judge", [self.requests[key]])
        except JudgeUnavailable as error:
            self.verdicts[key] = lost(str(error))
            self._next(place)
        else:
            self.running[reference] = place, key, time.monotonic() + self.timeout

    def _take(self, reference: Any, came: bool) -> None:
        """A verdict that came, or an actor that is lost with the request that it was at."""
        place, key, _ = self.running.pop(reference)
        try:
            if came:
                (self.verdicts[key],) = ray.get(reference)
            else:
                self.actors[place].replace()
                self._lose(place, key)
        except RayTaskError as error:
            raise error.as_instanceof_cause() from None  # a user's mistake, or a bug: no absence
        except RayActorError:
            self._lose(place, key)
        self._next(place)

    def _lose(self, place: int, key: str) -> None:
        self.gone.add(place)
        if key in self.repeated:
            self.verdicts[key] = lost(f"the actor {self.actors[place].name!r} was lost twice with this program")
        else:
            self.repeated.add(key)
            self.waiting[place].appendleft(key)

"""Programs in, verdicts out, in batches: the sandbox with a memory, as whoever trains or measures asks it.

`CodeJudge` is what environments and evaluation know. `SandboxJudge` is one in this process; a pool of Ray actors, each
with a `SandboxJudge` inside, is another.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

from rlcompress.sandbox import CodeStatus, Limits, Verdict, choose, judge

REMEMBERED = 20_000  # verdicts
Judging = Callable[..., Verdict]


@dataclass(frozen=True, slots=True)
class CodeRequest:
    """One program to judge, as for `rlcompress.sandbox.judge`."""

    program: str
    tests: tuple[str, ...]
    setup: str = ""
    limits: Limits = field(default_factory=Limits)

    def key(self, level: str) -> str:
        """Hash of all that decides the verdict at `level`, equal in every process."""
        parts = [self.program, list(self.tests), self.setup, asdict(self.limits), level]
        return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


class CodeJudge(Protocol):
    """Gives verdicts in batches: a list in, a list of the same length and order out."""

    def judge(self, requests: Sequence[CodeRequest]) -> list[Verdict]: ...


class SandboxJudge:
    """Judges here, one program at a time.

    A verdict is remembered by its request and level; trouble of the sandbox never is, so asking again tries again.

    Raises:
        UserError: no level of at least `minimum` holds on this machine.
    """

    def __init__(
        self,
        level: str = "auto",
        minimum: str = "landlock",
        judging: Judging = judge,
        remembered: int = REMEMBERED,
    ) -> None:
        self.level = choose(level, minimum)  # probed once, where it runs, and fails closed
        self.minimum = minimum
        self.judging = judging
        self.remembered = remembered
        self.verdicts: OrderedDict[str, Verdict] = OrderedDict()
        self.counts = {"asked": 0, "computed": 0, "sandbox_errors": 0}
        self.seconds = 0.0

    def judge(self, requests: Sequence[CodeRequest]) -> list[Verdict]:
        """A verdict a request, from memory or new.

        Raises:
            UserError: tests that cannot be judged.
        """
        return [self._one(request) for request in requests]

    def _one(self, request: CodeRequest) -> Verdict:
        self.counts["asked"] += 1
        key = request.key(self.level)
        if key in self.verdicts:
            self.verdicts.move_to_end(key)
            return self.verdicts[key]
        verdict = self.judging(
            request.program,
            request.tests,
            setup=request.setup,
            limits=request.limits,
            level=self.level,
            minimum=self.minimum,
        )
        self.counts["computed"] += 1
        self.seconds += verdict.seconds
        if verdict.status is CodeStatus.SANDBOX_ERROR:
            self.counts["sandbox_errors"] += 1
            return verdict
        self.verdicts[key] = verdict
        if len(self.verdicts) > self.remembered:
            self.verdicts.popitem(last=False)
        return verdict

    def version(self) -> str:
        return self.level

    def stats(self) -> dict[str, float]:
        """Counters since it was made, the seconds that programs took, and its process id."""
        return {**self.counts, "seconds": self.seconds, "pid": os.getpid()}


def lost(why: str) -> Verdict:
    """No verdict, and why."""
    return Verdict(CodeStatus.SANDBOX_ERROR, (), "none", 0.0, why)

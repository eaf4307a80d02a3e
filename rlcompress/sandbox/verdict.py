"""What a program may use, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class CodeStatus(StrEnum):
    """How a program, or one test of it, ended."""

    PASSED = "passed"
    FAILED = "failed"  # it ran and gave another value
    ERROR = "error"  # it raised, ended early, or broke the rules of the channel
    TIMEOUT = "timeout"  # it used up its time
    SANDBOX_ERROR = "sandbox_error"  # the jail's fault: nothing is known of the program, and no reward may say so


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use, all its tests together.

    `wall_seconds` counts from the moment the jail is ready, so a slow machine's start is not the program's.
    `processes` bounds threads: another process is refused outright. `file_bytes` bounds one file, and all of the
    scratch folder where there is one. `output_bytes` bounds all that comes back, `value_bytes` one value; what a
    program prints goes nowhere.
    """

    wall_seconds: float = 5.0
    cpu_seconds: float = 5.0
    memory_bytes: int = 512 << 20
    output_bytes: int = 4 << 20
    processes: int = 16
    file_bytes: int = 16 << 20
    value_bytes: int = 256 << 10


@dataclass(frozen=True, slots=True)
class TestVerdict:
    """One assert: how it ended and, in a few words, why."""

    __test__: ClassVar[bool] = False  # pytest collects what is called Test...

    test: str
    status: CodeStatus
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one program is worth: the status of its worst test, each test, and the level of the jail that it ran in.

    `detail` names the worst test as it was given, expected value included: of hidden tests it is for people alone. A
    `TestVerdict.detail` never holds an expected value.
    """

    status: CodeStatus
    tests: tuple[TestVerdict, ...]
    level: str
    seconds: float
    detail: str

    @property
    def passed(self) -> bool:
        return self.status is CodeStatus.PASSED

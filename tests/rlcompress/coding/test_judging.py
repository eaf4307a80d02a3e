"""The sandbox with a memory: what is remembered, by what, and what never is."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from rlcompress.coding.judging import CodeRequest, SandboxJudge, lost
from rlcompress.errors import UserError
from rlcompress.sandbox import Limits, Verdict, judge
from tests.rlcompress.coding.verdicts import verdict

ASK = CodeRequest("def f(x):\n    return x\n", ("assert f(1) == 1",))


class Sandbox:
    """Stands for the sandbox: counts, and fails as often as it is told."""

    def __init__(self, failures: int = 0) -> None:
        self.calls: list[str] = []
        self.failures = failures

    def __call__(self, program: str, tests: Sequence[str], **named: Any) -> Verdict:
        self.calls.append(program)
        if len(self.calls) <= self.failures:
            return verdict("sandbox_error")
        return verdict("passed" if program == ASK.program else "failed")


def remembering(sandbox: Sandbox, **named: Any) -> SandboxJudge:
    return SandboxJudge("auto", "landlock", sandbox, **named)


def test_a_verdict_is_remembered_by_all_that_decides_it() -> None:
    sandbox = Sandbox()
    asked = remembering(sandbox)
    others = [
        replace(ASK, program="def f(x):\n    return 2\n"),
        replace(ASK, tests=("assert f(1) == 1", "assert f(2) == 2")),
        replace(ASK, setup="import math"),
        replace(ASK, limits=Limits(wall_seconds=1.0)),
    ]
    verdicts = asked.judge([ASK, *others, ASK, *others])
    assert verdicts[:5] == verdicts[5:]
    assert len(sandbox.calls) == 5
    assert asked.stats()["computed"] == 5
    assert asked.stats()["asked"] == 10
    assert len({request.key("landlock") for request in [ASK, *others]} | {ASK.key("bubblewrap")}) == 6
    assert replace(ASK).key("landlock") == ASK.key("landlock")


def test_trouble_of_the_sandbox_is_never_remembered() -> None:
    sandbox = Sandbox(failures=2)
    asked = remembering(sandbox)
    assert [asked.judge([ASK])[0].status for _ in range(4)] == ["sandbox_error", "sandbox_error", "passed", "passed"]
    assert len(sandbox.calls) == 3
    assert asked.stats()["sandbox_errors"] == 2


def test_memory_is_bounded_and_forgets_what_was_asked_longest_ago() -> None:
    sandbox = Sandbox()
    asked = remembering(sandbox, remembered=2)
    a, b, c = (replace(ASK, program=f"def f(x):\n    return {n}\n") for n in range(3))
    asked.judge([a, b, a, c, a, b])  # b is forgotten when c comes
    assert [int(program.split()[-1]) for program in sandbox.calls] == [0, 1, 2, 1]


def test_a_level_that_does_not_hold_is_refused_at_the_start() -> None:
    with pytest.raises(UserError, match="below the minimum"):
        SandboxJudge("rlimits", "landlock")


def test_a_half_surrogate_has_a_key() -> None:
    assert replace(ASK, program="'\ud800'").key("landlock")


def test_what_crosses_a_process_is_pickled() -> None:
    for each in (ASK, judge(ASK.program, ASK.tests), verdict("failed"), lost("gone")):
        assert pickle.loads(pickle.dumps(each)) == each


def test_the_real_sandbox_behind_it() -> None:
    asked = SandboxJudge()
    right, wrong = asked.judge([ASK, replace(ASK, program="def f(x):\n    return 2\n")])
    assert (right.status, wrong.status) == ("passed", "failed")
    assert right.level == asked.version() == asked.level
    assert asked.judge([ASK])[0] is right

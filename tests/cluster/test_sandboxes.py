"""The sandbox as a pool of actors: verdicts are those of the sandbox, remembered, and asked for once more at most."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray

from cluster import sandboxes
from cluster.sandboxes import RemoteSandboxes, SandboxShare, start_sandboxes
from rlcompress.coding.generated import generated_problems
from rlcompress.coding.judging import CodeRequest, SandboxJudge
from rlcompress.coding.mutants import mutants
from rlcompress.errors import UserError
from rlcompress.rewards.programs import program_rewards
from rlcompress.sandbox import CodeStatus, Verdict, judge
from tests.rlcompress.coding.verdicts import verdict

ASK = CodeRequest("def f(x):\n    return x\n", ("assert f(1) == 1",))
SMALL = SandboxShare(cpus=0.5)


def test_a_client_travels_without_its_connections() -> None:
    pool = RemoteSandboxes(["a", "b"], 3.0)
    pool._each[0]._actor = object()
    copy = pickle.loads(pickle.dumps(pool))
    assert (copy.names, copy.timeout, copy._each[0]._actor) == (("a", "b"), 3.0, None)


@contextlib.contextmanager
def pool(name: str, count: int, service: type = SandboxJudge, timeout: float = 60.0) -> Iterator[RemoteSandboxes]:
    made, actors = start_sandboxes(name, count, share=SMALL, timeout=timeout, service=service)
    try:
        yield made
    finally:
        for actor in actors:
            ray.kill(actor)


def key_facts(verdicts: Sequence[Verdict]) -> list[tuple[str, tuple[str, ...]]]:
    return [(verdict.status, tuple(test.status for test in verdict.tests)) for verdict in verdicts]


@pytest.mark.ray
def test_a_pool_says_what_the_sandbox_says_and_two_clients_share_its_memory(ray_cluster: None) -> None:
    problems = generated_problems(3)
    programs = [(p, code) for p in problems for code in (p.solution, mutants(p.solution)[0].code)]
    requests = [CodeRequest(code, p.hidden_tests) for p, code in programs]
    expected = key_facts([judge(request.program, request.tests) for request in requests])
    assert [status == "passed" for status, _ in expected] == [True, False] * 3
    with pool("shared sandbox", 2) as mine:
        assert mine.level == judge(ASK.program, ASK.tests).level
        assert key_facts(mine.judge([*requests, *requests])) == [*expected, *expected]
        ask = ray.remote(lambda client, asked: key_facts(client.judge(asked)))
        theirs = ray.get(ask.options(num_cpus=0).remote(mine, requests))
        assert theirs == expected
        stats = mine.stats()
        assert (stats["asked"], stats["computed"], stats["repeated"], stats["sandbox_errors"]) == (12, 6, 0, 0)
        assert mine.counts == {"asked": 12, "sandbox_errors": 0, "repeated": 0}
        with pytest.raises(UserError, match=r"f\(1\)"):
            mine.judge([replace(ASK, tests=("f(1) == 1",))])
        assert mine.judge([]) == []


@pytest.mark.ray
def test_a_killed_actor_is_replaced_and_its_work_is_done_all_the_same(ray_cluster: None) -> None:
    slow = "import time\ntime.sleep(1.5)\n" + ASK.program
    requests = [replace(ASK, program=f"{slow}# {n}\n") for n in range(3)]
    with pool("killed sandbox", 1) as mine:
        pid = int(mine._each[0].stats()["pid"])
        killer = threading.Timer(1.0, lambda: os.kill(pid, signal.SIGKILL))
        killer.start()
        found = mine.judge(requests)
        killer.join()
        assert [verdict.status for verdict in found] == [CodeStatus.PASSED] * 3
        assert mine.counts == {"asked": 3, "sandbox_errors": 0, "repeated": 1}
        assert mine.stats()["restarts"] == 1


class Mortal:
    """Notes what it is asked in the folder that `setup` names; some programs take it with them, or make it hang."""

    def __init__(self, level: str, minimum: str) -> None:
        self.level = level

    def judge(self, requests: Sequence[CodeRequest]) -> list[Verdict]:
        (request,) = requests
        folder = Path(request.setup)
        with (folder / "log").open("a") as log:
            log.write(request.program + "\n")
        before = (folder / "log").read_text().split("\n").count(request.program)
        if request.program == "kills always" or (request.program == "kills once" and before == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if request.program == "hangs once" and before == 1:
            time.sleep(60)
        return [verdict("passed")]

    def version(self) -> str:
        return self.level


@pytest.mark.ray
def test_what_was_lost_is_asked_exactly_once_more(ray_cluster: None, tmp_path: Path) -> None:
    programs = ["fine 1", "kills once", "fine 2", "kills always", "hangs once", "fine 3"]
    with pool("mortal", 1, Mortal, timeout=5.0) as mine:
        found = mine.judge([CodeRequest(program, (), setup=str(tmp_path)) for program in programs])
    assert Counter((tmp_path / "log").read_text().split("\n")[:-1]) == {
        "fine 1": 1,
        "kills once": 2,
        "fine 2": 1,
        "kills always": 2,
        "hangs once": 2,
        "fine 3": 1,
    }
    assert [verdict.status for verdict in found] == [*["passed"] * 3, "sandbox_error", *["passed"] * 2]
    assert "was lost twice with this program" in found[3].detail
    assert mine.counts == {"asked": 6, "sandbox_errors": 1, "repeated": 3}
    reward_B, judged_B = program_rewards(found)
    np.testing.assert_array_equal(reward_B, [1, 1, 1, np.nan, 1, 1])
    assert judged_B.tolist() == [True, True, True, False, True, True]


@pytest.mark.ray
def test_a_pool_that_cannot_start_says_why(ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"cannot start: .*below the minimum"):
        start_sandboxes("refused", 1, level="rlimits", share=SMALL)
    monkeypatch.setattr(sandboxes, "START", 1.0)
    assert RemoteSandboxes(["nobody"], 1.0).judge([ASK])[0].status is CodeStatus.SANDBOX_ERROR

"""Programs and their verdicts, at every level that holds here."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from rlcompress.errors import UserError
from rlcompress.sandbox import CodeStatus, Limits, judge

SHORT = Limits(wall_seconds=1.0, cpu_seconds=1.0)


LINES = """
import math | def f(x): return math.sqrt(x) | assert math.isclose(f(2), 1.41421, rel_tol=1e-4)
def f(x): return 0.1 + 0.2 | assert f(0) == 0.3
from collections import Counter | def f(x): return Counter(x) | assert f('aab') == {'a': 2, 'b': 1}
def f(x): return [x, (x,), {x}, None, True, b'y'] | assert f('é') == ['é', ('é',), {'é'}, None, True, b'y']
def f(x): return 10**x | assert f(40) == 10000000000000000000000000000000000000000
def f(x): return [x, (x,), {x: None}, -1.5, 2j] | assert f('é') == ['é', ('é',), {'é': None}, -1.5, 2j]
import re | def f(x): return re.match('a', x) | assert f('abc')
import re | def f(x): return re.match('a', x) | assert not f('xyz')
def f(x): return x | assert set(f([1, 2])) == set([2, 1])
import sys | def f(x): return sys.getsizeof(x) | assert f((1, 2)) == sys.getsizeof((1, 2))
from dataclasses import dataclass | @dataclass | class P: a: int | def f(p): return p.a | assert f(P(3)) == 3
def sum(a, b): return a + b + 1 | assert sum(1, 2) == 4
print('noise') | def f(x): print(x); return x | assert f(1) == 1
import threading | t = threading.Thread(target=print) | t.start() | def f(x): t.join(); return x | assert f(1) == 1
import asyncio | async def g(): return 4 | def f(x): return asyncio.run(g()) | assert f(1) == 4
if __name__ == '__main__': raise SystemExit | def f(x): return x | assert f(1) == 1
from functools import cache | @cache | def f(n): return n if n < 2 else f(n-1) + f(n-2) | assert f(9) == 34
def f(x): return x*x | assert f(3) == 9
"""
HONEST = [line.split(" | ") for line in LINES.strip().splitlines()]


@pytest.mark.parametrize("line", HONEST, ids=lambda line: line[-1])
def test_honest_programs_pass(level: str, line: list[str]) -> None:
    *program, test = line
    verdict = judge("\r\n".join(program), [test], setup="import math", level=level)
    assert verdict.passed, verdict.detail
    assert verdict.level == level


@pytest.mark.parametrize(
    ("program", "status", "word"),
    [
        ("def f(x): return x + 1", CodeStatus.FAILED, "gave 4"),
        ("def f(x): return (x, print)", CodeStatus.FAILED, "no plain data"),
        ("def f(x): return 1 / 0", CodeStatus.ERROR, "ZeroDivisionError"),
        ("def f(x) return 1", CodeStatus.ERROR, "SyntaxError"),
        ("def g(x): return 9", CodeStatus.ERROR, "NameError"),
        ("", CodeStatus.ERROR, "NameError"),
        ("import nothing_of_that_name", CodeStatus.ERROR, "ModuleNotFoundError"),
        ("\ud800", CodeStatus.ERROR, "raised"),
        ("\0", CodeStatus.ERROR, "raised"),
        ("x = " + "(" * 100_000, CodeStatus.ERROR, "raised"),
        ("def f(x):\n    while True: pass", CodeStatus.TIMEOUT, "1 s"),
    ],
)
def test_how_others_end(level: str, program: str, status: CodeStatus, word: str) -> None:
    verdict = judge(program, ["assert f(3) == 9"], limits=SHORT, level=level)
    assert (verdict.status, verdict.tests[0].status) == (status, status)
    assert word in verdict.detail


def test_each_test_has_its_own_verdict_and_the_worst_is_the_programs(level: str) -> None:
    program = "def f(x):\n    if x == 2: raise KeyError('two')\n    return x"
    tests = ["assert f(1) == 1", "assert f(2) == 2", "assert f(3) == 4", "assert set(f([4])) == {4}"]
    verdict = judge(program, tests, level=level)
    expected = [CodeStatus.PASSED, CodeStatus.ERROR, CodeStatus.FAILED, CodeStatus.PASSED]
    assert [one.status for one in verdict.tests] == expected
    assert [one.test for one in verdict.tests] == tests
    assert verdict.status is CodeStatus.ERROR
    assert "KeyError" in verdict.detail


def test_tests_after_a_hang_or_an_end_are_not_passed(level: str) -> None:
    tests = [f"assert f({n}) == {n}" for n in range(3)]
    hang = judge("def f(x):\n    while x == 1: pass\n    return x", tests, limits=SHORT, level=level)
    assert [one.status for one in hang.tests] == [CodeStatus.PASSED, CodeStatus.TIMEOUT, CodeStatus.TIMEOUT]
    end = judge("import os\ndef f(x):\n    if x == 1: os._exit(0)\n    return x", tests, level=level)
    assert [one.status for one in end.tests] == [CodeStatus.PASSED, CodeStatus.ERROR, CodeStatus.ERROR]


def test_no_expected_value_enters_the_candidates_process(level: str) -> None:
    program = """
import sys
seen = []
def f(x):
    frame = sys._getframe()
    while frame:
        seen.extend(repr(v) for v in (*frame.f_locals.values(), *frame.f_globals.values()) if v is not seen)
        frame = frame.f_back
    return [s for s in seen if "4711" in s or "0815" in s]
"""
    tests = ["assert f(1) == [4711]", "assert f(2) == hidden", "assert len(f(3)) == 4711", "assert f(4) == []"]
    verdict = judge(program, tests, setup="hidden = ['0815']", level=level)
    assert [one.status for one in verdict.tests] == [CodeStatus.FAILED] * 3 + [CodeStatus.PASSED]


def test_the_clean_jail_has_never_seen_the_program(level: str) -> None:
    program = "import builtins\nbuiltins.abs = lambda x: 0\ndef abs(x): return 0\ndef f(x): return 9"
    assert judge(program, ["assert abs(f(1) - 5) < 1"], level=level).status is CodeStatus.FAILED


def test_a_value_that_hangs_the_test_is_a_timeout(level: str) -> None:
    verdict = judge("def f(x): return 10**12", ["assert sum(range(f(1))) == 1"], limits=SHORT, level=level)
    assert verdict.status is CodeStatus.TIMEOUT


def test_set_up_uses_the_programs_names(level: str) -> None:
    program = "class Node:\n    def __init__(self, v): self.v = v\ndef f(n): return n.v"
    assert judge(program, ["assert f(root) == 5"], setup="root = Node(5)", level=level).passed
    broken = judge("x = 1", ["assert f(root) == 5"], setup="root = Node(5)", level=level)
    assert broken.status is CodeStatus.ERROR
    assert "set-up" in broken.detail


def test_limits_are_those_given(level: str) -> None:
    program = "def f(x): return len(bytearray(x << 20))"
    wide, narrow = Limits(memory_bytes=400 << 20), Limits(memory_bytes=100 << 20)
    test = [f"assert f(150) == {150 << 20}"]
    assert judge(program, test, limits=wide, level=level).passed
    assert judge(program, test, limits=narrow, level=level).status is CodeStatus.ERROR
    words = "def f(x): return 'x' * x"
    assert judge(words, ["assert f(500) == 'y'"], limits=Limits(value_bytes=400), level=level).tests[0].detail == (
        "more than 400 bytes of data"
    )
    threads = """
import threading, time
def f(x):
    for _ in range(6): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
    time.sleep(1)
    return x
"""
    assert judge(threads, ["assert f(1) == 1"], limits=Limits(processes=8), level=level).passed
    assert "threads" in judge(threads, ["assert f(1) == 1"], limits=Limits(processes=4), level=level).detail


def test_the_same_program_has_the_same_verdict_each_time(level: str) -> None:
    program = "def f(x): return list(set(x))"
    words = [f"word{n}" for n in range(20)]
    orders = {judge(program, [f"assert f({words}) == 0"], level=level).tests[0].detail for _ in range(3)}
    assert len(orders) == 1


def test_verdicts_of_many_threads_do_not_mix(level: str) -> None:
    def one(n: int) -> bool:
        return judge(f"def f(x): return x + {n}", [f"assert f(1) == {n + 1}"], level=level).passed

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(one, range(12)))


def test_verdicts_and_limits_cross_processes(level: str) -> None:
    verdict = judge("def f(x): return x", ["assert f(1) == 1", "assert f(2) == 3"], limits=SHORT, level=level)
    assert pickle.loads(pickle.dumps(verdict)) == verdict
    assert pickle.loads(pickle.dumps(SHORT)) == SHORT


def test_a_program_with_no_tests_is_refused() -> None:
    with pytest.raises(UserError, match="tests"):
        judge("x = 1", [])


# ------------------------------------------------------------------------------------------------ published programs


def problems(folder: Path, *names: str) -> list[dict[str, Any]]:
    lines = [line for name in names for line in (folder / "mbpp" / f"{name}.jsonl").read_text("utf-8").splitlines()]
    return [json.loads(line) for line in lines]


def failing(rows: list[dict[str, Any]], level: str) -> list[str]:
    def one(row: dict[str, Any]) -> str:
        tests = row["test_list"] + row["challenge_test_list"]
        verdict = judge(row["code"], tests, setup=row["test_setup_code"], limits=Limits(wall_seconds=60), level=level)
        return "" if verdict.passed else f"{row['task_id']} {verdict.status}: {verdict.detail}"

    with ThreadPoolExecutor(2) as pool:
        return [why for why in pool.map(one, rows) if why]


def test_some_published_solutions_pass(real_data: Path, level: str) -> None:
    assert failing(problems(real_data, "prompt", "validation")[::2], level) == []


@pytest.mark.slow
def test_all_published_solutions_pass(real_data: Path, level: str) -> None:
    rows = problems(real_data, "prompt", "validation", "train")
    assert len(rows) == 474
    assert failing(rows, level) == []


@pytest.mark.slow
def test_a_solution_of_another_problem_fails(real_data: Path, level: str) -> None:
    rows = problems(real_data, "prompt", "validation")
    swapped = [{**row, "code": other["code"]} for row, other in pairwise(rows)]
    assert len(failing(swapped, level)) == len(swapped)

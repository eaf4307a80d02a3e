"""Small programming problems made here, by seed: nothing is downloaded, every one has a known solution.

A family is a function with a named part that varies (a step, a bound, a letter). Its source, with that part written
in, is the solution; calling it gives the expected values, so problem and tests cannot disagree.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from rlcompress.coding.families import FAMILIES, Family
from rlcompress.coding.problem import CodeProblem, distinct, split_tests

TESTS = 6  # of each problem, fewer where inputs repeat
_LEAST_TESTS = 4
_DRAWS = 60  # inputs drawn, at most, to find tests with different answers


def generated_problems(count: int, *, seed: int = 0, visible: int = 1) -> list[CodeProblem]:
    """`count` problems, the families by turns; problem i is the same whatever `count` is."""
    names = sorted(FAMILIES)
    return [_problem(i, names[i % len(names)], seed, visible) for i in range(count)]


def _problem(i: int, name: str, seed: int, visible: int) -> CodeProblem:
    family, rng = FAMILIES[name], np.random.default_rng([seed, i])
    part = family.part(rng)
    label = f"generated/{seed}/{i}-{name}"
    tests = _tests(family, part, rng)
    seen, hidden = split_tests(tests, visible, name=label, seed=seed)
    entry = family.solve.__name__
    prompt = family.prompt.format(**part)
    return CodeProblem(label, prompt, entry, "", seen, hidden, written_in(family.solve, part), "generated")


def _tests(family: Family, part: dict[str, Any], rng: np.random.Generator) -> list[str]:
    """Assert lines with different inputs, and with different answers as far as there are some."""
    by_answer: dict[str, list[str]] = {}
    for _ in range(_DRAWS):
        arguments = family.inputs(rng)
        call = f"{family.solve.__name__}({', '.join(map(repr, arguments))})"
        answer = repr(family.solve(*arguments, **part))
        by_answer.setdefault(answer, []).append(f"assert {call} == {answer}")
        if len(by_answer) == TESTS:
            break
    firsts = [lines[0] for lines in by_answer.values()]
    further = [line for lines in by_answer.values() for line in lines[1:]]
    tests = distinct([*firsts, *further])[:TESTS]
    assert len(tests) >= _LEAST_TESTS, f"{family.solve.__name__} {part}: too few different inputs"
    return tests


def written_in(solve: Callable[..., Any], part: dict[str, Any]) -> str:
    """The source of a function with its keyword-only arguments replaced by constants."""
    tree = ast.parse(inspect.getsource(solve))
    (function,) = tree.body
    assert isinstance(function, ast.FunctionDef)
    function.args.kwonlyargs, function.args.kw_defaults = [], []
    for argument in function.args.args:
        argument.annotation = None
    function.returns = None
    return ast.unparse(ast.fix_missing_locations(_Written(part).visit(tree))) + "\n"


class _Written(ast.NodeTransformer):
    def __init__(self, part: dict[str, Any]) -> None:
        self.part = part

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(self.part[node.id]) if node.id in self.part else node

"""One row of a published data set to one problem: MBPP as published and sanitized, HumanEval.

MBPP: Austin et al. (Google Research), *Program Synthesis with Large Language Models*, 2021, arXiv:2108.07732; CC-BY.
HumanEval: Chen et al. (OpenAI), *Evaluating Large Language Models Trained on Code*, 2021, arXiv:2107.03374; MIT.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from rlcompress.coding.human_eval import check_imports, check_lines, examples_shown, preamble
from rlcompress.coding.problem import CodeProblem, distinct, split_tests
from rlcompress.coding.syntax import called, parsed
from rlcompress.data.records import encodable
from rlcompress.errors import UserError

OWN = -1  # in the place of a number of visible tests: the data set's own split


def problem_of(place: str, row: Any, visible: int, seed: int) -> CodeProblem:
    """The problem in a row; `place` names file and line.

    Raises:
        UserError: naming place, field and mend.
    """
    if not isinstance(row, Mapping):
        raise UserError(f"{place}: holds {type(row).__name__}, expected an object with the fields of MBPP or HumanEval")
    for fields, form in FORMS.items():
        if all(field in row for field in fields):
            return form(place, row, visible, seed)
    known = " or ".join(", ".join(fields) for fields in FORMS)
    present = ", ".join(map(repr, row)) or "none"
    raise UserError(f"{place}: fields {present} are no programming problem: give {known}")


def _mbpp(place: str, row: Mapping[str, Any], visible: int, seed: int) -> CodeProblem:
    tests, challenge = _asserts(place, row, "test_list"), _asserts(place, row, "challenge_test_list", may_lack=True)
    setup = _text(place, row, "test_setup_code", may_lack=True)
    return _from_mbpp(place, row, _text(place, row, "text"), tests, challenge, setup, visible, seed)


def _sanitized(place: str, row: Mapping[str, Any], visible: int, seed: int) -> CodeProblem:
    setup = "\n".join(_lines(place, row, "test_imports", may_lack=True))
    tests = _asserts(place, row, "test_list")
    return _from_mbpp(place, row, _text(place, row, "prompt"), tests, [], setup, visible, seed)


def _from_mbpp(
    place: str,
    row: Mapping[str, Any],
    prompt: str,
    tests: list[str],
    challenge: list[str],
    setup: str,
    visible: int,
    seed: int,
) -> CodeProblem:
    name = f"mbpp/{_number(place, row, 'task_id')}"
    solution = _text(place, row, "code")
    if visible == OWN:
        if not challenge:
            raise UserError(
                f"{place}: field 'challenge_test_list' is empty, so nothing would be hidden: ask for a number"
            )
        seen, hidden = split_tests([*tests, *challenge], 0, name=name, shown=tests)
    else:
        seen, hidden = split_tests([*tests, *challenge], visible, name=name, seed=seed)
    _require_hidden(place, hidden)
    entry = entry_point(solution, [*tests, *challenge])
    return CodeProblem(name, prompt, entry, setup, seen, hidden, solution, "mbpp")


def _human_eval(place: str, row: Mapping[str, Any], visible: int, seed: int) -> CodeProblem:
    name, prompt = _text(place, row, "task_id"), _text(place, row, "prompt")
    entry, test = _text(place, row, "entry_point"), _text(place, row, "test")
    solution = prompt + _text(place, row, "canonical_solution")
    try:
        before, tests = preamble(prompt, entry), check_lines(name, test, entry)
    except ValueError as error:
        raise UserError(f"{place}: {error}") from None
    shown = examples_shown(prompt, entry)
    visible = 0 if visible == OWN else visible
    seen, hidden = split_tests(tests, visible, name=name, seed=seed, shown=shown)
    if not hidden:  # all stand in the docstring (HumanEval/34): the last one scores all the same
        seen, hidden = seen[:-1], seen[-1:]
    return CodeProblem(name, prompt, entry, check_imports(test), seen, hidden, solution, "human_eval", before)


FORMS: dict[tuple[str, ...], Callable[[str, Mapping[str, Any], int, int], CodeProblem]] = {
    ("task_id", "text", "code", "test_list"): _mbpp,
    ("task_id", "prompt", "code", "test_list"): _sanitized,
    ("task_id", "prompt", "entry_point", "canonical_solution", "test"): _human_eval,
}


def entry_point(solution: str, tests: list[str]) -> str | None:
    """The one function of the solution that every test calls by its name; None where there are several or none."""
    tree = parsed(solution)
    if tree is None:
        return None
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    for test in tests:
        functions &= called(parsed(test) or ast.Module([], []))
    return functions.pop() if len(functions) == 1 else None


def _require_hidden(place: str, hidden: tuple[str, ...]) -> None:
    if not hidden:
        raise UserError(
            f"{place}: every test stands in the problem's own text, so nothing is hidden: leave the row out"
        )


def _text(place: str, row: Mapping[str, Any], field: str, may_lack: bool = False) -> str:
    value = row.get(field)
    if value is None and may_lack:
        return ""
    if not isinstance(value, str) or not (value.strip() or may_lack):
        what = "an empty text" if isinstance(value, str) else type(value).__name__
        raise UserError(f"{place}: field {field!r} holds {what}, expected a text: fetch or write the row again")
    return _unix(encodable(value, field, place))


def _number(place: str, row: Mapping[str, Any], field: str) -> int:
    value = row.get(field)
    if isinstance(value, bool) or not isinstance(value, int):
        raise UserError(f"{place}: field {field!r} holds {value!r}, expected a whole number: number the rows")
    return value


def _lines(place: str, row: Mapping[str, Any], field: str, may_lack: bool = False) -> list[str]:
    value = row.get(field)
    if not value and may_lack and not isinstance(value, str):
        return []
    if not isinstance(value, list) or not value or not all(isinstance(line, str) for line in value):
        raise UserError(f"{place}: field {field!r} holds {value!r:.60}, expected a list of lines: write it as a list")
    return [_unix(encodable(line, field, place)).strip() for line in value]


def _asserts(place: str, row: Mapping[str, Any], field: str, may_lack: bool = False) -> list[str]:
    lines = distinct(_lines(place, row, field, may_lack))
    for line in lines:
        tree = parsed(line)
        if tree is None or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Assert):
            raise UserError(f"{place}: field {field!r} has {line!r:.60}, which is no assert line: write it as one")
    return lines


def _unix(code: str) -> str:
    return code.replace("\r\n", "\n").replace("\r", "\n")

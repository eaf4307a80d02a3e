"""HumanEval's `check(candidate)` as assert lines.

A check is a list of asserts on `candidate`. Each becomes one line: the candidate gets the entry point's name, local
assignments are put in where they are read, messages and asserts that ask nothing of the candidate fall away. Five
published checks also hold a loop, most of them over random inputs without a seed; for these the loop is written out
here by hand, with inputs drawn from a fixed seed. A loop anywhere else is refused: `check_lines` says so.
"""

from __future__ import annotations

import ast
import copy
import doctest
import random
import string
from collections.abc import Callable, Iterator

from rlcompress.coding.syntax import called, parsed, used

_DRAWS = 20  # of each loop; published: 100 (6 for change_base, which has no more)
_IGNORED = (ast.Import, ast.ImportFrom, ast.Expr, ast.Pass)


def check_lines(name: str, test: str, entry: str) -> list[str]:
    """The assert lines of the check in `test`.

    Raises:
        ValueError: no check, or one that is more than asserts; the message names the field and the mend.
    """
    tree = parsed(test)
    checks = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "check"] if tree else []
    if len(checks) != 1 or len(checks[0].args.args) != 1:
        raise ValueError("field 'test' has no `def check(candidate)`: write one with assert lines")
    candidate = checks[0].args.args[0].arg
    values: dict[str, ast.expr] = {candidate: ast.Name(entry, ast.Load())}
    lines: list[str] = []
    for statement in checks[0].body:
        match statement:
            case ast.Assert(test=question):
                if candidate in used(question):
                    lines.append(ast.unparse(ast.Assert(_filled(question, values))))
            case ast.Assign(targets=[ast.Name(id=variable)], value=value) if candidate not in used(value):
                values[variable] = _filled(value, values)
            case ast.For() if name in LOOPS:
                lines += LOOPS[name](entry)
            case _ if not isinstance(statement, _IGNORED):
                what = type(statement).__name__.lower()
                raise ValueError(f"field 'test' holds a statement `{what}` in check: write it as assert lines")
    if not lines:
        raise ValueError("field 'test' asks nothing of the candidate: give assert lines")
    return lines


class _Fill(ast.NodeTransformer):
    def __init__(self, values: dict[str, ast.expr]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return copy.deepcopy(self.values.get(node.id, node))


def _filled(expression: ast.expr, values: dict[str, ast.expr]) -> ast.expr:
    filled: ast.expr = _Fill(values).visit(copy.deepcopy(expression))
    return filled


def check_imports(test: str) -> str:
    """The imports inside the check, which its asserts may need."""
    tree = parsed(test)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)] if tree else []
    return "\n".join(dict.fromkeys(ast.unparse(node) for node in imports))


def preamble(prompt: str, entry: str) -> str:
    """What stands in the prompt before the function that is asked for: imports and helpers, as they are written.

    Raises:
        ValueError: the prompt does not define the entry point.
    """
    function = _function(prompt, entry)
    if function is None:
        raise ValueError(f"field 'prompt' defines no {entry!r}: correct 'entry_point'")
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    return "".join(prompt.splitlines(keepends=True)[: first - 1]).strip()


def examples_shown(prompt: str, entry: str) -> list[str]:
    """The examples of the docstring as assert lines: who reads the prompt knows them, so they cannot be hidden."""
    function = _function(prompt, entry)
    text = (ast.get_docstring(function) or "") if function else ""
    return [f"assert {question} == {answer}" for question, answer in _examples(text) if entry in _called(question)]


def _examples(text: str) -> Iterator[tuple[str, str]]:
    """(call, value) of `>>> call` with its value on the next lines, and of `call == value`, `call -> value` on one."""
    try:
        for example in doctest.DocTestParser().get_examples(text):
            yield example.source.strip(), example.want.strip()
    except ValueError:  # its prompts are not laid out as doctest wants them
        pass
    for line in text.splitlines():
        for arrow in ("==", "➞", "=>", "->", "="):
            question, found, answer = line.partition(arrow)
            if found and parsed(f"assert {question.strip()} == {answer.strip()}"):
                yield question.strip(), answer.strip()
                break


def _called(code: str) -> set[str]:
    tree = parsed(code)
    return called(tree) if tree else set()


def _function(prompt: str, entry: str) -> ast.FunctionDef | None:
    tree = parsed(prompt) or parsed(f"{prompt.rstrip()}\n    pass\n")
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)] if tree else []
    return next((node for node in functions if node.name == entry), None)


def _letters(rng: random.Random) -> str:
    return "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(10, 20)))


def _find_zero(entry: str) -> Iterator[str]:
    rng = random.Random(42)
    for _ in range(_DRAWS):
        coefficients = [rng.randint(-10, 10) or 1 for _ in range(2 * rng.randint(1, 4))]
        yield f"assert abs(poly({coefficients}, {entry}({coefficients}))) < 0.0001"


def _change_base(entry: str) -> Iterator[str]:
    return (f"assert {entry}({x}, {x + 1}) == {str(x)!r}" for x in range(2, 8))


def _add(entry: str) -> Iterator[str]:
    rng = random.Random(53)
    for _ in range(_DRAWS):
        x, y = rng.randint(0, 1000), rng.randint(0, 1000)
        yield f"assert {entry}({x}, {y}) == {x + y}"


def _decode_cyclic(entry: str) -> Iterator[str]:
    rng = random.Random(38)
    for _ in range(_DRAWS):
        text = _letters(rng)
        whole = len(text) - len(text) % 3  # groups of three turn left by one; a shorter rest stays
        turned = "".join(text[i + 1 : i + 3] + text[i] for i in range(0, whole, 3)) + text[whole:]
        yield f"assert {entry}({turned!r}) == {text!r}"


def _decode_shift(entry: str) -> Iterator[str]:
    rng = random.Random(50)
    for _ in range(_DRAWS):
        text = _letters(rng)
        shifted = "".join(chr((ord(letter) - ord("a") + 5) % 26 + ord("a")) for letter in text)
        yield f"assert {entry}({shifted!r}) == {text!r}"


LOOPS: dict[str, Callable[[str], Iterator[str]]] = {
    "HumanEval/32": _find_zero,
    "HumanEval/38": _decode_cyclic,
    "HumanEval/44": _change_base,
    "HumanEval/50": _decode_shift,
    "HumanEval/53": _add,
}

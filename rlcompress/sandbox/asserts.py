"""Takes an assert apart: what the candidate's process must say, and what is done with it outside.

`assert f(x) == 3` becomes the call `f(x)`, which alone enters the candidate's jail, and a comparison with 3, which is
made by the parent. What is the candidate's is told by names: all that neither Python nor the set-up's own code
defines. An assert whose remainder is more than a comparison with a literal is evaluated in a second, clean jail, on
the values that came back.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from rlcompress.errors import UserError
from rlcompress.sandbox.compare import close, equal

BUILTIN = frozenset(dir(builtins))
DEFINED = re.compile(r"^(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Question:
    """One assert, taken apart.

    Attributes:
        test: the assert as it was given.
        calls: expressions for the candidate's process, in the order in which Python would evaluate them.
        op: what is asked of them there: their value, or (where the assert asks for no more) their truth.
        decide: the verdict on the values; None where the clean jail must evaluate `remainder`.
        remainder: the assert's expression with `_value_0`, `_value_1`, ... in the place of the calls.
    """

    test: str
    calls: tuple[str, ...]
    op: str
    decide: Callable[[Any], bool] | None
    remainder: str


@dataclass(frozen=True, slots=True)
class Setup:
    """Set-up code, divided: statements that need the candidate's names run in its jail, all others in the clean one.

    `candidate` repeats of the clean statements only what it, or a call, makes use of: a value that only a comparison
    names stays outside.
    """

    candidate: str
    clean: str


def take_apart(tests: Collection[str], setup: str, program: str) -> tuple[Setup, list[Question]]:
    """Divide the set-up and the asserts of one program.

    Raises:
        UserError: a test that is not one assert with a call of the candidate's, a set-up that is no Python.
    """
    statements = _parse("setup", setup)
    clean_names = _clean_names(statements)
    defined = frozenset(DEFINED.findall(program))
    questions = [_question(test, clean_names, defined) for test in tests]
    asked = [ast.parse(call) for question in questions for call in question.calls]
    parts = _divide(statements, clean_names, asked)
    return Setup(parts.candidate, "\n".join((_imports(questions, clean_names), parts.clean)).strip()), questions


def _imports(questions: list[Question], clean: frozenset[str]) -> str:
    """Modules of the standard library that a remainder names and nobody imported."""
    names = {name for question in questions if not question.decide for name in _names(ast.parse(question.remainder))}
    return "\n".join(f"import {name}" for name in sorted(names & sys.stdlib_module_names - clean))


def _parse(what: str, text: str) -> list[ast.stmt]:
    try:
        return ast.parse(text.replace("\r\n", "\n").strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{what}: {text[:80]!r} is no Python ({error}): mend it in the data") from None


# ------------------------------------------------------------------------------------------------ the set-up


def _names(node: ast.AST) -> set[str]:
    return {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}


def _bound(statement: ast.stmt) -> set[str]:
    """Names that a statement makes or may change; a bare `random.seed(0)` may change `random`."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    stored = {name.id for name in ast.walk(statement) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}
    return stored or _names(statement) - BUILTIN


def _inner(statement: ast.stmt) -> set[str]:
    """Names that a statement gives meaning to itself: parameters, targets, its own."""
    arguments = {argument.arg for argument in ast.walk(statement) if isinstance(argument, ast.arg)}
    stored = {name.id for name in ast.walk(statement) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}
    defined = {node.name for node in ast.walk(statement) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    return arguments | stored | defined


def _is_clean(statement: ast.stmt, clean: set[str]) -> bool:
    return _names(statement) <= clean | BUILTIN | _inner(statement)


def _clean_names(statements: list[ast.stmt]) -> frozenset[str]:
    clean: set[str] = set()
    for statement in statements:
        if _is_clean(statement, clean):
            clean |= _bound(statement)
        else:
            clean -= _bound(statement)
    return frozenset(clean)


def _divide(statements: list[ast.stmt], clean_names: frozenset[str], calls: list[ast.Module]) -> Setup:
    clean = [statement for statement in statements if _is_clean(statement, set(clean_names))]
    needed = {name for call in calls for name in _names(call)}
    kept: list[ast.stmt] = []
    for statement in reversed(statements):  # from the end: what a kept statement names is needed before it
        if statement not in clean or isinstance(statement, (ast.Import, ast.ImportFrom)) or _bound(statement) & needed:
            kept.insert(0, statement)
            needed |= _names(statement)
    return Setup(*("\n".join(ast.unparse(statement) for statement in side) for side in (kept, clean)))


# ------------------------------------------------------------------------------------------------ the asserts


def _question(test: str, clean: frozenset[str], defined: frozenset[str]) -> Question:
    statements = _parse("test", test)
    if len(statements) != 1 or not isinstance(statements[0], ast.Assert):
        raise UserError(f"test: {test[:80]!r} is not one assert: give each assert as a test of its own")
    expression = statements[0].test
    known = clean | BUILTIN
    if not (_names(expression) - known - _locals(expression)):
        # `assert sum(10, 15) == 25`: nobody but a function of the candidate can be meant
        known -= defined - clean
    calls = _Calls(known)
    remainder = calls.visit(expression)
    if not calls.found:
        raise UserError(f"test: {test[:80]!r} calls nothing of the candidate's: there is nothing to judge")
    found = tuple(calls.found)
    text = ast.unparse(remainder)
    if len(found) == 1 and text in ("_value_0", "not _value_0"):
        wanted = text == "_value_0"
        return Question(test, found, "truth", lambda value: value is wanted, text)
    return Question(test, found, "value", _decision(remainder) if len(found) == 1 else None, text)


def _locals(expression: ast.expr) -> set[str]:
    return _inner(ast.Expr(expression))


class _Calls(ast.NodeTransformer):
    """Cuts out the largest pieces that begin with a name of the candidate's, left to right."""

    def __init__(self, known: frozenset[str]) -> None:
        self.known = known
        self.found: list[str] = []
        self.local: list[set[str]] = []

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Lambda)):
            self.local.append(_inner(ast.Expr(node)))
            try:
                return self.generic_visit(node)
            finally:
                self.local.pop()
        if isinstance(node, ast.Attribute) and self._module(node.value):
            return node
        if isinstance(node, (ast.Call, ast.Attribute, ast.Subscript, ast.Name)) and self._candidates(node):
            local = set().union(*self.local)
            if self.local and _names(node) & local:
                raise UserError(f"test: {ast.unparse(node)[:80]!r} stands in a loop: give each turn as a test")
            self.found.append(ast.unparse(node))
            return ast.Name(f"_value_{len(self.found) - 1}", ast.Load())
        return self.generic_visit(node)

    def _candidates(self, node: ast.AST) -> bool:
        """Whether a chain of calls, attributes and subscripts begins with a name of the candidate's."""
        while not isinstance(node, ast.Name):
            if isinstance(node, ast.Attribute) and self._module(node.value):
                return False
            if isinstance(node, ast.Call):
                node = node.func
            elif isinstance(node, (ast.Attribute, ast.Subscript)):
                node = node.value
            else:
                return False
        return node.id not in self.known and not any(node.id in names for names in self.local)

    def _module(self, node: ast.AST) -> bool:
        """`sys` of `sys.getsizeof(...)` where only the program imported it: the clean jail imports its own."""
        return isinstance(node, ast.Name) and node.id not in self.known and node.id in sys.stdlib_module_names


def _decision(node: ast.expr) -> Callable[[Any], bool] | None:
    """What the parent decides itself: one value beside a literal, or `math.isclose` of one."""
    match node:
        case ast.Compare(left, [ast.Eq()], [right]) if _literal(left) or _literal(right):
            literal, name = (left, right) if _literal(left) else (right, left)
            if isinstance(name, ast.Name):
                expected = ast.literal_eval(literal)
                return lambda value: equal(value, expected)
        case ast.Compare(ast.Name(), [ast.Is()], [ast.Constant(None | True | False as constant)]):
            return lambda value: value is constant
        case ast.Call(ast.Attribute(ast.Name("math"), "isclose") | ast.Name("isclose"), [ast.Name(), side], keywords):
            tolerances = {key.arg: key.value for key in keywords}
            if _literal(side) and set(tolerances) <= {"rel_tol", "abs_tol"} and all(map(_literal, tolerances.values())):
                wanted = ast.literal_eval(side)
                given = {str(name): ast.literal_eval(value) for name, value in tolerances.items()}
                return lambda value: close(value, wanted, **given)
    return None


def _literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True

"""A right function of another name: whether it is plain which one was meant."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from rlcompress.coding.syntax import called, defined, parsed


def alias(code: str, entry_point: str | None, tests: Sequence[str]) -> str | None:
    """The function of `code` that may bear the entry point's name too; None where it is there, or would be a guess.

    It is plain where exactly one function differs from the name in capitals and underscores alone, or where exactly one
    function is called by no other, and it takes as many arguments as the tests give.
    """
    tree = parsed(code)
    if tree is None or entry_point is None or entry_point in defined(tree):
        return None
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    alike = [name for name in functions if _plain(name) == _plain(entry_point)]
    uncalled = [name for name in functions if not any(name in called(f) for n, f in functions.items() if n != name)]
    for names in (alike, uncalled):
        if len(names) == 1 and all(_takes(functions[names[0]], count) for count in _given(entry_point, tests)):
            return names[0]
    return None


def _plain(name: str) -> str:
    return name.replace("_", "").casefold()


def _given(entry_point: str, tests: Sequence[str]) -> set[int]:
    """With how many positional arguments the tests call it."""
    return {
        len(node.args)
        for test in tests
        if (tree := parsed(test)) is not None
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == entry_point
        if not node.keywords and not any(isinstance(argument, ast.Starred) for argument in node.args)
    }


def _takes(function: ast.FunctionDef, count: int) -> bool:
    arguments = function.args
    places = len(arguments.posonlyargs) + len(arguments.args)
    needed = places - len(arguments.defaults)
    without_default = [default for default in arguments.kw_defaults if default is None]
    return needed <= count and (count <= places or arguments.vararg is not None) and not without_default

"""What is left out of a program that a model wrote: how it is used, and a last statement that breaks off."""

from __future__ import annotations

import ast
import re

from rlcompress.coding.syntax import FUNCTIONS, bound, called, parsed, shown


def whole_statements(code: str) -> str:
    """`code` without a last statement that breaks off; a function that breaks off stays, for it is wrong."""
    if parsed(code) is not None:
        return code
    lines = code.split("\n")
    begins = [i for i, line in enumerate(lines) if line.strip() and not line[0].isspace()]
    for begin in reversed(begins[-3:]):
        if re.match(r"(async\s+)?(def|class)\b|@", lines[begin]):
            break
        kept = "\n".join(lines[:begin])
        if kept.strip() and parsed(kept) is not None:
            return kept
    return code


def without_demonstrations(code: str) -> str:
    """`code` without the asserts, prints and bare calls of its own functions at the top level, and without `main`.

    They show how a program is used; at best they take time, at worst a wrong example ends a right program.
    """
    tree = parsed(code)
    if tree is None:
        return code
    own = {name for node in tree.body if isinstance(node, FUNCTIONS) for name in bound(node)}
    lines = code.split("\n")
    ends = [0, *(node.end_lineno or 0 for node in tree.body)]
    for node, before, after in zip(tree.body, ends, [*(n.lineno for n in tree.body[1:]), len(lines) + 1], strict=False):
        first, last = node.lineno, node.end_lineno or node.lineno
        if _demonstrates(node, own) and before < first and last < after:  # alone on its lines
            lines[first - 1 : last] = [""] * (last - first + 1)
    shortened = "\n".join(lines).strip("\n") + "\n"
    return shortened if parsed(shortened) is not None and own else code


def _demonstrates(node: ast.stmt, own: set[str]) -> bool:
    match node:
        case ast.Assert():
            return True
        case ast.Expr(value=ast.Call() as call):
            return bool(({"print", "input"} | own) & called(call)) or shown(call.func) in _RUNNERS
        case ast.If(test=test):
            return shown(test) in ("__name__ == '__main__'", "'__main__' == __name__")
        case _:
            return False


_RUNNERS = ("doctest.testmod", "unittest.main", "pytest.main")

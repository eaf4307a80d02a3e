"""Wrong programs made of a right one, each by one small change: what a grader must not let pass.

A mutant may be right under all tests (`x * 1` for `x * 2` where x is 0): whoever counts must count those apart.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

from rlcompress.coding.syntax import parsed

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitXor: ast.BitOr,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_DROPPED = ast.Assign | ast.AugAssign | ast.Expr | ast.For | ast.While | ast.If


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed program; `kind` is what was done to it, `line` where."""

    kind: str
    line: int
    code: str


def mutants(code: str) -> list[Mutant]:
    """All programs that differ from `code` by one change inside a function, in the order of the change.

    Kinds: comparison, operation, logic, constant, dropped, returned. None where `code` cannot be read.
    """
    tree = parsed(code)
    if tree is None:
        return []
    numbered = list(ast.walk(tree))
    inside = {
        id(node)
        for function in numbered
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for statement in function.body
        for node in ast.walk(statement)
    }
    made = []
    for place, node in enumerate(numbered):
        if id(node) in inside:
            for kind in _changes(node):
                changed = copy.deepcopy(tree)
                line = getattr(node, "lineno", 0)
                _change(list(ast.walk(changed)), place, kind)
                made.append(Mutant(kind, line, ast.unparse(ast.fix_missing_locations(changed)) + "\n"))
    return sorted(made, key=lambda mutant: (mutant.line, mutant.kind))


def _changes(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Compare(ops=[first, *_]) if type(first) in _COMPARISONS:
            yield "comparison"
        case ast.BinOp(op=operation) | ast.AugAssign(op=operation) if type(operation) in _OPERATIONS:
            yield "operation"
        case ast.BoolOp():
            yield "logic"
        case ast.Constant(value=bool() | int()):
            yield "constant"
        case ast.Return(value=ast.expr()):
            yield "returned"
    if isinstance(node, _DROPPED) and not _is_docstring(node):
        yield "dropped"


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _change(nodes: list[ast.AST], place: int, kind: str) -> None:
    """Change node number `place` of a tree's walk, in place."""
    node = nodes[place]
    match kind, node:
        case "comparison", ast.Compare():
            node.ops[0] = _COMPARISONS[type(node.ops[0])]()
        case "operation", ast.BinOp() | ast.AugAssign():
            node.op = _OPERATIONS[type(node.op)]()
        case "logic", ast.BoolOp():
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        case "constant", ast.Constant(value=bool(value)):
            node.value = not value
        case "constant", ast.Constant(value=int(value)):
            node.value = value + 1
        case "returned", ast.Return():
            node.value = ast.Constant(None)
        case "dropped", ast.stmt():
            _put_pass(nodes, node)


def _put_pass(nodes: list[ast.AST], statement: ast.stmt) -> None:
    for node in nodes:
        for body in (getattr(node, name, None) for name in ("body", "orelse", "finalbody")):
            if isinstance(body, list) and statement in body:
                body[body.index(statement)] = ast.Pass()

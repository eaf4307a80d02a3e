"""Python text as a tree, without ever running it."""

from __future__ import annotations

import ast
import warnings
from functools import lru_cache

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)  # what a program is made of, classes too


def parsed(code: str) -> ast.Module | None:
    """The tree of `code`, or None where this Python cannot read it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "invalid escape sequence": somebody else's code
        try:
            return ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # null bytes; nested too deep
            return None


@lru_cache(maxsize=8192)  # a line is compared when it is read, split and checked
def normal(line: str) -> str:
    """One spelling of each statement: `assert f( 1 )==("a")` and `assert f(1) == 'a'` are the same test."""
    tree = parsed(line.strip())
    return (shown(tree) if tree else "") or line.strip()


def shown(node: ast.AST) -> str:
    """The node as text; empty where it is nested too deep to be one, which `parsed` lets through."""
    try:
        return ast.unparse(node)
    except RecursionError:
        return ""


def broken_at(code: str) -> int:
    """The line, from 1, on which Python finds a mistake; 0 where it finds none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(code)
        except SyntaxError as error:
            return error.lineno or 1
        except (ValueError, RecursionError, MemoryError):
            return 1
    return 0


def defined(tree: ast.Module) -> set[str]:
    """Names that the top level of a module binds, inside `if` and `try` too."""
    names: set[str] = set()
    for statement in tree.body:
        names |= bound(statement)
    return names


def bound(statement: ast.stmt) -> set[str]:
    """Names that one statement binds in the scope where it stands."""
    if isinstance(statement, FUNCTIONS):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
    names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(statement):
        if node is not statement and isinstance(node, (*FUNCTIONS, ast.Import, ast.ImportFrom)):
            names |= bound(node)
    return names


def used(tree: ast.AST) -> set[str]:
    """Names that are read somewhere in it."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def called(tree: ast.AST) -> set[str]:
    """Plain names that are called somewhere in it."""
    return {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}

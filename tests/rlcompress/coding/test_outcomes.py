"""Errors by class, as the sandbox words them; what real programs end in stands in test_published.py."""

from __future__ import annotations

import builtins
import math

import pytest

from rlcompress.coding.outcomes import EXCEPTIONS, ErrorClass, error_class, error_counts, program_error, soft_pass
from rlcompress.sandbox import CodeStatus, TestVerdict, Verdict
from tests.rlcompress.coding.verdicts import verdict


@pytest.mark.parametrize(
    ("status", "detail", "expected"),
    [
        ("passed", "", "none"),
        ("failed", "f(1) gave 3", "assertion"),
        ("timeout", "no answer within 5 s", "timeout"),
        ("sandbox_error", "NameError: in the jail", "sandbox"),
        ("error", "NameError: name 'y' is not defined", "name"),
        ("error", "the program raised SyntaxError: invalid syntax (<candidate>, line 1)", "syntax"),
        ("error", "the program raised IndentationError: unexpected indent", "syntax"),
        ("error", "the set-up raised ModuleNotFoundError: No module named 'x'", "import"),
        ("error", "TypeError: f() takes 0 positional arguments but 1 was given", "type"),
        ("error", "MemoryError: ", "memory"),
        ("error", "MemoryError", "memory"),
        ("error", "RecursionError: maximum recursion depth exceeded", "recursion"),
        ("error", "AssertionError: ", "assertion"),
        ("error", "PermissionError: [Errno 1] Operation not permitted", "system"),
        ("error", "its process ended (status 0)", "exit"),
        ("error", "the program raised SystemExit: 1", "exit"),
        ("error", "Mine: TypeError: x", "other"),
        ("error", "", "other"),
        ("error", "TypeErrors were made", "other"),
    ],
)
def test_classes(status: str, detail: str, expected: str) -> None:
    assert error_class(TestVerdict("assert f(1)", CodeStatus(status), detail)) == expected


def test_every_name_is_an_exception_of_python() -> None:
    assert all(issubclass(getattr(builtins, name), BaseException) for name in EXCEPTIONS)


def test_a_program_has_the_class_of_its_worst_test() -> None:
    tests = (
        TestVerdict("a", CodeStatus.FAILED, "f(1) gave 3"),
        TestVerdict("b", CodeStatus.ERROR, "KeyError: 3"),
        TestVerdict("c", CodeStatus.ERROR, "TypeError: x"),
    )
    assert program_error(Verdict(CodeStatus.ERROR, tests, "landlock", 0.0, "")) is ErrorClass.LOOKUP
    assert program_error(Verdict(CodeStatus.SANDBOX_ERROR, (), "landlock", 0.0, "")) is ErrorClass.SANDBOX


def test_counts_add_up() -> None:
    verdicts = [verdict("passed"), verdict("failed", "passed"), verdict("timeout"), verdict("passed")]
    counts = error_counts(verdicts)
    assert sum(counts.values()) == 4
    assert (counts[ErrorClass.NONE], counts[ErrorClass.ASSERTION], counts[ErrorClass.TIMEOUT]) == (2, 1, 1)
    assert set(counts) == set(ErrorClass)


def test_soft_pass() -> None:
    assert soft_pass(verdict("passed", "failed", "error", "timeout")) == 0.25
    assert soft_pass(verdict("passed")) == 1.0
    assert math.isnan(soft_pass(verdict("passed", "sandbox_error")))

"""What a verdict says in one word or one number: the class of its error, the share of tests that passed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

from rlcompress.sandbox import CodeStatus, TestVerdict, Verdict


class ErrorClass(StrEnum):
    """Why a program did not pass. The class of an exception comes from the program: it describes, it never scores."""

    NONE = "none"
    SYNTAX = "syntax"
    NAME = "name"
    TYPE = "type"
    VALUE = "value"
    LOOKUP = "lookup"  # an index or key that is not there
    ATTRIBUTE = "attribute"
    IMPORT = "import"
    ARITHMETIC = "arithmetic"
    RECURSION = "recursion"
    MEMORY = "memory"
    SYSTEM = "system"  # a file, a socket or a process that it may not have
    ASSERTION = "assertion"  # another value than the test's; or its own assert
    EXIT = "exit"  # it ended before it was asked
    TIMEOUT = "timeout"
    OTHER = "other"
    SANDBOX = "sandbox"  # nothing is known of the program


EXCEPTIONS: dict[str, ErrorClass] = {
    **dict.fromkeys(("SyntaxError", "IndentationError", "TabError"), ErrorClass.SYNTAX),
    **dict.fromkeys(("NameError", "UnboundLocalError"), ErrorClass.NAME),
    "TypeError": ErrorClass.TYPE,
    **dict.fromkeys(("ValueError", "UnicodeDecodeError", "UnicodeEncodeError"), ErrorClass.VALUE),
    **dict.fromkeys(("IndexError", "KeyError", "LookupError", "StopIteration"), ErrorClass.LOOKUP),
    "AttributeError": ErrorClass.ATTRIBUTE,
    **dict.fromkeys(("ImportError", "ModuleNotFoundError"), ErrorClass.IMPORT),
    **dict.fromkeys(("ZeroDivisionError", "OverflowError", "ArithmeticError"), ErrorClass.ARITHMETIC),
    "RecursionError": ErrorClass.RECURSION,
    "MemoryError": ErrorClass.MEMORY,
    **dict.fromkeys(
        ("OSError", "PermissionError", "FileNotFoundError", "BlockingIOError", "ConnectionError"), ErrorClass.SYSTEM
    ),
    "AssertionError": ErrorClass.ASSERTION,
    **dict.fromkeys(("SystemExit", "KeyboardInterrupt"), ErrorClass.EXIT),
}
_BY_STATUS = {
    CodeStatus.PASSED: ErrorClass.NONE,
    CodeStatus.FAILED: ErrorClass.ASSERTION,
    CodeStatus.TIMEOUT: ErrorClass.TIMEOUT,
    CodeStatus.SANDBOX_ERROR: ErrorClass.SANDBOX,
}
_RAISED = re.compile(r"(?:the (?:program|set-up) raised )?([A-Za-z_]\w*)(?::|$)")
_ENDED = "its process ended"


def error_class(test: TestVerdict) -> ErrorClass:
    """Why this test did not pass; `NONE` where it did."""
    if test.status in _BY_STATUS:
        return _BY_STATUS[test.status]
    if test.detail.startswith(_ENDED):
        return ErrorClass.EXIT
    raised = _RAISED.match(test.detail)
    return EXCEPTIONS.get(raised[1], ErrorClass.OTHER) if raised else ErrorClass.OTHER


def program_error(verdict: Verdict) -> ErrorClass:
    """Why a program did not pass: the class of the first test that has the status of the whole."""
    worst = next((test for test in verdict.tests if test.status is verdict.status), None)
    if worst is None:
        return _BY_STATUS.get(verdict.status, ErrorClass.OTHER)
    return error_class(worst)


def error_counts(verdicts: Iterable[Verdict]) -> dict[ErrorClass, int]:
    """How many programs ended in each class; every class is there, and the counts add up to the programs."""
    counts = Counter(program_error(verdict) for verdict in verdicts)
    return {kind: counts[kind] for kind in ErrorClass}


def soft_pass(verdict: Verdict) -> float:
    """Share of the tests that passed, in [0, 1]; NaN where the sandbox failed, so that no mean can swallow it."""
    if verdict.status is CodeStatus.SANDBOX_ERROR or not verdict.tests:
        return float("nan")
    return sum(test.status is CodeStatus.PASSED for test in verdict.tests) / len(verdict.tests)

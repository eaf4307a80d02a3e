"""Verdicts made up for the tests."""

from __future__ import annotations

from rlcompress.sandbox import CodeStatus, TestVerdict, Verdict

_WORST_FIRST = ("sandbox_error", "timeout", "error", "failed", "passed")


def verdict(*statuses: str, detail: str = "", seconds: float = 0.5) -> Verdict:
    """One test a status, e.g. `verdict("passed", "failed")`."""
    tests = tuple(TestVerdict(f"assert f({i})", CodeStatus(status), detail) for i, status in enumerate(statuses))
    worst = min(statuses, key=_WORST_FIRST.index)
    return Verdict(CodeStatus(worst), tests, "landlock", seconds, detail)

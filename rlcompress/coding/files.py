"""A program and its tests in files to one verdict, and the verdict as JSON: what `judge-code` does."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rlcompress.errors import UserError
from rlcompress.sandbox import Limits, Verdict, judge


def judge_files(
    program: str | Path,
    tests: str | Path,
    *,
    setup: str | Path | None = None,
    level: str = "auto",
    minimum: str | None = None,
    seconds: float | None = None,
) -> Verdict:
    """The verdict on the Python file `program` by the assert lines in the JSON file `tests`.

    `setup` is a Python file that runs between the two; `seconds` limits all tests together, in wall and in CPU time.

    Raises:
        UserError: a file that cannot be read or holds something else, a test that is no assert line, a level that does
            not hold here.
    """
    if seconds is not None and not 0 < seconds < float("inf"):
        raise UserError(f"--timeout {seconds:g}: give a number of seconds above 0")
    limits = Limits() if seconds is None else Limits(wall_seconds=seconds, cpu_seconds=seconds)
    lines = _lines(_read("--tests", tests), f"--tests {tests}")
    code, before = _read("--program", program), _read("--setup", setup) if setup is not None else ""
    named = {} if minimum is None else {"minimum": minimum}
    return judge(code, lines, setup=before, limits=limits, level=level, **named)


def verdict_json(verdict: Verdict) -> str:
    """One line: passed, status, the tests each with status and detail, level, seconds, detail."""
    return json.dumps({"passed": verdict.passed, **asdict(verdict)})  # ASCII: a detail may hold half a surrogate pair


def _read(option: str, path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{option} {path}: {error.strerror or error}: name a file that can be read") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{option} {path}: not UTF-8 ({error.reason}): convert the file") from None


def _lines(text: str, place: str) -> list[str]:
    try:
        lines = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{place}: broken JSON ({error}): give a list of assert lines") from None
    if not isinstance(lines, list) or not lines or not all(isinstance(line, str) for line in lines):
        raise UserError(f'{place}: expected a list of assert lines, e.g. ["assert f(1) == 2"]')
    return lines

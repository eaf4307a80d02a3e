"""`judge-code`: one line of JSON and 0 for every verdict, 1 where there is none, 2 for a mistake of the user."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlcompress import __main__ as cli
from rlcompress.coding import files
from tests.rlcompress.coding.verdicts import verdict

TESTS = ["assert f(1) == 2", "assert f(2) == 3"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.root, "handlers", [])
    levels = {name: logging.getLogger(name).level for name in (None, *cli.FLOORS)}
    Path("T.json").write_text(json.dumps(TESTS), encoding="utf-8")
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def judged(capsys: pytest.CaptureFixture[str], program: str, *words: str, status: int = 0) -> dict[str, Any]:
    Path("P.py").write_text(program, encoding="utf-8")
    assert cli.main(["judge-code", "--program", "P.py", "--tests", "T.json", *words]) == status
    (line,) = capsys.readouterr().out.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


@pytest.mark.parametrize(
    ("program", "status", "tests"),
    [
        ("def f(x):\n    return x + 1\n", "passed", ["passed", "passed"]),
        ("def f(x):\n    return 2\n", "failed", ["passed", "failed"]),
        ("def f(x):\n    raise ValueError('\\ud800')\n", "error", ["error", "error"]),
        ("def f(x:\n", "error", ["error", "error"]),
        ("\0", "error", ["error", "error"]),
        ("import os\nos._exit(0)\n", "error", ["error", "error"]),
    ],
)
def test_a_verdict(capsys: pytest.CaptureFixture[str], program: str, status: str, tests: list[str]) -> None:
    found = judged(capsys, program)
    assert (found["passed"], found["status"]) == (status == "passed", status)
    assert [test["status"] for test in found["tests"]] == tests
    assert [test["test"] for test in found["tests"]] == TESTS
    assert found["level"] in ("bubblewrap", "landlock")


def test_time_and_level_and_setup(capsys: pytest.CaptureFixture[str]) -> None:
    found = judged(capsys, "def f(x):\n    while True: pass\n", "--timeout", "0.5", "--level", "landlock")
    assert (found["status"], found["level"]) == ("timeout", "landlock")
    Path("S.py").write_text("import math\n", encoding="utf-8")
    assert judged(capsys, "def f(x):\n    return math.floor(x) + 1\n", "--setup", "S.py")["passed"]
    weak = judged(capsys, "def f(x):\n    return x + 1\n", "--level", "rlimits", "--minimum", "rlimits")
    assert weak["level"] == "rlimits"


def test_no_verdict_is_a_failure_and_still_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "judge", lambda *given, **named: verdict("sandbox_error", detail="no jail"))
    found = judged(capsys, "", status=1)
    assert (found["passed"], found["status"], found["detail"]) == (False, "sandbox_error", "no jail")

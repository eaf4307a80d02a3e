"""`tests/FEATURES.md` names tests and commands that exist, and no capability twice."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
THERE, _, MISSING = (ROOT / "tests" / "FEATURES.md").read_text(encoding="utf-8").partition("## Not there yet")
LINES = [line for line in THERE.splitlines() if line.startswith("- ")]


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if hasattr(node, "name")}


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.split()[1])
def test_a_capability_is_shown_by_something_that_exists(line: str) -> None:
    shown_by = re.findall(r"`((?:tests/|make |\.ci/)[^`]+)`", line)
    assert shown_by, "no test and no command"
    for proof in shown_by:
        if proof.startswith("make "):
            assert has_target(proof.removeprefix("make ")), proof
        elif "::" in proof:
            file, _, name = proof.partition("::")
            assert name in functions(ROOT / file), proof
        else:
            assert (ROOT / proof).is_file(), proof


def has_target(target: str) -> bool:
    """Whether the Makefile has it, by name or as study-% and bench-% with their script."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    if re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE):
        return True
    stem, _, script = target.partition("-")
    return f"\n{stem}-%:" in makefile and (ROOT / "tests" / "benchmarks" / f"{script}.py").is_file()


def test_each_capability_stands_once() -> None:
    names = [line.split()[1] for line in LINES] + re.findall(r"\b[A-R]\d+\b", MISSING)
    assert [name for name, times in Counter(names).items() if times > 1] == []
    letters = {name[0] for name in names}
    for letter in sorted(letters):
        numbers = sorted(int(name[1:]) for name in names if name[0] == letter)
        assert numbers == list(range(1, len(numbers) + 1)), f"a gap under {letter}"


def test_an_invented_proof_would_be_found() -> None:
    assert not has_target("study-nothing")
    assert not has_target("nothing")
    assert "test_invented" not in functions(Path(__file__))


def test_there_are_no_notebooks() -> None:
    folders = ("rlcompress", "envs", "policies", "cluster", "serve", "tests", "tune_configs")
    assert [path for folder in folders for path in (ROOT / folder).rglob("*.ipynb")] == []

"""What models answer, and the program in it. Each answer is a kind that was seen of some model."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.coding import extraction
from rlcompress.coding.extraction import extract, extract_for, fenced
from rlcompress.coding.problem import CodeProblem
from rlcompress.coding.trimming import whole_statements, without_demonstrations

ADD = "def add(a, b):\n    return a + b\n"
TOTAL = '''from typing import List


def total(xs: List[int]) -> int:
    """ Sum of a list.
    >>> total([1])
    1
    """
'''
PROMPTS = {"add": "Write a function add(a, b).", "total": TOTAL}


@dataclass(frozen=True)
class Answer:
    """A section of answers.txt: its head, what the model said, and the program that must come out."""

    kind: str
    how: str
    entry: str
    renamed: str | None
    text: str
    code: str


def corpus() -> list[Answer]:
    sections = re.split(r"^%%% ", (Path(__file__).parent / "answers.txt").read_text(encoding="utf-8"), flags=re.M)
    found = []
    for section in sections[1:]:
        head, _, rest = section.partition("\n")
        kind, how, entry, renamed = head.split(" | ")
        text, code = rest.split("\n%%%\n")
        found.append(Answer(kind, how, entry, None if renamed == "-" else renamed, text, code))
    return found


ANSWERS = corpus()


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.kind)
@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["unix", "windows"])
def test_the_program_in_an_answer(answer: Answer, ends: str) -> None:
    text = answer.text.replace("\n", ends)
    found = extract(text, answer.entry, prompt=PROMPTS[answer.entry], tests=["assert add(1, 2) == 3"])
    assert (found.code.strip("\n"), found.how, found.renamed) == (answer.code.strip("\n"), answer.how, answer.renamed)


def test_nothing_gives_nothing() -> None:
    assert (extract("", "add").code, extract("", "add").how) == ("", "nothing")


def test_there_are_enough_of_them() -> None:
    assert len(ANSWERS) >= 40
    assert len({answer.kind for answer in ANSWERS}) == len(ANSWERS)
    assert {answer.how for answer in ANSWERS} == {"fence", "completion", "whole", "lines", "nothing"}


def test_nothing_is_executed(tmp_path: Path) -> None:
    target = tmp_path / "made"
    found = extract(f"```python\nopen({str(target)!r}, 'w')\n\n\n{ADD}```", "add")
    assert "open(" in found.code
    assert not target.exists()


def test_no_character_is_changed() -> None:
    code = 'def add(a, b):\n\t"""naïve – 日本 \\d \u00a0"""\n\treturn a + b  # ±\n'
    assert extract(f"Hier:\n```python\n{code}```", "add").code == code


@given(st.text(max_size=300))
def test_any_text_gives_something(text: str) -> None:
    found = extract(text, "add", prompt=TOTAL, tests=["assert add(1) == 1"])
    assert found.how in ("fence", "completion", "whole", "lines", "nothing")
    assert found.readable or found.renamed is None


_PROSE = st.text(alphabet="abc ,.!?\n", max_size=60)


@given(_PROSE, _PROSE, st.sampled_from(["python", "py", ""]), st.integers(3, 6))
def test_prose_around_a_fence_changes_nothing(before: str, after: str, language: str, marks: int) -> None:
    fence = "`" * marks
    assert extract(f"{before}\n{fence}{language}\n{ADD}{fence}\n{after}", "add").code == ADD


@pytest.mark.parametrize(
    "line",
    [
        "from",
        "import x",
        "def f(",
        "def f(): (",
        "@a",
        "class A:",
        '"""',
        "from x import (",
        "x = [",
        "else:",
        "import x\n(",
    ],
)
def test_endless_repetitions_are_read_a_bounded_number_of_times(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    for name in ("parsed", "broken_at"):
        original = getattr(extraction, name)
        monkeypatch.setattr(extraction, name, lambda code, original=original: (read.append(1), original(code))[1])
    extract("\n".join([line] * 5000), "add", prompt=TOTAL)
    assert len(read) < 500


@pytest.mark.parametrize(
    "text", ["x" + ".y" * 900 + "()", "(" * 150 + ")" * 150, "-" * 3000 + "1", "f(" * 90 + ")" * 90]
)
def test_deep_nesting_is_no_crash(text: str) -> None:
    assert extract(f"```python\n{ADD}\n{text}\n```", "add").code.startswith(ADD)
    assert extract(f"{ADD}\n{text}\n", "add").code.startswith(ADD)


def test_fences_are_closed_by_their_own_mark_alone() -> None:
    assert list(fenced("````\na\n```\nb\n````\n~~~ c\nd")) == [("", "a\n```\nb"), ("c", "d")]


def test_a_statement_that_breaks_off_goes_and_a_function_stays() -> None:
    assert whole_statements("x = 1\ny = (2,\n") == "x = 1"
    assert whole_statements("x = 1\ndef f():\n    return (2,\n") == "x = 1\ndef f():\n    return (2,\n"


def test_what_shares_a_line_stays() -> None:
    code = "def f(): return 1\nx = 1; print(f())\n"
    assert without_demonstrations(code) == code
    assert without_demonstrations("print(1)\n") == "print(1)\n", "there is nothing else"


def test_a_preamble_stands_before_an_answer_that_leaves_it_out() -> None:
    problem = CodeProblem("p", TOTAL, "total", "", (), ("assert total([1]) == 1",), "", "x", "from typing import List")
    found = extract_for(problem, "```python\ndef total(xs: List[int]) -> int:\n    return sum(xs)\n```")
    tree = ast.parse(found.code)
    assert [type(node).__name__ for node in tree.body] == ["ImportFrom", "FunctionDef"]
    assert extract_for(problem, "    return sum(xs)\n").readable

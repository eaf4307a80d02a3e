"""Lines of a run that was killed: everything up to the checkpoint, once, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.recording.lines import StepLines, step_rows


def written(path: Path, steps: range, after: int | None = None) -> list[int]:
    lines = StepLines(path, after)
    for step in steps:
        lines.write(step, {"value": step / 3})
    lines.close()
    return [row["step"] for row in step_rows(path)]


@given(st.integers(1, 9), st.data())
def test_a_file_that_was_cut_anywhere_is_continued_to_what_it_would_have_been(
    tmp_path_factory: pytest.TempPathFactory, steps: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("lines")
    written(folder / "whole", range(steps))
    whole = (folder / "whole").read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    (folder / "cut").write_bytes(whole[:cut])
    known = whole[:cut].count(b"\n")  # a checkpoint is written when its line is on the disk
    after = data.draw(st.integers(-1, known - 1))
    assert written(folder / "cut", range(after + 1, steps), after) == list(range(steps))
    assert (folder / "cut").read_bytes() == whole


def test_without_a_step_to_go_on_from_the_file_is_new(tmp_path: Path) -> None:
    assert written(tmp_path / "a", range(3)) == [0, 1, 2]
    assert written(tmp_path / "a", range(1)) == [0]


def test_garbage_between_lines_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b'{"step": 1}\n\xff\xfe\n[]\n{"other": 1}\n{"step": 2}\n{"step": 3}')
    assert [row["step"] for row in step_rows(tmp_path / "a")] == [1, 2]
    assert [row["step"] for row in step_rows(tmp_path / "a", until=1)] == [1]
    assert step_rows(tmp_path / "nothing") == []


def test_a_line_is_readable_as_soon_as_it_is_written(tmp_path: Path) -> None:
    lines = StepLines(tmp_path / "a", None)
    lines.write(1, {"x": 0.1})
    assert json.loads((tmp_path / "a").read_text()) == {"step": 1, "x": 0.1}
    lines.close()

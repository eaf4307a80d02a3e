"""JSON Lines, one object a step: written while a run goes on, and continued from a checkpoint without a seam."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlcompress.recording.publish import write_atomically


class StepLines:
    """Appends lines with a `step` to a file.

    Args:
        after: the step that a resumed run continues from. Later lines, which the lost process still wrote, and a line
            that was cut off in the middle are removed first. None starts a new file.
    """

    def __init__(self, path: Path, after: int | None) -> None:
        kept = [] if after is None else step_rows(path, until=after)
        write_atomically(path, "".join(map(_line, kept)))
        self._file = path.open("a", encoding="utf-8")

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """One line, in one write: a reader sees it whole."""
        self._file.write(_line({"step": step, **values}))
        self._file.flush()

    def sync(self) -> None:
        """On return all lines are on the disk; a checkpoint that counts on them may be written."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self.sync()
        self._file.close()


def step_rows(path: Path, until: int | None = None) -> list[dict[str, Any]]:
    """The whole lines of a file up to a step (None: all), oldest first; a line that was cut off is passed over."""
    text = path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
    rows = []
    for line in text.splitlines(keepends=True):
        try:
            row = json.loads(line)
            step = row["step"]
        except (ValueError, KeyError, TypeError):
            continue
        if line.endswith("\n") and (until is None or step <= until):
            rows.append(row)
    return rows


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row) + "\n"

"""The ledger says which samples were learned from, and notices what is missing, doubled or out of order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from policies.rollouts import Rolled
from rlcompress.recording.ledger import Ledger, discrepancies, entry
from rlcompress.recording.lines import step_rows
from rlcompress.words import BoolArray, Status


@dataclass(frozen=True, eq=False)
class Sample:
    serial: int
    sample: int
    example: int = 7
    kept_N: BoolArray = field(default_factory=lambda: np.array([True, False, True]))
    status: Status = Status.OK
    judge_version: str = "judge@1"

    @property
    def content(self) -> bytes:
        return Rolled(self.serial, self.sample, self.example, self.kept_N, self.status, self.judge_version).content


def prompts(*serials: int, group: int = 2) -> list[Sample]:
    return [Sample(serial, g, example=100 + serial) for serial in serials for g in range(group)]


def ledger(path: Path, *iterations: list[Sample], after: int | None = None) -> Path:
    opened = Ledger(path, after=after)
    for step, samples in enumerate(iterations, 1 + (after or 0)):
        opened.write(step, samples)
    opened.close()
    return path


def test_a_line_names_samples_examples_statuses_and_judges(tmp_path: Path) -> None:
    samples = [*prompts(4), replace(Sample(3, 1), status=Status.JUDGE_FAILED, judge_version="")]
    (row,) = step_rows(ledger(tmp_path / "a", samples))
    assert row["samples"] == ["3.1", "4.0", "4.1"]
    assert row["examples"] == {"3": 7, "4": 104}
    assert row["status"] == {"judge_failed": 1, "ok": 2}
    assert row["judges"] == ["judge@1"]


@pytest.mark.parametrize(
    "other",
    [
        [True, True, True],
        [True, False],
        [True, False, True, False],  # packed into bytes they are alike: the length decides
    ],
)
def test_other_masks_have_another_hash(other: list[bool]) -> None:
    changed = replace(Sample(0, 0), kept_N=np.array(other))
    assert entry([Sample(0, 0)])["masks"] == entry([Sample(0, 0)])["masks"] != entry([changed])["masks"]


def test_a_whole_ledger_has_no_discrepancies(tmp_path: Path) -> None:
    path = ledger(tmp_path / "a", prompts(0, 1), prompts(2), [], prompts(3, 4))
    assert discrepancies(path, 2) == []


def test_an_interrupted_ledger_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    iterations = [prompts(0, 1), prompts(2), prompts(3, 4)]
    whole = ledger(tmp_path / "whole", *iterations)
    cut = ledger(tmp_path / "cut", *iterations[:2])
    ledger(cut, *iterations[1:], after=1)
    assert cut.read_bytes() == whole.read_bytes()


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    def wrong(*iterations: list[Sample]) -> list[str]:
        return discrepancies(ledger(tmp_path / "a", *iterations), 2)

    assert wrong(prompts(0), prompts(0)) == ["0.0 is there 2 times", "0.1 is there 2 times"]
    assert wrong(prompts(0), prompts(2)) == ["1.0 is missing", "1.1 is missing"]
    assert wrong(prompts(0), prompts(1)[1:]) == ["1.0 is missing"]
    assert wrong(prompts(1), prompts(0)) == ["samples are out of order"]
    path = ledger(tmp_path / "b", prompts(0))
    path.write_text(path.read_text() * 2)
    assert discrepancies(path, 2)[0] == "the steps are [1, 1]"

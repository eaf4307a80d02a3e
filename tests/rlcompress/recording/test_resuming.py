"""Going back to a checkpoint: what is newer goes, what is torn is said, and `best` follows from the metrics."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from rlcompress.config.files import load_config
from rlcompress.errors import UserError
from rlcompress.recording.directory import RunDirectory
from rlcompress.recording.lines import StepLines
from rlcompress.recording.publish import checkpoint_name, point, pointed, publishing
from rlcompress.recording.resuming import FROM_THE_START, VALIDATION, best_first, rewind


def run_with(folder: Path, bits: Mapping[int, float | None], checkpoints: tuple[int, ...]) -> RunDirectory:
    """A run whose metrics have a line for each step of `bits`, None where it was not validated."""
    run = RunDirectory.create(load_config(None, [f"runs={folder}", "name=run"]))
    run.write_environment("train")
    lines = StepLines(run.metrics, None)
    for step, value in bits.items():
        lines.write(step, {"reward/mean": 0.5} if value is None else {VALIDATION: value})
    lines.close()
    for iteration in checkpoints:
        with publishing(run.checkpoints / checkpoint_name(iteration)) as made:
            (made / "weights").write_bytes(bytes(range(100)))
    return run


def tear(run: RunDirectory, iteration: int, size: int = 50) -> None:
    os.truncate(run.checkpoints / checkpoint_name(iteration) / "weights", size)


def names(run: RunDirectory) -> list[str]:
    return sorted(path.name for path in run.checkpoints.iterdir())


def best(run: RunDirectory) -> str | None:
    path = pointed(run.checkpoints, "best")
    return path and path.name


def test_the_newest_whole_checkpoint_is_gone_on_from(tmp_path: Path) -> None:
    run = run_with(tmp_path, {0: 4.0, 1: None, 2: 3.0, 3: None}, (0, 2))
    point(run.checkpoints, "best", checkpoint_name(0))  # it was killed before it could point to the new best
    point(run.checkpoints, "last", checkpoint_name(0))
    rewound = rewind(run)
    assert (rewound.checkpoint, rewound.step, rewound.lost) == (run.checkpoints / checkpoint_name(2), 2, ())
    assert best(run) == checkpoint_name(2)
    assert pointed(run.checkpoints, "last") == rewound.checkpoint
    assert run.starts()[-1]["resumed"] == {"from": checkpoint_name(2), "lost": []}
    assert rewind(run) == rewound, "it may be done again"


def test_a_torn_one_is_passed_over_named_and_put_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = run_with(tmp_path, {0: 4.0, 1: None, 2: 3.0}, (0, 1, 2))
    point(run.checkpoints, "best", checkpoint_name(2))
    tear(run, 2)
    rewound = rewind(run)
    assert rewound.step == 1
    assert rewound.lost == ("torn: iteration-000002: weights has changed",)
    assert "torn: iteration-000002: weights has changed" in str(rewound)
    assert "torn: iteration-000002: weights has changed" in caplog.text
    assert run.starts()[-1]["resumed"]["lost"] == list(rewound.lost)
    assert best(run) == checkpoint_name(0), "what was better came later and will come again"
    assert names(run) == ["best", checkpoint_name(0), checkpoint_name(1), "last"]


@pytest.mark.parametrize("size", [0, 1, 7, 50, 99])
@pytest.mark.parametrize("file", ["weights", "STABLE"])
def test_wherever_a_file_is_cut_the_checkpoint_is_torn(tmp_path: Path, file: str, size: int) -> None:
    run = run_with(tmp_path, {0: 4.0, 1: 3.0}, (0, 1))
    os.truncate(run.checkpoints / checkpoint_name(1) / file, size)
    assert rewind(run).step == 0


def test_without_a_whole_checkpoint_it_starts_again(tmp_path: Path) -> None:
    run = run_with(tmp_path, {0: 4.0, 1: 3.0}, (0, 1))
    point(run.checkpoints, "best", checkpoint_name(1))
    tear(run, 0)
    tear(run, 1)
    rewound = rewind(run)
    assert (rewound.checkpoint, rewound.step) == (None, FROM_THE_START)
    assert len(rewound.lost) == 2
    assert "the start: there is no whole checkpoint" in str(rewound)
    assert names(run) == []


def test_a_named_checkpoint_drops_what_came_later(tmp_path: Path) -> None:
    run = run_with(tmp_path, {0: 4.0, 1: 3.0, 2: 2.0}, (0, 1, 2))
    assert rewind(run, checkpoint_name(1)).step == 1
    assert names(run) == ["best", checkpoint_name(0), checkpoint_name(1), "last"]
    assert best(run) == checkpoint_name(1)
    with pytest.raises(UserError, match=r"no checkpoint iteration-000007 .*there are: iteration-000000, "):
        rewind(run, checkpoint_name(7))
    tear(run, 0)
    with pytest.raises(UserError, match="weights has changed"):
        rewind(run, checkpoint_name(0))
    assert rewind(run, "best").step == 1


def test_a_best_one_that_is_torn_is_replaced_by_the_next_and_said(tmp_path: Path) -> None:
    run = run_with(tmp_path, {0: 4.0, 1: 2.0, 2: 3.0}, (0, 1, 2))
    tear(run, 1)
    rewound = rewind(run)
    assert rewound.step == 2
    (said,) = rewound.lost
    assert "the best so far, iteration-000001, cannot be used (weights has changed)" in said
    assert best(run) == checkpoint_name(2)


def test_what_killed_processes_left_is_swept(tmp_path: Path) -> None:
    run = run_with(tmp_path, {0: 4.0}, (0,))
    for name in (".iteration-000001.tmp", ".iteration-000000.old"):
        (run.checkpoints / name / "deep").mkdir(parents=True)
    (run.checkpoints / ".best.tmp").write_text("itera")
    rewind(run)
    assert names(run) == ["best", checkpoint_name(0), "last"]


def test_of_equal_measures_the_earliest_is_the_best() -> None:
    assert best_first({4: 1.0, 2: 1.0, 0: 3.0}) == [2, 4, 0]

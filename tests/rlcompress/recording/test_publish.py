import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlcompress.errors import UserError
from rlcompress.recording.publish import (
    checkpoint_name,
    find_checkpoint,
    latest_stable,
    periodic,
    point,
    pointed,
    publish,
    publishing,
    remove,
    rotate,
    sweep,
    why_torn,
)


def checkpoint(folder: Path, iteration: int, text: str = "weights") -> Path:
    final = folder / checkpoint_name(iteration)
    with publishing(final) as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "model.bin").write_text(f"{text} {iteration}")
        (temporary / "state.json").write_text("{}")
    return final


def test_a_published_folder_is_whole(tmp_path):
    final = checkpoint(tmp_path, 50)
    assert final.name == "iteration-000050"
    assert why_torn(final) is None
    assert sorted(os.listdir(tmp_path)) == ["iteration-000050"]


def test_nothing_appears_when_the_block_raises(tmp_path):
    def interrupted() -> None:
        with publishing(tmp_path / "iteration-000001") as temporary:
            (temporary / "half").write_text("x")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        interrupted()
    assert os.listdir(tmp_path) == []


def test_a_killed_writer_leaves_nothing_under_the_name(tmp_path):
    program = (
        "import os, sys; from pathlib import Path; from rlcompress.recording.publish import publishing\n"
        "with publishing(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').write_text('x'); os._exit(9)\n"
    )
    final = tmp_path / "iteration-000001"
    assert subprocess.run([sys.executable, "-c", program, str(final)], check=False).returncode == 9
    assert not final.exists()
    assert latest_stable(tmp_path).path is None
    assert checkpoint(tmp_path, 1) == final
    assert sorted(item.name for item in (final).iterdir()) == ["STABLE", "deep", "state.json"]


def test_publishing_again_replaces(tmp_path):
    checkpoint(tmp_path, 1, "old")
    final = checkpoint(tmp_path, 1, "new")
    assert (final / "deep" / "model.bin").read_text() == "new 1"
    assert why_torn(final) is None
    assert os.listdir(tmp_path) == ["iteration-000001"]


def test_publish_takes_any_filled_folder(tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "a").write_text("a")
    publish(tmp_path / "made", tmp_path / "artifact")
    assert why_torn(tmp_path / "artifact") is None
    assert not (tmp_path / "made").exists()


def flip(folder: Path) -> None:
    (folder / "deep" / "model.bin").write_text("weightz")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (flip, "deep/model.bin has changed"),
        (lambda folder: (folder / "state.json").unlink(), "state.json is missing"),
        (lambda folder: (folder / "STABLE").unlink(), "no STABLE file"),
        (lambda folder: (folder / "STABLE").write_text('{"name"'), "its STABLE file is damaged"),
        (lambda folder: (folder / "STABLE").write_text("[]"), "its STABLE file is damaged"),
    ],
)
def test_torn_folders_are_passed_over_and_named(tmp_path, damage, why):
    whole = checkpoint(tmp_path, 9)
    torn = checkpoint(tmp_path, 10)
    damage(torn)
    latest = latest_stable(tmp_path)
    assert latest.path == whole
    assert latest.skipped == (f"iteration-000010: {why}",)
    assert find_checkpoint(tmp_path) == whole
    with pytest.raises(UserError, match=f"cannot be used: {why}"):
        find_checkpoint(tmp_path, "iteration-000010")


def test_order_is_by_number(tmp_path):
    for iteration in (999999, 1000000, 2):
        checkpoint(tmp_path, iteration)
    assert [path.name for path in periodic(tmp_path)] == ["iteration-000002", "iteration-999999", "iteration-1000000"]
    assert latest_stable(tmp_path).path == tmp_path / "iteration-1000000"


@pytest.mark.parametrize("keep", [1, 2, 3, 9])
def test_rotation_keeps_the_newest_and_what_is_pointed_at(tmp_path, keep):
    for iteration in range(1, 6):
        checkpoint(tmp_path, iteration)
    point(tmp_path, "best", checkpoint_name(1))
    point(tmp_path, "last", checkpoint_name(5))
    gone = rotate(tmp_path, keep)
    expected = {1} | set(range(max(1, 6 - keep), 6))
    assert {path.name for path in periodic(tmp_path)} == {checkpoint_name(i) for i in expected}
    assert set(gone) == {checkpoint_name(i) for i in set(range(1, 6)) - expected}
    assert sorted(os.listdir(tmp_path)) == sorted([*map(checkpoint_name, expected), "best", "last"])


def test_pointers(tmp_path):
    assert pointed(tmp_path, "best") is None
    checkpoint(tmp_path, 1)
    checkpoint(tmp_path, 2)
    point(tmp_path, "best", checkpoint_name(1))
    point(tmp_path, "best", checkpoint_name(2))
    assert (tmp_path / "best").read_text() == "iteration-000002\n"
    assert find_checkpoint(tmp_path, "best") == tmp_path / checkpoint_name(2)
    with pytest.raises(UserError, match=r"no checkpoint last in .*; there are: iteration-000001, iteration-000002"):
        find_checkpoint(tmp_path, "last")


def test_no_checkpoint_at_all(tmp_path):
    with pytest.raises(UserError, match="no whole checkpoint in"):
        find_checkpoint(tmp_path)


def test_what_a_kill_left_is_swept_and_never_in_the_way(tmp_path):
    for iteration in (1, 2):
        checkpoint(tmp_path, iteration)
    for name in (".iteration-000001.old", ".iteration-000003.tmp"):
        (tmp_path / name / "deep").mkdir(parents=True)
    remove(tmp_path / checkpoint_name(1))
    assert sorted(os.listdir(tmp_path)) == [".iteration-000003.tmp", "iteration-000002"]
    (tmp_path / ".best.tmp").write_text("half")
    sweep(tmp_path)
    assert os.listdir(tmp_path) == ["iteration-000002"]

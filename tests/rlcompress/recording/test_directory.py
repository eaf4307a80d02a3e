import json
import subprocess
import sys
from pathlib import Path

import pytest

from rlcompress.config.files import load_config
from rlcompress.config.schema import RunConfig
from rlcompress.errors import UserError
from rlcompress.recording import directory as runs
from rlcompress.recording.directory import RunDirectory
from rlcompress.recording.publish import publishing


def config(folder: Path, *overrides: str) -> RunConfig:
    return load_config(None, [f"runs={folder / 'runs'}", "name=one", *overrides])


def test_create_then_open_gives_the_same_configuration(tmp_path):
    made = RunDirectory.create(config(tmp_path, "learner.lr=3e-7"))
    assert RunDirectory.open(made.path) == made
    assert made.path == tmp_path / "runs" / "one"
    assert made.checkpoints.is_dir()
    assert made.state()["state"] == "created"


def test_a_run_is_never_overwritten_in_silence(tmp_path):
    made = RunDirectory.create(config(tmp_path))
    (made.path / "mine.txt").write_text("x")
    with pytest.raises(UserError, match=r"is not empty: .*--overwrite"):
        RunDirectory.create(config(tmp_path))
    assert (made.path / "mine.txt").is_file()
    RunDirectory.create(config(tmp_path), overwrite=True)
    assert not (made.path / "mine.txt").exists()


def test_overwrite_deletes_runs_only(tmp_path):
    precious = tmp_path / "runs" / "one" / "thesis.tex"
    precious.parent.mkdir(parents=True)
    precious.write_text("x")
    with pytest.raises(UserError, match="holds no run"):
        RunDirectory.create(config(tmp_path), overwrite=True)
    assert precious.is_file()


def test_an_empty_folder_may_be_used(tmp_path):
    (tmp_path / "runs" / "one").mkdir(parents=True)
    RunDirectory.create(config(tmp_path))


def test_index_has_a_line_a_run(tmp_path):
    for name in ("a", "b"):
        RunDirectory.create(config(tmp_path, f"name={name}", "seed=4"))
    assert [(line["name"], line["seed"]) for line in runs.index(tmp_path / "runs")] == [("a", 4), ("b", 4)]
    assert runs.index(tmp_path) == []


def test_open_says_when_there_is_no_run(tmp_path):
    with pytest.raises(UserError, match="no run in"):
        RunDirectory.open(tmp_path)


def test_environment_records_each_start_without_secrets(tmp_path):
    made = RunDirectory.create(config(tmp_path))
    made.write_environment(["rlcompress", "train", "my file.yaml", "x.api_key=abc"], data_hash="d1")
    made.write_environment("rlcompress train --resume one")
    starts = json.loads((made.path / "environment.json").read_text())["starts"]
    assert [start["data_hash"] for start in starts] == ["d1", None]
    assert starts[0]["command"] == "rlcompress train 'my file.yaml' x.api_key=***"
    assert starts[0]["versions"]["torch"]
    assert starts[0]["hardware"]["cores"] >= 1
    assert set(starts[0]["git"] or {"commit": "", "dirty": False}) == {"commit", "dirty"}


def test_recording_marks_how_it_ended(tmp_path):
    made = RunDirectory.create(config(tmp_path))
    with made.recording():
        assert made.state()["state"] == "running"
    assert made.state()["state"] == "finished"
    with pytest.raises(ValueError, match="bad"), made.recording():
        raise ValueError("bad luck\nsecond line")
    assert (made.state()["state"], made.state()["why"]) == ("failed", "ValueError: bad luck")
    with pytest.raises(KeyboardInterrupt), made.recording():
        raise KeyboardInterrupt
    assert made.state()["state"] == "failed"


def test_summary_shows_last_metrics_and_checkpoint(tmp_path):
    made = RunDirectory.create(config(tmp_path, "learner.iterations=9"))
    assert "step       0 of 9" in made.summary()
    assert "checkpoint none" in made.summary()
    made.metrics.write_text('{"step": 1, "reward/mean": 0.1}\n{"step": 2, "reward/mean": 0.25}\n{"step": 3, "rew')
    for iteration in (1, 2):
        with publishing(made.checkpoints / f"iteration-00000{iteration}") as folder:
            (folder / "a").write_text("a")
    (made.checkpoints / "iteration-000002" / "a").write_text("b")
    shown = made.summary()
    assert "step       2 of 9" in shown
    assert "0.25" in shown
    assert "checkpoint iteration-000001" in shown
    assert "torn       iteration-000002: a has changed" in shown


def test_artifacts_are_found_in_runs_and_by_themselves(tmp_path):
    with pytest.raises(UserError, match="no artifact in"):
        runs.find_artifact(tmp_path)
    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact" / "manifest.json").write_text("{}")
    assert runs.find_artifact(tmp_path) == tmp_path / "artifact"
    assert runs.find_artifact(tmp_path / "artifact") == tmp_path / "artifact"


def test_a_run_that_was_killed_while_it_was_made_is_no_run(tmp_path):
    """Its directory appears with its configuration in it, so that whatever has a name can be resumed."""
    program = (
        "import os, sys; from rlcompress.recording import directory as runs\n"
        "from rlcompress.config.files import load_config\n"
        "runs.dump_yaml = lambda config: os._exit(9)\n"
        "runs.RunDirectory.create(load_config(None, ['name=one', f'runs={sys.argv[1]}']))\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path / "runs")], check=False).returncode == 9
    assert not (tmp_path / "runs" / "one").exists()
    assert RunDirectory.create(config(tmp_path)).state()["state"] == "created"


def test_a_directory_belongs_to_one_process_at_a_time(tmp_path):
    made = RunDirectory.create(config(tmp_path))
    program = (
        "import sys; from rlcompress.recording.directory import RunDirectory\n"
        "with RunDirectory.open(sys.argv[1]).recording():\n"
        "    print('in', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(made.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"in\n"
        with pytest.raises(UserError, match="another process is at work in"), made.recording():
            pass
        assert made.state()["state"] == "running", "of the other one"
        other.kill()  # whoever is killed holds nothing
        other.wait()
    assert "state      interrupted since" in made.summary()
    assert f"train --resume {made.path}" in made.summary()
    with made.recording():
        assert made.state()["state"] == "running"


def test_a_run_goes_on_with_its_own_data_only(tmp_path):
    made = RunDirectory.create(config(tmp_path))
    made.require_data("d1")
    made.write_environment("train", "d1")
    made.require_data("d1")
    with pytest.raises(UserError, match=r"other data than data\.source"):
        made.require_data("d2")


def test_a_note_is_kept_with_the_current_start(tmp_path):
    made = RunDirectory.create(config(tmp_path))
    made.write_environment("train")
    made.write_environment("train --resume")
    made.note("resumed", {"from": None})
    assert [start.get("resumed") for start in made.starts()] == [None, {"from": None}]


def test_an_interrupted_run_is_found_by_an_equal_configuration_only(tmp_path):
    assert runs.interrupted(config(tmp_path)) is None
    made = RunDirectory.create(config(tmp_path, "learner.lr=0.5", "reward.terms={distortion: 1.0}"))
    asked = config(tmp_path, "learner.lr=0.5", "checkpoint.resume=latest")
    assert runs.interrupted(asked) == made.path
    with pytest.raises(UserError, match=r"other values of seed, learner\.lr: choose another name"):
        runs.interrupted(config(tmp_path, "learner.lr=0.25", "seed=1"))

import csv
import json
import math
import subprocess
import sys
import types

import numpy as np
import pytest

from rlcompress.config.schema import TrackingConfig
from rlcompress.errors import UserError
from rlcompress.recording.tracking import Tracker

PLAIN = TrackingConfig(csv=True, tensorboard=False)


def json_rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def csv_rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_jsonl_and_csv_hold_every_key(tmp_path):
    with Tracker(PLAIN, tmp_path, "run") as tracker:
        tracker.log(1, {"reward/mean": np.float32(0.5)})
        tracker.log(2, {"reward/mean": 0.6, "validation/bits": 3.0})
        tracker.log(3, {"reward/mean": math.nan})
    rows = json_rows(tmp_path)
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert rows[1]["validation/bits"] == 3.0
    assert rows[2]["reward/mean"] is None
    assert [row["validation/bits"] for row in csv_rows(tmp_path)] == ["", "3.0", ""]
    assert [row["reward/mean"] for row in csv_rows(tmp_path)] == ["0.5", "0.6", "nan"]


def test_lines_are_readable_while_the_run_goes_on(tmp_path):
    tracker = Tracker(PLAIN, tmp_path, "run")
    tracker.log(1, {"a": 1})
    assert len(json_rows(tmp_path)) == len(csv_rows(tmp_path)) == 1
    tracker.close()


def test_resuming_drops_what_the_lost_process_wrote_after_the_checkpoint(tmp_path):
    with Tracker(PLAIN, tmp_path, "run") as tracker:
        for step in range(1, 6):
            tracker.log(step, {"a": step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "a"')
    with Tracker(PLAIN, tmp_path, "run", after=3) as tracker:
        tracker.log(4, {"a": 40, "b": 1})
    assert [(row["step"], row["a"]) for row in json_rows(tmp_path)] == [(1, 1), (2, 2), (3, 3), (4, 40)]
    assert [(row["step"], row["a"]) for row in csv_rows(tmp_path)] == [
        ("1", "1.0"),
        ("2", "2.0"),
        ("3", "3.0"),
        ("4", "40.0"),
    ]


def test_the_table_of_a_resumed_run_is_that_of_one_that_was_never_interrupted(tmp_path):
    logged = {1: {"a": 1 / 3}, 2: {"a": math.nan, "b": 2}, 3: {"a": 3, "c": 0.1}, 4: {"b": math.inf}}
    for folder, end in (("whole", 5), ("killed", 4)):
        (tmp_path / folder).mkdir()
        with Tracker(PLAIN, tmp_path / folder, "run") as tracker:
            for step in range(1, end):
                tracker.log(step, logged[step])
    table = tmp_path / "killed" / "metrics.csv"
    table.write_bytes(table.read_bytes()[:-3])
    with Tracker(PLAIN, tmp_path / "killed", "run", after=2) as tracker:
        for step in (3, 4):
            tracker.log(step, logged[step])
    assert table.read_bytes() == (tmp_path / "whole" / "metrics.csv").read_bytes()


def test_the_curves_of_a_resumed_run_are_drawn_from_its_metrics(tmp_path):
    """What the lost process had not written, or wrote after the checkpoint, makes no difference."""
    config = TrackingConfig(csv=False)
    killed = Tracker(config, tmp_path, "run")
    for step in (1, 2, 3):
        killed.log(step, {"early": step, "bad": math.nan} if step < 3 else {"late": step})
    killed.close()
    for events in (tmp_path / "tensorboard").iterdir():
        events.write_bytes(events.read_bytes()[:50])
    with Tracker(config, tmp_path, "run", after=2) as tracker:
        tracker.log(3, {"again": 3})
    (events,) = (tmp_path / "tensorboard").iterdir()
    found = {name: events.read_bytes().count(name) for name in (b"early", b"late", b"again", b"bad")}
    assert found == {b"early": 2, b"late": 0, b"again": 1, b"bad": 0}


def test_a_new_run_starts_new_files(tmp_path):
    for _ in range(2):
        with Tracker(PLAIN, tmp_path, "run") as tracker:
            tracker.log(1, {"a": 1})
    assert len(json_rows(tmp_path)) == len(csv_rows(tmp_path)) == 1


def test_tensorboard_writes_events(tmp_path):
    with Tracker(TrackingConfig(csv=False), tmp_path, "run") as tracker:
        tracker.log(1, {"reward/mean": 0.5, "bad": math.inf})
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"reward/mean" in events.read_bytes()
    assert b"bad" not in events.read_bytes()
    assert not (tmp_path / "metrics.csv").exists()


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_an_absent_service_is_a_clear_error(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)  # its import fails, installed or not
    with pytest.raises(UserError, match=rf"tracking\.{name} is set but {name} is not installed: pip install"):
        Tracker(TrackingConfig(tensorboard=False, **{name: "project"}), tmp_path, "run")


class FakeService(types.ModuleType):
    """Stands for wandb and mlflow: writes down what it is told."""

    def __init__(self, name):
        super().__init__(name)
        self.told = []

    def __getattr__(self, verb):
        if verb.startswith("__"):
            raise AttributeError(verb)

        def take(*args, **named):
            self.told.append((verb, args, named))
            return self

        return take


def test_services_get_metrics_and_an_end(tmp_path, monkeypatch):
    fakes = {name: FakeService(name) for name in ("wandb", "mlflow")}
    for name, fake in fakes.items():
        monkeypatch.setitem(sys.modules, name, fake)
    with Tracker(TrackingConfig(tensorboard=False, wandb="p", mlflow="e"), tmp_path, "run") as tracker:
        tracker.log(7, {"a": 1})
    assert fakes["wandb"].told == [
        ("init", (), {"project": "p", "name": "run", "dir": str(tmp_path)}),
        ("log", ({"a": 1.0},), {"step": 7}),
        ("finish", (), {}),
    ]
    assert fakes["mlflow"].told == [
        ("set_experiment", ("e",), {}),
        ("start_run", (), {"run_name": "run"}),
        ("log_metrics", ({"a": 1.0},), {"step": 7}),
        ("end_run", (), {}),
    ]


def test_services_that_are_off_are_never_imported(tmp_path):
    program = (
        "import sys; from pathlib import Path; from rlcompress.recording.tracking import Tracker\n"
        "from rlcompress.config.schema import TrackingConfig\n"
        "Tracker(TrackingConfig(tensorboard=False), Path(sys.argv[1]), 'run').close()\n"
        "assert not {'wandb', 'mlflow', 'tensorboardX', 'torch', 'ray'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)

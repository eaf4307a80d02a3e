"""A run whose reward asks a reader: a second actor, its gate, its metrics, and what is refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from cluster import placement
from cluster.reading import wanted
from cluster.services import RemoteJudge
from cluster.training import train
from rlcompress.config.files import load_config
from rlcompress.errors import UserError
from rlcompress.recording.directory import RunDirectory
from tests.cluster.test_training import TINY
from tests.rlcompress.rewards.passages import ROWS

ASKED = ["reward.preset=guarded", "reward.terms.answer_likelihood=0.5", "data.min_tokens=8", "data.max_tokens=256"]


def write_rows(path: Path) -> Path:
    rows = [{"context": text, "question": question, "answer": answer} for text, question, answer in ROWS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def settings(folder: Path, *more: str) -> list[str]:
    source = write_rows(folder / "rows.jsonl")
    splits = "data.splits={train: 0.4, validation: 0.3, test: 0.3}"
    data = [f"data.source={source}", splits, "learner.prompts_per_step=2"]
    return [*TINY, *ASKED, *data, f"runs={folder}", "evaluate.methods=[random]", *more]


def test_only_a_term_that_reads_makes_a_seat_for_a_reader() -> None:
    plain, asking = load_config(None), load_config(None, ASKED)
    assert not wanted(plain)
    assert wanted(asking)
    counts = [{seat.name: seat.count for seat in placement.seats(config)} for config in (plain, asking)]
    assert [count["reader"] for count in counts] == [0, 1]


def test_who_asks_a_reader_is_pickled_with_the_key_of_its_timeout() -> None:
    judge = pickle.loads(pickle.dumps(RemoteJudge("nobody", 3.0, key="judges.reader.timeout")))
    assert (judge.name, judge.timeout, judge.key) == ("nobody", 3.0, "judges.reader.timeout")


@pytest.mark.ray
def test_a_run_asks_its_reader(ray_cluster: None, tmp_path: Path) -> None:
    run: RunDirectory = train(load_config(None, settings(tmp_path, "name=asked")), command="the test")
    assert json.loads((run.judges / "reader" / "judge.json").read_text())["reads"]["gain"] > 0.05
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    for row in rows[1:]:
        assert 0.0 <= row["reward/guarded"] <= 1.0
        assert 0.0 < row["reward/answer_likelihood"] < 1.0
        assert "reward/distortion" in row, "logged, though it pays nothing"
    validated = [row for row in rows if "validation/cost" in row]
    assert [row["step"] for row in validated] == [0, 2, 4]
    assert all(-1.5 <= row["validation/cost"] <= 0.0 for row in validated), "minus what the reward pays"


@pytest.mark.ray
def test_what_cannot_be_read_is_refused_before_a_run_is_made(ray_cluster: None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"reward\.terms\.\w+ needs an answer"):
        train(load_config(None, [*TINY, "reward.preset=guarded", f"runs={tmp_path}", "name=prose"]))
    with pytest.raises(UserError, match=r"judges\.reader\.model.*builtin:guess"):
        train(load_config(None, settings(tmp_path, "name=guess", "judges.reader.model=builtin:guess")))
    assert not (tmp_path / "prose").exists()
    assert not (tmp_path / "guess").exists()

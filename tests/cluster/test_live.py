"""Co-training across processes: a live judge that is killed or hangs, a driver that is killed, a run that learns."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch

from cluster.live import Cotraining, CotrainingFailed, LiveService, RemoteTeacher, put_back
from cluster.services import RemoteJudge, start_service
from cluster.stages import Prepared, prepared_data
from cluster.training import train
from policies.rollouts import Rolled
from rlcompress.compressor import Compressor
from rlcompress.config.files import load_config
from rlcompress.config.schema import CotrainConfig, JudgeConfig, RunConfig
from rlcompress.data.dataset import load_split
from rlcompress.errors import UserError
from rlcompress.judges.build import load_judge, train_judge
from rlcompress.judges.live import LiveJudge
from rlcompress.recording.directory import RunDirectory
from rlcompress.recording.publish import find_checkpoint
from rlcompress.words import JudgeRequest, Status
from tests.kills.driver import Drivers, Moment, drivers
from tests.kills.equal import differences
from tests.rlcompress.colours import own_masks, write_data, write_source

pytestmark = pytest.mark.ray

COTRAIN = CotrainConfig(steps=4, batch=8, learning_rate=2e-3, timeout=60.0)
JUDGE = JudgeConfig(steps=20, batch=8, width=16, layers=1, window=32, cpus=0.5, timeout=60.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def frozen(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    threads = torch.get_num_threads()
    folder = tmp_path_factory.mktemp("judges") / "reward"
    train_judge(JUDGE, data, folder)
    torch.set_num_threads(threads)
    return folder


class FaultyService(LiveService):
    """Once in the life of `marker`, inside the second update of a version or in a verdict: `die` or `hang`."""

    def __init__(self, marker: str, place: str, fault: str, *given: Any) -> None:
        super().__init__(*given)
        self.marker, self.fault, self.updates = Path(marker), fault, 0
        self.step, self.verdicts = self.judge_model.descent.step, self.judge_model.judge
        if place == "advance":
            self.judge_model.descent.step = self.faulty_step  # type: ignore[method-assign]
        else:
            self.judge_model.judge = self.faulty_judge  # type: ignore[method-assign]

    def faulty_step(self, *batch: Any) -> float:
        self.updates += 1
        if self.updates % COTRAIN.steps == 2:
            self.happen()
        return self.step(*batch)

    def faulty_judge(self, requests: Sequence[JudgeRequest]) -> Any:
        self.happen()
        return self.verdicts(requests)

    def happen(self) -> None:
        if self.fault == "always hang" or not self.marker.exists():
            self.marker.touch()
            if self.fault == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)


Started = tuple[RemoteTeacher, RemoteJudge, RemoteJudge]


@contextlib.contextmanager
def served(
    name: str, frozen: Path, versions: Path, data: Path, *fault: str, timeout: float = 60.0
) -> Iterator[Started]:
    """The live judge as an actor, faulty when asked."""
    given = (str(frozen), str(versions), str(data), COTRAIN.model_dump(), 0, 1, "cpu")
    service, arguments = (FaultyService, (*fault, *given)) if fault else (LiveService, given)
    actor = start_service(service, name, JUDGE, 5, *arguments)
    try:
        _ = RemoteJudge(name, 60.0).version  # it has started
        yield (
            RemoteTeacher(name, timeout),
            RemoteJudge(name, timeout),
            RemoteJudge(name, timeout, "judge_frozen"),
        )
    finally:
        ray.kill(actor)


def verdicts(judge: RemoteJudge, asked: list[JudgeRequest]) -> list[tuple[float, str]]:
    found = judge.judge(asked)
    assert [verdict.status for verdict in found] == [Status.OK] * len(asked)
    return [(verdict.score, verdict.version) for verdict in found]


@pytest.fixture(scope="module")
def undisturbed(data: Path, frozen: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Metrics and verdicts of versions 1 to 3, made in this process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    live = LiveJudge(frozen, tmp_path_factory.mktemp("versions"), data, COTRAIN, 0)
    made = []
    for number in (1, 2, 3):
        metrics = live.advance(number, own_masks(data, seed=number))
        made.append((metrics, [(v.score, v.version) for v in live.judge(own_masks(data, seed=50))]))
    torch.set_num_threads(threads)
    return made


def test_killed_between_updates_it_serves_the_version_that_was(
    ray_cluster: None, data: Path, frozen: Path, tmp_path: Path, undisturbed: list[Any]
) -> None:
    asked = own_masks(data, seed=50)
    with served("between", frozen, tmp_path / "v", data) as (teacher, judge, twin):
        before = verdicts(twin, asked)
        for number, (metrics, expected) in enumerate(undisturbed, 1):
            assert teacher.advance(number, own_masks(data, seed=number)) == metrics
            if number > 1:
                os.kill(judge.stats()["pid"], signal.SIGKILL)  # type: ignore[arg-type]
            assert verdicts(judge, asked) == expected
            assert teacher.advance(number, own_masks(data, seed=number)) == metrics  # asked again: not learned twice
        assert verdicts(twin, asked) == before
        assert {version for _, version in before} == {load_judge(frozen).version}


@pytest.mark.parametrize("fault", ["die", "hang"])
def test_killed_or_hung_inside_an_update_it_makes_the_same_version(
    ray_cluster: None, data: Path, frozen: Path, tmp_path: Path, undisturbed: list[Any], fault: str
) -> None:
    marker = tmp_path / "marker"
    marker.touch()
    given = (str(marker), "advance", fault)
    timeout = 60.0 if fault == "die" else 20.0
    with served(f"inside {fault}", frozen, tmp_path / "v", data, *given, timeout=timeout) as (teacher, judge, _):
        for number, (metrics, expected) in enumerate(undisturbed, 1):
            if number == 2:
                marker.unlink()  # now it happens
            assert teacher.advance(number, own_masks(data, seed=number)) == metrics
            assert marker.exists()
            assert verdicts(judge, own_masks(data, seed=50)) == expected


@pytest.mark.parametrize("fault", ["die", "hang"])
def test_killed_or_hung_in_a_verdict_it_is_asked_once_more(
    ray_cluster: None, data: Path, frozen: Path, tmp_path: Path, fault: str
) -> None:
    given = (str(tmp_path / "marker"), "judge", fault)
    timeout = 60.0 if fault == "die" else 20.0
    asked = own_masks(data)
    with served(f"verdict {fault}", frozen, tmp_path / "v", data, *given, timeout=timeout) as (_, judge, twin):
        scores = [score for score, _ in verdicts(judge, asked)]
        assert scores == [score for score, _ in verdicts(twin, asked)]  # version 0 is the reward judge
        assert (tmp_path / "marker").exists()


def test_a_live_judge_that_always_hangs_ends_by_name_and_in_time(
    ray_cluster: None, data: Path, frozen: Path, tmp_path: Path
) -> None:
    settings = {"cotrain": {**COTRAIN.model_dump(), "timeout": 4.0}, "runs": str(tmp_path), "name": "hung"}
    config = RunConfig.model_validate({**settings, "data": {"source": str(write_source(tmp_path)), "min_tokens": 1}})
    with served("hung", frozen, tmp_path / "v", data, str(tmp_path / "m"), "advance", "always hang"):
        cotraining = Cotraining(RunDirectory(tmp_path / "hung", config), prepared_data(config), "hung")
        began = time.monotonic()
        with pytest.raises(CotrainingFailed, match=r"no version 1 within cotrain\.timeout \(4 s\), nor did a new"):
            cotraining.barrier(1, [])
        assert 7 < time.monotonic() - began < 60


def test_the_driver_sends_the_policys_masks_in_their_order(ray_cluster: None, tmp_path: Path) -> None:
    """Samples that were not judged stay out; iterations without a barrier send nothing."""
    source = {"source": str(write_source(tmp_path)), "min_tokens": 1, "near_duplicates": False}
    config = RunConfig.model_validate({"runs": str(tmp_path), "data": source, "cotrain": {"steps": 1, "every": 2}})
    prepared: Prepared = prepared_data(config)
    cotraining = Cotraining(RunDirectory(tmp_path / "run", config), prepared, "nobody")
    texts = prepared.examples("train")
    rows = [(7, 1, 3, Status.OK), (7, 0, 3, Status.OK), (6, 0, 5, Status.OK), (6, 1, 5, Status.JUDGE_FAILED)]
    kept = {(serial, sample): np.arange(8) % 5 == sample for serial, sample, _, _ in rows}
    rollout = [Rolled(serial, g, row, kept[serial, g], status, "v") for serial, g, row, status in rows]
    masks = cotraining._masks(rollout)
    assert [mask.source for mask in masks] == [texts[5].text, texts[3].text, texts[3].text]
    assert [mask.kept_N.tolist() for mask in masks] == [kept[key].tolist() for key in ((6, 0), (7, 0), (7, 1))]
    assert cotraining.barrier(3, rollout) == {}  # and nobody was asked: there is nobody


def test_a_checkpoint_without_a_live_judge_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    run = RunDirectory(tmp_path / "run", RunConfig())
    with pytest.raises(UserError, match=r"without co-training; set cotrain\.steps to 0"):
        put_back(run, tmp_path / "checkpoint")


# -- whole runs ---------------------------------------------------------------------------------------------------


def settings(folder: Path, *more: str) -> list[str]:
    judges = [
        f"judges.{role}.{key}"
        for role in ("reward", "heldout")
        for key in ("steps=40", "width=32", "layers=1", "window=32", "cpus=0.5")
    ]
    return [
        f"data.source={write_source(folder, 300)}",
        f"runs={folder / 'runs'}",
        "data.min_tokens=1",
        "data.near_duplicates=false",
        "reader.vocabulary=400",
        "judges.gate=0.0",
        *judges,
        "policy.width=32",
        "policy.layers=1",
        "policy.prior=none",
        "warm_start.steps=0",
        "env.rates=[0.5]",
        "cotrain.steps=6",
        "cotrain.learning_rate=3e-3",
        "checkpoint.validation_texts=16",
        "evaluate.texts=12",
        "evaluate.rates=[0.5]",
        "evaluate.seeds=1",
        "evaluate.bootstrap=100",
        "evaluate.methods=[random]",
        *more,
    ]


def logged(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def pairs_lost(compressor: Compressor, texts: list[str]) -> float:
    """Share of pairs of which neither word was kept: 0 at the optimum, and chance alone tells what they were."""
    lost = []
    for text in texts:
        kept = set()
        result = compressor.compress(text, 0.5)
        words, at = text.split(), 0
        for number, word in enumerate(words):
            at = text.index(word, at)
            if any(start <= at < end for start, end in result.spans):
                kept.add(number)
            at += len(word)
        lost += [2 * pair not in kept and 2 * pair + 1 not in kept for pair in range(len(words) // 2)]
    return float(np.mean(lost))


@pytest.mark.learning
def test_policy_and_judge_learn_together_on_a_task_with_a_known_optimum(ray_cluster: None, tmp_path: Path) -> None:
    """Both losses fall: the policy's, counted by the rule, and the judge's, in bits of the policy's own masks."""
    run = train(
        load_config(
            None,
            settings(
                tmp_path,
                "name=both",
                "learner.iterations=60",
                "learner.lr=5e-3",
                "learner.lr_end=1e-3",
                "learner.prompts_per_step=8",
                "learner.samples_per_prompt=8",
                "checkpoint.validate_every=60",
            ),
        )
    )
    rows = [row for row in logged(run.path) if row["step"]]
    first, last = rows[:5], rows[-5:]
    live = [np.mean([row["cotrain/live_bits"] for row in part]) for part in (first, last)]
    twin = np.mean([row["cotrain/frozen_bits"] for row in last])
    assert [row["cotrain/version"] for row in rows] == list(range(1, 61))
    assert {row["cotrain/random_share"] for row in rows} == {0.5}
    assert live[1] < 0.5 * live[0]
    assert live[1] < 0.7 * twin
    assert rows[-1]["cotrain/validation_bits@0.5"] < rows[-1]["validation/distortion_bits@0.5"]
    [data] = (tmp_path / "runs" / "cache" / "data").iterdir()
    texts = [example.text for example in load_split(data, "test")]
    start = Compressor.from_pretrained(run.path / "prior")
    assert pairs_lost(Compressor.from_pretrained(run.artifact), texts) < 0.5 * max(pairs_lost(start, texts), 0.2)
    assert (
        load_judge(run.judges / "reward").version
        == json.loads((run.judges / "reward" / "judge.json").read_text())["version"]
    )  # the reward judge itself is what it was


def test_every_group_was_judged_by_one_version(short: Path) -> None:
    """The ledger has the version of each sample: one an iteration, the one of the barrier before."""
    rows = [json.loads(line) for line in (short / "samples.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    for row in rows:
        (version,) = row["judges"]
        assert f"+live-{row['step'] - 1}@" in version


SHORT = [
    "learner.iterations=4",
    "learner.prompts_per_step=4",
    "learner.samples_per_prompt=4",
    "checkpoint.every=2",
    "checkpoint.validate_every=2",
    "checkpoint.keep=5",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def processes(ray_cluster: None, home: Path) -> Iterator[Drivers]:
    """Every run has a driver of its own, so that none inherits the threads of another."""
    with drivers(home, ray.get_runtime_context().gcs_address) as started:
        yield started


@pytest.fixture(scope="module")
def short(processes: Drivers, home: Path) -> Path:
    """A run that nobody disturbed."""
    ended = processes.run(["train", "--set", *settings(home, *SHORT, "name=short")])
    assert ended.code == 0, ended.output
    return home / "runs" / "short"


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        Moment("return", "Cotraining.barrier", 3),  # version 3 is on disk, the newest checkpoint has version 2
        Moment("call", "Cotraining.save", 3),  # inside the checkpoint of iteration 4
    ],
    ids=lambda moment: f"{moment.event}-{moment.function}",
)
def test_a_killed_driver_resumes_to_the_same_bits(processes: Drivers, short: Path, home: Path, moment: Moment) -> None:
    runs = home / moment.event  # the artifact names its run: another folder, the same name
    runs.mkdir()
    (runs / "cache").symlink_to(home / "runs" / "cache")
    run = runs / "short"
    ended = processes.run(["train", "--set", *settings(home, *SHORT, "name=short", f"runs={runs}")], moment)
    assert ended.code == -signal.SIGKILL, ended.output
    assert find_checkpoint(run / "checkpoints").name == "iteration-000002"
    ended = processes.run(["train", "--resume", str(run)])
    assert ended.code == 0, ended.output
    assert differences(run, short) == []
    for step in (0, 2, 4):
        live = Path("checkpoints") / f"iteration-{step:06d}" / "live" / f"version-{step:06d}" / "state.safetensors"
        assert (run / live).read_bytes() == (short / live).read_bytes()

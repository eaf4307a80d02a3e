"""`kill -9` of the driver at any moment, then `train --resume`: equal to the run that was left alone, bit by bit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray

from rlcompress.recording.directory import RunDirectory
from rlcompress.recording.ledger import discrepancies
from rlcompress.recording.lines import step_rows
from rlcompress.recording.publish import latest_stable, periodic
from rlcompress.recording.resuming import best_first, validations
from tests.kills.driver import Drivers, Moment, drivers, left_over
from tests.kills.equal import differences
from tests.kills.tiny import EVERY, GROUP, STEPS, TINY

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]

ALGORITHMS = {
    "grpo": ["learner.kl_coeff=0.05"],
    "ppo": [
        *("learner.algorithm=ppo", "env.form=progressive"),
        *("learner.epochs=2", "learner.minibatch=8", "learner.average=0.5"),
    ],
    "cotrain": ["cotrain.steps=2", "cotrain.batch=4"],
}

STEP = "CompressorAlgorithm.training_step"
# Each moment is reached by the driver that resumes after the one before.
SETTING_UP = [
    Moment("return", "RunDirectory.create"),
    Moment("call", "_restate", 2),  # one judge is there, the other half copied
    Moment("call", "imitate"),
    Moment("return", "save_artifact"),  # the prior is there, the warm start is not yet published
    Moment("return", "Tracker.log"),  # the first line of the metrics, and no checkpoint
    Moment("return", "publish"),  # the first checkpoint, and nothing points to it
]
ENDING = [
    Moment("call", "save_artifact"),
    Moment("return", "save_artifact"),
    Moment("call", "write_results"),
    Moment("return", "write_results"),
    Moment("call", "write_report"),
]


@dataclass(frozen=True)
class Bench:
    """Drivers, and runs that were left alone; every case is a run of the same name under a folder of its own."""

    drivers: Drivers
    folder: Path
    whole: dict[str, Path]

    def reference(self, algorithm: str) -> Path:
        if algorithm not in self.whole:
            folder = self.case("whole")
            self.start(folder, algorithm)
            self.whole[algorithm] = folder / algorithm
        return self.whole[algorithm]

    def case(self, name: str) -> Path:
        """An empty folder for runs; all share prepared data and trained judges."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        cache = self.folder / "cache"
        cache.mkdir(exist_ok=True)
        if not (folder / "cache").exists():
            (folder / "cache").symlink_to(cache)
        return folder

    def start(self, folder: Path, algorithm: str, moment: Moment | None = None, *, own_ray: bool = False) -> Path:
        words = [*TINY, *ALGORITHMS[algorithm], f"runs={folder}", f"name={algorithm}"]
        self.drive(["train", "--set", *words], moment, own_ray=own_ray)
        return folder / algorithm

    def resume(self, run: Path, moment: Moment | None = None, *words: str, own_ray: bool = False) -> str:
        return self.drive(["train", "--resume", str(run), *words], moment, own_ray=own_ray)

    def drive(self, words: Sequence[str], moment: Moment | None, *, own_ray: bool = False) -> str:
        """Let a driver run until `moment`, or to its end; what it printed."""
        ended = self.drivers.run(words, moment, own_ray=own_ray)
        assert ended.code == (0 if moment is None else -9), f"{moment}: {ended.code}\n{ended.output}"
        assert left_over(ended.mark) == []
        return ended.output


@pytest.fixture(scope="module")
def bench(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("kills")
    (folder / "output").mkdir()
    with drivers(folder / "output", ray.get_runtime_context().gcs_address) as started:
        yield Bench(started, folder, {})


def newest(run: Path) -> int:
    path = latest_stable(run / "checkpoints").path
    return -1 if path is None else int(path.name.rpartition("-")[2])


def require_equal(run: Path, reference: Path) -> None:
    assert differences(run, reference) == []
    assert discrepancies(run / "samples.jsonl", GROUP) == []
    assert RunDirectory.open(run).state()["state"] == "finished"


def tear(run: Path, name: str, file: str, size: int) -> None:
    with (run / "checkpoints" / name / file).open("r+b") as opened:
        opened.truncate(size)


WEIGHTS = "learner_group/learner/rl_module/default_policy/module_state.pkl"


def test_a_sample_of_the_matrix(bench: Bench) -> None:
    """Killed before a step with its own Ray, inside a checkpoint, before its pointers, and with a torn checkpoint."""
    whole = bench.reference("grpo")
    assert best_first(validations(whole / "metrics.jsonl", STEPS)) == [6, 4, 0, 2], "the best has moved"
    run = bench.start(bench.case("sample"), "grpo", Moment("call", STEP, 4), own_ray=True)
    assert newest(run) == 2, "the third step has to be done again"
    bench.resume(run, Moment("call", "_checkpoint", write=40))
    assert (newest(run), (run / "checkpoints" / ".iteration-000004.tmp").is_dir()) == (2, True)
    bench.resume(run, Moment("return", "publish"))
    assert newest(run) == 4
    assert (run / "checkpoints" / "best").read_text() == "iteration-000000\n", "it is better, and nothing says so yet"
    tear(run, "iteration-000004", WEIGHTS, 1000)
    said = bench.resume(run)
    assert f"resumed    {run / 'checkpoints' / 'iteration-000002'}" in said
    assert f"torn: iteration-000004: {WEIGHTS} has changed" in said
    resumed = [start.get("resumed") for start in RunDirectory.open(run).starts()]
    assert resumed[-1] == {"from": "iteration-000002", "lost": [f"torn: iteration-000004: {WEIGHTS} has changed"]}
    require_equal(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_killed_at_every_step_boundary(bench: Bench, algorithm: str) -> None:
    whole = bench.reference(algorithm)
    folder = bench.case(f"steps-{algorithm}")
    run = bench.start(folder, algorithm, Moment("call", STEP))
    for done in range(1, STEPS):
        bench.resume(run, Moment("call", STEP, done + 1 - newest(run)))
        steps = [row["step"] for row in step_rows(run / "metrics.jsonl")]
        assert steps == list(range(done + 1)), "nothing doubled, nothing lost"
    bench.resume(run, Moment("return", "_checkpoint", STEPS // EVERY - newest(run) // EVERY))
    assert newest(run) == STEPS
    bench.resume(run)
    require_equal(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["grpo", "ppo"])
def test_killed_inside_the_write_of_a_checkpoint(bench: Bench, algorithm: str) -> None:
    """At 24 places of one write, from the temporary folder to the deletion of the oldest checkpoint."""
    whole = bench.reference(algorithm)
    base = bench.start(bench.case(f"base-{algorithm}"), algorithm, Moment("call", STEP, 4))
    assert newest(base) == 2
    calls = trace(bench, copied(bench, base, f"traced-{algorithm}"))
    published = calls.index("c_call rename") + 1
    run = copied(bench, base, f"writes-{algorithm}")
    before = spread(1, published, 18)
    for write in before:  # each resumes where the one before left its mess
        bench.resume(run, Moment("call", "_checkpoint", write=write))
        assert newest(run) == 2, f"{calls[write - 1]} ({write})"
    bench.resume(run)
    require_equal(run, whole)
    after = spread(published + 1, len(calls), 6)
    for write in after:
        run = copied(bench, base, f"published-{algorithm}-{write}")
        bench.resume(run, Moment("call", "_checkpoint", write=write))
        assert newest(run) == 4, f"{calls[write - 1]} ({write})"
        bench.resume(run)
        require_equal(run, whole)
    assert len({*before, *after}) >= 20


def copied(bench: Bench, run: Path, name: str) -> Path:
    return Path(shutil.copytree(run, bench.case(name) / run.name))


def trace(bench: Bench, run: Path) -> list[str]:
    """What the write of one checkpoint does, call by call; the run that is traced goes on to its end."""
    file = bench.folder / f"{run.parent.name}.txt"
    moment = Moment("call", "_checkpoint", write=0)
    assert bench.drivers.run(["train", "--resume", str(run)], moment, trace=file).code == 0
    return file.read_text().splitlines()


def spread(first: int, last: int, count: int) -> list[int]:
    """So many whole numbers from first to last, both among them."""
    return sorted({first + round(i * (last - first) / (count - 1)) for i in range(count)})


@pytest.mark.slow
def test_killed_before_the_learning_and_after_it(bench: Bench) -> None:
    whole = bench.reference("grpo")
    folder = bench.case("around")
    run = bench.start(folder, "grpo", SETTING_UP[0])
    for moment in SETTING_UP[1:]:
        bench.resume(run, moment)
    assert newest(run) == 0
    for moment in ENDING:
        bench.resume(run, moment)
    bench.resume(run)
    require_equal(run, whole)


@pytest.mark.slow
def test_every_checkpoint_torn_starts_again(bench: Bench) -> None:
    whole = bench.reference("grpo")
    run = copied(bench, whole, "torn")
    for checkpoint in periodic(run / "checkpoints"):
        tear(run, checkpoint.name, WEIGHTS, 1000)
    said = bench.resume(run)
    assert "resumed    the start: there is no whole checkpoint" in said
    require_equal(run, whole)


@pytest.mark.slow
def test_a_named_checkpoint_is_gone_back_to_and_a_configuration_can_ask_for_it(bench: Bench) -> None:
    whole = bench.reference("grpo")
    run = copied(bench, whole, "named")
    earlier = periodic(run / "checkpoints")[0].name
    assert earlier != "iteration-000006"
    bench.resume(run, None, "--checkpoint", earlier)
    require_equal(run, whole)
    words = [*TINY, *ALGORITHMS["grpo"], f"runs={bench.case('configured')}", "name=grpo", "checkpoint.resume=latest"]
    for moment in (Moment("call", STEP, 4), None):  # the same command, typed twice
        bench.drive(["train", "--set", *words], moment)
    require_equal(bench.case("configured") / "grpo", whole)
    other = bench.drivers.run(["train", "--set", *words, "learner.lr=0.01"])
    assert other.code == 2
    assert "was started with other values of learner.lr" in other.output

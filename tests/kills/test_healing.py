"""Runners and judges that are killed or hang during a run: it finishes as if nothing had happened, or ends by name."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

from cluster import stages
from cluster.masking import learn
from cluster.session import NAMESPACE
from policies.rollouts import SamplingFailed
from rlcompress.config.files import load_config
from rlcompress.errors import JudgeUnavailable
from rlcompress.recording.directory import RunDirectory
from rlcompress.recording.ledger import discrepancies
from rlcompress.recording.publish import find_checkpoint
from rlcompress.recording.resuming import rewind
from tests.kills.equal import checkpoint, metrics, unequal
from tests.kills.tiny import GROUP, STEPS, TINY

pytestmark = pytest.mark.ray

SETTINGS = [
    *TINY,
    "judges.reward.steps=40",
    "checkpoint.validate_every=1",  # what happens between two steps is asked for after a validation
    "checkpoint.keep=9",
    "resources.env_runners=2",
    "resources.cpus_per_env_runner=0.5",
    "judges.reward.timeout=20",
]


@pytest.fixture(scope="module")
def folder(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("healing")


def started(folder: Path, name: str, *overrides: str) -> tuple[RunDirectory, stages.Prepared]:
    """A run that is ready to learn; data and judges are made once."""
    config = load_config(None, [*SETTINGS, *overrides, f"runs={folder}", f"name={name}"])
    prepared = stages.checked_data(config)
    run = RunDirectory.create(config)
    run.write_environment("the test")
    stages.judged(run, prepared)
    stages.starts(run, prepared)
    return run, prepared


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> RunDirectory:
    run, prepared = started(folder, "undisturbed")
    learn(run, prepared)
    return run


def require_equal(run: RunDirectory, other: RunDirectory) -> None:
    assert metrics(run.path) == metrics(other.path)
    assert run.samples.read_bytes() == other.samples.read_bytes()
    assert discrepancies(run.samples, GROUP) == []
    last, theirs = (find_checkpoint(one.checkpoints, "last") for one in (run, other))
    assert list(unequal("the last checkpoint", checkpoint(last), checkpoint(theirs))) == []


def processes(title: str) -> list[int]:
    """Processes of the Ray that this one started whose title begins so, e.g. `ray::JudgeService`, oldest first."""
    parents, titles = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            titles[int(entry.name)] = (entry / "cmdline").read_bytes().decode("utf-8", "replace")

    def is_ours(pid: int) -> bool:
        while pid in parents and pid != os.getpid():
            pid = parents[pid]
        return pid == os.getpid()

    return sorted(pid for pid, text in titles.items() if text.startswith(title) and is_ours(pid))


RUNNER, JUDGE = "ray::GroupRunner", "ray::JudgeService"


def send(title: str, sent: signal.Signals) -> None:
    found = processes(title)
    assert found, f"no process {title}"
    os.kill(found[-1], sent)


@contextlib.contextmanager
def woken(title: str) -> Iterator[None]:
    """Lets hung processes go on afterwards, so that they can end."""
    try:
        yield
    finally:
        for pid in processes(title):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def faults(happening: dict[int, Callable[[], None]]) -> Callable[[int, dict[str, float]], None]:
    def after(step: int, measured: dict[str, float]) -> None:
        happening.get(step, lambda: None)()

    return after


def test_a_killed_runner_a_killed_judge_and_a_hung_judge_change_nothing(
    folder: Path, undisturbed: RunDirectory
) -> None:
    run, prepared = started(folder, "disturbed")
    happening = {
        1: lambda: send(RUNNER, signal.SIGKILL),
        2: lambda: send(JUDGE, signal.SIGKILL),
        3: lambda: send(JUDGE, signal.SIGSTOP),
        4: lambda: [send(JUDGE, signal.SIGKILL), send(RUNNER, signal.SIGKILL)],
    }
    with woken(JUDGE):
        learn(run, prepared, on_validation=faults(happening))  # type: ignore[arg-type]
    require_equal(run, undisturbed)
    assert len(run.samples.read_text().splitlines()) == STEPS


def test_a_hung_runner_ends_the_run_by_name_and_it_can_be_resumed(folder: Path, undisturbed: RunDirectory) -> None:
    run, prepared = started(folder, "hung-runner", "resources.sample_timeout=10")
    began: list[float] = []

    def hang() -> None:
        began.append(time.monotonic())
        send(RUNNER, signal.SIGSTOP)

    with woken(RUNNER), pytest.raises(SamplingFailed, match=r"resources\.sample_timeout \(10 s\)"):
        learn(run, prepared, on_validation=faults({2: hang}))
    assert time.monotonic() - began[0] < 60
    learn(run, prepared, rewind(run))
    require_equal(run, undisturbed)


@pytest.mark.slow
def test_a_judge_that_hangs_and_may_not_be_replaced_ends_the_run_by_name(folder: Path) -> None:
    run, prepared = started(
        folder, "hung-judge", "resources.restarts=0", "judges.reward.timeout=15", "learner.refills=0"
    )
    began: list[float] = []

    def hang() -> None:
        began.append(time.monotonic())
        send(JUDGE, signal.SIGSTOP)

    with woken(JUDGE), pytest.raises((SamplingFailed, JudgeUnavailable), match=r"judges\.reward\.timeout"):
        learn(run, prepared, on_validation=faults({1: hang}))
    assert time.monotonic() - began[0] < 120
    assert discrepancies(run.samples, GROUP) == []


def test_no_judge_outlives_its_run(folder: Path, undisturbed: RunDirectory) -> None:
    deadline = time.monotonic() + 30
    while (left := [a for a in ray.util.list_named_actors(all_namespaces=True) if a["namespace"] == NAMESPACE]) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.2)
    assert left == []

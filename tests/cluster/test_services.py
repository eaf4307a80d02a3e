"""Judges as actors: shared, cached, restarted, patient, and never silent for longer than their timeout."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch

from cluster.services import JudgeService, RemoteJudge, start_judge, wait_until_ready
from cluster.session import NAMESPACE
from rlcompress.config.schema import JudgeConfig
from rlcompress.errors import UserError
from rlcompress.judges.build import load_judge
from rlcompress.models.tokenizer import load_tokenizer
from rlcompress.text.segment import Segmenter
from rlcompress.words import Judgement, JudgeRequest, Status
from tests.policies import planted
from tests.policies.conftest import same_weights

CONFIG = JudgeConfig(width=16, layers=1, window=32, chunk=8, cpus=0.5, timeout=60.0)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted.write_start(tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="module")
def folder(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judge that was never trained, which is as exact as any."""
    return planted.write_judge(tmp_path_factory.mktemp("judge"), start, CONFIG)


@pytest.fixture(scope="module")
def requests(start: Path) -> list[JudgeRequest]:
    segmenter, rng = Segmenter(load_tokenizer(str(start))), np.random.default_rng(0)
    units = [segmenter(example.text) for example in planted.examples(6)]
    return [JudgeRequest(u.text, u.starts_N, rng.random(len(u)) < 0.5) for u in units]


@contextlib.contextmanager
def served(name: str, folder: Path, restarts: int = 3) -> Iterator[RemoteJudge]:
    actor = start_judge(name, folder, CONFIG, "cpu", restarts)
    try:
        judge = RemoteJudge(name, CONFIG.timeout)
        wait_until_ready(judge)
        yield judge
    finally:
        ray.kill(actor)


@contextlib.contextmanager
def actor(name: str, service: type, *arguments: Any, **options: Any) -> Iterator[None]:
    """Any class in the place of the service."""
    handle = ray.remote(service).options(name=name, namespace=NAMESPACE, num_cpus=0, **options).remote(*arguments)
    try:
        yield
    finally:
        ray.kill(handle)


def scores(verdicts: Sequence[Judgement]) -> list[float]:
    assert all(verdict.status is Status.OK for verdict in verdicts)
    return [verdict.score for verdict in verdicts]


def test_the_service_needs_no_ray(folder: Path, requests: list[JudgeRequest]) -> None:
    threads = torch.get_num_threads()
    try:
        service = JudgeService(str(folder), threads=1, device="cpu")
        judge = load_judge(folder)
        assert service.version() == judge.version
        assert scores(service.judge(requests)) == scores(judge.judge(requests))
        assert scores(service.judge(requests[::-1])) == scores(judge.judge(requests))[::-1]
        stats = service.stats()
        assert 0 < stats.pop("seconds") < 60
        assert stats == {"calls": 2, "asked": 12, "computed": 6, "pid": os.getpid()}
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)


def test_a_client_travels_without_its_connection() -> None:
    judge = RemoteJudge("name", 3.0)
    judge._actor = object()
    copy = pickle.loads(pickle.dumps(judge))
    assert (copy.name, copy.timeout, copy._actor) == ("name", 3.0, None)


@pytest.mark.ray
def test_two_clients_share_one_judge_and_its_cache(
    ray_cluster: None, folder: Path, requests: list[JudgeRequest]
) -> None:
    with served("shared", folder) as judge:
        mine = scores(judge.judge(requests))
        ask = ray.remote(lambda client, asked: [verdict.score for verdict in client.judge(asked)])
        theirs = ray.get(ask.options(num_cpus=0).remote(judge, requests))
        assert mine == theirs == scores(load_judge(folder).judge(requests))
        stats = judge.stats()
        assert (stats["calls"], stats["asked"], stats["computed"], stats["restarts"]) == (2, 12, 6, 0)
        assert stats["pid"] != os.getpid()
        assert judge.version == load_judge(folder).version
        start_judge("shared", folder, CONFIG, "cpu", 3)  # found, not started again
        assert judge.stats()["pid"] == stats["pid"]


@pytest.mark.ray
def test_a_killed_judge_comes_back_and_is_counted(
    ray_cluster: None, folder: Path, requests: list[JudgeRequest]
) -> None:
    with served("killed", folder) as judge:
        before, pid = scores(judge.judge(requests)), judge.stats()["pid"]
        for _ in range(2):
            os.kill(judge.stats()["pid"], signal.SIGKILL)
            started = time.monotonic()
            assert scores(judge.judge(requests)) == before
            assert time.monotonic() - started < 20
        stats = judge.stats()
        assert stats["restarts"] == 2
        assert stats["pid"] != pid


@pytest.mark.ray
def test_a_judge_that_is_killed_again_and_again_loses_no_step_of_the_training(
    ray_cluster: None, folder: Path, start: Path
) -> None:
    def learn(judge: RemoteJudge, kills: int) -> tuple[dict[str, Any], dict[str, float]]:
        algorithm = planted.build(start, judge="remote", judge_name=judge.name, runners=1)
        stop = threading.Event()

        def kill() -> None:
            for _ in range(kills):
                stop.wait(0.3)
                os.kill(judge.stats()["pid"], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        try:
            killer.start()
            while algorithm.iteration < 4 or (killer.is_alive() and algorithm.iteration < 40):
                algorithm.train()
                assert algorithm.last_metrics["samples/ok"] >= 8 * 4
                assert "samples/judge_failed" not in algorithm.last_metrics
                if algorithm.iteration == 4:
                    state = algorithm.weights(), algorithm.last_metrics
            killer.join()
            return state
        finally:
            stop.set()
            algorithm.stop()

    with served("undisturbed", folder) as judge:
        weights, metrics = learn(judge, kills=0)
    with served("hunted", folder) as judge:
        hunted, hunted_metrics = learn(judge, kills=2)
        assert judge.stats()["restarts"] == 2
    assert same_weights(weights, hunted)
    assert metrics["reward/mean"] == hunted_metrics["reward/mean"]


class DiesInACall:
    def __init__(self, marker: str) -> None:
        self.marker = Path(marker)

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        if not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return [Judgement(1.0) for _ in requests]


class Hangs:
    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        time.sleep(30)
        return []


class Raises:
    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        raise ZeroDivisionError("a bug in the judge")


@pytest.mark.ray
def test_a_call_that_was_under_way_is_asked_again(
    ray_cluster: None, requests: list[JudgeRequest], tmp_path: Path
) -> None:
    with actor("dies in a call", DiesInACall, str(tmp_path / "marker"), max_restarts=1):
        assert scores(RemoteJudge("dies in a call", 60.0).judge(requests)) == [1.0] * 6
    assert (tmp_path / "marker").exists()


@pytest.mark.ray
def test_a_hanging_judge_fails_by_name_and_in_time(ray_cluster: None, requests: list[JudgeRequest]) -> None:
    with actor("hangs", Hangs):
        started = time.monotonic()
        verdicts = RemoteJudge("hangs", 1.0).judge(requests)
        assert 1.9 < time.monotonic() - started < 20, "asked, replaced, asked again: 1 s each; it would take 30 s"
    assert [verdict.status for verdict in verdicts] == [Status.JUDGE_FAILED] * 6
    assert verdicts[0].detail["why"] == "judge 'hangs' gave no answer to judge within 1 s (judges.reward.timeout)"
    assert np.isnan(verdicts[0].score)


@pytest.mark.ray
def test_a_judge_that_is_gone_for_good_fails_in_time(ray_cluster: None, requests: list[JudgeRequest]) -> None:
    started = time.monotonic()
    assert RemoteJudge("nobody", 1.0).judge(requests)[0].status is Status.JUDGE_FAILED
    assert time.monotonic() - started < 5
    with pytest.raises(UserError, match="judge 'nobody' gave no answer to version within 1 s"):
        wait_until_ready(RemoteJudge("nobody", 1.0))


@pytest.mark.ray
def test_a_bug_in_a_judge_is_raised_not_waited_for(ray_cluster: None, requests: list[JudgeRequest]) -> None:
    with actor("raises", Raises):
        started = time.monotonic()
        with pytest.raises(ZeroDivisionError, match="a bug in the judge"):
            RemoteJudge("raises", 60.0).judge(requests)
        assert time.monotonic() - started < 20


@pytest.mark.ray
def test_a_judge_that_cannot_start_says_why_at_once(ray_cluster: None, tmp_path: Path) -> None:
    started = time.monotonic()
    said = r"judge 'broken' cannot start: .*no judge in .*train the run first"
    with pytest.raises(UserError, match=said), served("broken", tmp_path / "nothing"):
        pass
    assert time.monotonic() - started < 30

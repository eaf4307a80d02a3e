"""Texts rewritten as they are served, by the runners of an algorithm: no process holds one model more for it."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence

import numpy as np
from ray.rllib.algorithms.algorithm import Algorithm

from policies.rollouts import PAUSE, SamplingFailed
from policies.text_runner import TextRunner


def rewritten_by_runners(
    algorithm: Algorithm, texts: Sequence[str], rates: Sequence[float], timeout: float
) -> list[str]:
    """Each text as the policy rewrites it with the weights that the runners have, whichever of them does it.

    Raises:
        SamplingFailed: not all were rewritten within `timeout` seconds.
    """
    group = algorithm.env_runner_group
    if group.num_remote_env_runners() == 0:
        local: TextRunner = group.local_env_runner
        return local.rewrite(texts, rates)
    parts = np.array_split(np.arange(len(texts)), group.num_remote_env_runners())
    waiting = {int(part[0]): part.tolist() for part in parts if len(part)}
    found: dict[int, str] = {}
    deadline = time.monotonic() + timeout
    while waiting:
        if time.monotonic() > deadline:
            missing = len(texts) - len(found)
            raise SamplingFailed(
                f"{missing} of {len(texts)} texts were not rewritten within resources.sample_timeout ({timeout:g} s)"
            )
        runners = group.healthy_env_runner_ids()[: len(waiting)]
        asked = [
            functools.partial(_rewrite, part=part, texts=[texts[i] for i in part], rates=[rates[i] for i in part])
            for part in list(waiting.values())[: len(runners)]
        ]
        answers: list[tuple[list[int], list[str]]] = []
        if runners:
            answers = group.foreach_env_runner(
                asked,
                local_env_runner=False,
                remote_worker_ids=runners,
                timeout_seconds=max(1.0, deadline - time.monotonic()),
            )
        for part, rewrites in answers:
            del waiting[part[0]]
            found.update(zip(part, rewrites, strict=True))
        if waiting and not algorithm.restore_env_runners(group):
            time.sleep(PAUSE)
    return [found[i] for i in range(len(texts))]


def _rewrite(runner: TextRunner, part: list[int], texts: list[str], rates: list[float]) -> tuple[list[int], list[str]]:
    return part, runner.rewrite(texts, rates)

"""What a run needs and where it goes: printed before anything starts, refused in a second when it cannot fit."""

from __future__ import annotations

from dataclasses import dataclass

import ray

from cluster.reading import wanted
from rlcompress.config.families import AnyRun
from rlcompress.config.rewriting_run import RewritingRun
from rlcompress.config.schema import RunConfig
from rlcompress.errors import ResourceShortage
from rlcompress.machine import hardware


@dataclass(frozen=True, slots=True)
class Seat:
    """One kind of process with its Ray resources."""

    name: str
    count: int
    cpus: float
    gpus: float


def seats(config: AnyRun) -> list[Seat]:
    """Every process that training holds at the same time."""
    resources, learner = config.resources, config.learner
    return [
        Seat("driver", 1, resources.cpus_for_driver, 0.0 if learner.learners else learner.gpus_per_learner),
        *(_judges(config) if isinstance(config, RunConfig) else [_evaluator(config)]),
        Seat("env runner", resources.env_runners, resources.cpus_per_env_runner, resources.gpus_per_env_runner),
        Seat("learner", learner.learners, 1.0, learner.gpus_per_learner),
    ]


def _judges(config: RunConfig) -> list[Seat]:
    judge, reader = config.judges.reward, config.judges.reader
    return [
        Seat("reward judge", 0 if judge.silent else 1, judge.cpus, judge.gpus),
        Seat("reader", 1 if wanted(config) else 0, reader.cpus, reader.gpus),
    ]


def _evaluator(config: RewritingRun) -> Seat:
    return Seat("evaluator", 1, config.evaluator.cpus, config.evaluator.gpus)


def needed(config: AnyRun) -> tuple[float, float]:
    """Ray CPUs and GPUs of the whole run."""
    plan = seats(config)
    return sum(s.count * s.cpus for s in plan), sum(s.count * s.gpus for s in plan)


def describe(config: AnyRun) -> str:
    """The plan as a table."""
    lines = [f"{'process':<14}{'count':>6}{'CPUs each':>11}{'GPUs each':>11}"]
    lines += [f"{s.name:<14}{s.count:>6}{s.cpus:>11g}{s.gpus:>11g}" for s in seats(config) if s.count]
    cpus, gpus = needed(config)
    return "\n".join([*lines, f"{'in all':<14}{'':>6}{cpus:>11g}{gpus:>11g}"])


def available() -> tuple[float, float]:
    """CPUs and GPUs of the cluster, or of this machine while Ray is not up."""
    if ray.is_initialized():
        total = ray.cluster_resources()
        return total.get("CPU", 0.0), total.get("GPU", 0.0)
    return float(hardware.cores()), float(len(hardware.graphics_cards()))


def require(config: AnyRun) -> None:
    """Refuse a run that the cluster can never hold, instead of waiting for it.

    Raises:
        ResourceShortage: with needed and available beside each other.
    """
    (cpus, gpus), (have_cpus, have_gpus) = needed(config), available()
    if cpus > have_cpus + 1e-9:
        mend = "lower resources.env_runners or resources.cpus_per_env_runner"
    elif gpus > have_gpus + 1e-9:
        asked = "judges.reward.gpus (--profile cpu)" if isinstance(config, RunConfig) else "evaluator.gpus"
        mend = f"lower learner.gpus_per_learner, resources.gpus_per_env_runner or {asked}"
    else:
        return
    raise ResourceShortage(
        f"the run needs {cpus:g} CPUs and {gpus:g} GPUs, the cluster has {have_cpus:g} and {have_gpus:g}: {mend}, "
        f"or add nodes\n{describe(config)}"
    )

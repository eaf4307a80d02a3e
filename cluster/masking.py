"""A run of masking: judges, a warm start, GRPO or PPO across Ray actors, evaluation. Read it top to bottom."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import ray
import torch

from cluster import reading as readers
from cluster import stages
from cluster.assembly import build_algorithm
from cluster.evaluating import evaluate_run
from cluster.live import Cotraining, put_back, start_live
from cluster.loop import OnValidation, iterate
from cluster.services import RemoteJudge, start_judge, wait_until_ready
from cluster.validation import Validation
from policies.algorithm import CompressorAlgorithm
from rlcompress.artifact import load_scorer
from rlcompress.compressor import Compressor
from rlcompress.data.dataset import split_tokens
from rlcompress.judges.silent import SilentJudge
from rlcompress.machine.device import choose_device
from rlcompress.models.scorer import TextScorer
from rlcompress.recording.directory import RunDirectory
from rlcompress.recording.meters import Meter, memory
from rlcompress.recording.resuming import Rewound

START = "warm_start"
checked_data = stages.checked_data
finish = evaluate_run


def before_learning(run: RunDirectory, prepared: stages.Prepared) -> None:
    """Judges that read, questions that are told, and the policies that learning starts from."""
    started = time.monotonic()
    gains = stages.judged(run, prepared)
    saved = ", ".join(f"{role} {gain:.1%}" for role, gain in gains.items())
    if gains:
        print(
            f"judges     bits saved by reading the kept text: {saved}  ({time.monotonic() - started:.0f} s)", flush=True
        )
    started = time.monotonic()
    if rows := stages.told(run, prepared):
        print(f"questions  told of the words of {rows} rows  ({time.monotonic() - started:.0f} s)", flush=True)
    started = time.monotonic()
    for name, losses in stages.starts(run, prepared).items():
        seconds = time.monotonic() - started
        name = name.replace("_", " ")
        print(f"{name:<10} {losses[0]:.3f} -> {losses[-1]:.3f} nats a draw  ({seconds:.0f} s)", flush=True)


def learn(
    run: RunDirectory,
    prepared: stages.Prepared,
    rewound: Rewound | None = None,
    *,
    on_validation: OnValidation | None = None,
) -> None:
    """The reinforcement learning of a run whose judges and warm start lie in its folder.

    `rewound` is where an interrupted run goes on; None begins. `on_validation(iteration, metrics)` is called after each
    validation; what it raises ends the learning.
    """
    config = run.config
    job = ray.get_runtime_context().get_job_id()  # a killed driver's judge may still be ending under its own name
    name = f"{config.name}-reward-{run.path.resolve()}-{job}"
    judge = SilentJudge() if config.judges.reward.silent else RemoteJudge(name, config.judges.reward.timeout)
    cotraining = Cotraining(run, prepared, name) if config.cotrain.steps else None
    actor = reader = reader_actor = None
    if cotraining is not None:
        put_back(run, None if rewound is None else rewound.checkpoint)
        actor = start_live(name, run, prepared.folder)
    elif isinstance(judge, RemoteJudge):
        actor = start_judge(name, run.judges / "reward", config.judges.reward, config.device, config.resources.restarts)
    if readers.wanted(config):
        reader, reader_actor = readers.start_reader(f"{config.name}-reader-{run.path.resolve()}-{job}", run)
    algorithm: CompressorAlgorithm[Any] | None = None
    try:
        for asked in (judge, reader):
            if isinstance(asked, RemoteJudge):
                wait_until_ready(asked)
        prompts = prepared.manifest.splits["train"].rows
        algorithm = build_algorithm(config, prepared.folder, prompts, judge, run.path / "warm_start", reader)
        if rewound is not None:
            print(f"resumed    {rewound}", flush=True)
            if rewound.checkpoint is not None:
                algorithm.restore_from_path(str(rewound.checkpoint.resolve()))
        after = None if rewound is None else rewound.step
        course = MaskingCourse(run, prepared, algorithm, judge, cotraining, reader, after)
        iterate(run, course, after, on_validation)
    finally:
        if algorithm is not None:
            algorithm.stop()
        for started in (actor, reader_actor):
            if started is not None:
                ray.kill(started)


class MaskingCourse:
    """Validation with a scorer in the driver, the barrier of a live judge, what it all cost."""

    def __init__(
        self,
        run: RunDirectory,
        prepared: stages.Prepared,
        algorithm: CompressorAlgorithm[Any],
        judge: RemoteJudge | SilentJudge,
        cotraining: Cotraining | None,
        reader: RemoteJudge | None,
        after: int | None,
    ) -> None:
        self.run, self.prepared, self.algorithm = run, prepared, algorithm
        self.judge, self.cotraining = judge, cotraining
        self.scorer = policy_scorer(run, prepared)
        asked = judge if cotraining is None else cotraining.frozen
        live = None if cotraining is None else cotraining.live
        self.validation = Validation(run, prepared, asked, until=after, live=live, reader=reader)
        self.validated = self.validation.validated
        self.meter = Meter(split_tokens(prepared.folder, "train"), run.config.env.steps)

    def after_iteration(self, step: int, began: float) -> dict[str, float]:
        rollout = self.algorithm.last_rollout
        metrics = {} if self.cotraining is None else self.cotraining.barrier(step, rollout)
        metrics.update(self.meter.speeds(time.perf_counter() - began, rollout))
        metrics.update({**self.meter.judged(self.judge.stats()), **memory(self.algorithm.rollouts.resident)})
        return metrics

    def validate(self, step: int) -> dict[str, float]:
        if step:
            load_policy(self.algorithm, self.scorer)
        metrics = self.validation.measure(step, self.scorer)
        if step:
            stats = self.judge.stats()
            self.meter.judged(stats)  # what the validation asked is in no figure of an iteration
            metrics.update({f"judge/{name}": float(value) for name, value in stats.items() if name != "pid"})
        return metrics

    def watch(self, step: int, metrics: dict[str, float], after_validation: bool) -> dict[str, float]:
        return self.validation.watch.record(step, metrics, after_validation)

    def save(self, folder: Path) -> None:
        if self.cotraining is not None:
            self.cotraining.save(folder)

    def export(self) -> None:
        load_policy(self.algorithm, self.scorer)
        iteration = self.algorithm.iteration
        stages.export(self.run, self.prepared, self.scorer, self.run.artifact, stage="rl", iteration=iteration)


def policy_scorer(run: RunDirectory, prepared: stages.Prepared) -> TextScorer:
    """A scorer in the driver for validation and export; its weights are set by `load_policy`."""
    return load_scorer(run.path / "warm_start", choose_device(run.config.device))[1]


def load_policy(algorithm: CompressorAlgorithm[Any], scorer: TextScorer) -> None:
    """Copy what the learner would serve into the scorer."""
    prefix = "network."
    state = {
        k.removeprefix(prefix): torch.as_tensor(v)
        for k, v in algorithm.served_weights().items()
        if k.startswith(prefix)
    }
    scorer.network.load_state_dict(state)


def sample(run: RunDirectory, prepared: stages.Prepared) -> None:
    """Prints what was learned on one held-out text."""
    text = prepared.examples("test")[0].text
    compressed = Compressor.from_pretrained(run.artifact, run.config.device).compress(text, 0.5)
    print(f"\nbefore     {text}\nafter      {compressed.text}")
    print(f"           ({compressed.kept_tokens} of {compressed.original_tokens} tokens)\n")

"""The driver: data, judges, warm start, GRPO across Ray actors, evaluation, report. Read it top to bottom."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
import torch

from cluster import placement, stages
from cluster import reading as readers
from cluster.assembly import build_algorithm
from cluster.evaluating import evaluate_run, report
from cluster.live import Cotraining, put_back, start_live
from cluster.services import RemoteJudge, start_judge, wait_until_ready
from cluster.session import cluster_address, ray_session
from cluster.validation import Validation
from policies.algorithm import CompressorAlgorithm
from rlcompress.artifact import load_scorer
from rlcompress.compressor import Compressor
from rlcompress.config.schema import RunConfig
from rlcompress.data.dataset import split_tokens
from rlcompress.judges.silent import SilentJudge
from rlcompress.machine.device import choose_device
from rlcompress.models.scorer import TextScorer
from rlcompress.recording.directory import RunDirectory, free_path, interrupted
from rlcompress.recording.ledger import Ledger
from rlcompress.recording.meters import Meter, memory
from rlcompress.recording.progress import Progress
from rlcompress.recording.publish import checkpoint_name, find_checkpoint, point, publishing, rotate
from rlcompress.recording.resuming import COST, FROM_THE_START, VALIDATION, Rewound, rewind
from rlcompress.recording.tracking import Tracker

log = logging.getLogger(__name__)


def train(
    config: RunConfig | None,
    *,
    command: str = "",
    resume: str | Path | None = None,
    checkpoint: str = "latest",
    overwrite: bool = False,
) -> RunDirectory:
    """Train a compressor, evaluate it on held-out text and write the report.

    Args:
        config: a whole run; None with `resume`, which brings its own. With `checkpoint.resume` it goes on with the run
            of its name where there is one.
        command: what the user typed, for the record.
        resume: a run directory to continue, at whatever moment it was interrupted.
        checkpoint: with `resume`, where it goes on: `latest` is the newest whole one, and the start where there is
            none; `iteration-000050`, `best` or `last` go back to that one, and what came later is dropped.
        overwrite: replace an earlier run of the same name.

    Raises:
        UserError: a mistake in the configuration, the data or the resources.
    """
    if resume is None and config is not None and config.checkpoint.resume is not None and not overwrite:
        resume, checkpoint = interrupted(config), config.checkpoint.resume
    config = config if resume is None else RunDirectory.open(resume).config
    assert config is not None, "a run needs a configuration"
    with _started(config, command, overwrite=overwrite, resume=resume) as (run, prepared):
        print(placement.describe(config), flush=True)
        rewound = None if resume is None else rewind(run, checkpoint)
        _before_learning(run, prepared)
        learn(run, prepared, rewound)
        evaluate_run(run, prepared)
        page = report(run)
    _say_goodbye(run, prepared, page)
    return run


def sft(config: RunConfig, *, command: str = "", overwrite: bool = False) -> RunDirectory:
    """The stages before learning alone: judges and the imitated warm start, saved as an artifact."""
    with _started(config, command, overwrite=overwrite) as (run, prepared):
        _before_learning(run, prepared)
    print(f"artifact   {run.path / 'warm_start'}")
    return run


@contextlib.contextmanager
def _started(
    config: RunConfig, command: str, *, overwrite: bool, resume: str | Path | None = None
) -> Iterator[tuple[RunDirectory, stages.Prepared]]:
    """Ray, a run directory and its data. No directory is made before all else is known to be good."""
    if resume is None:
        free_path(config, overwrite=overwrite)
    if cluster_address(config) is None:
        placement.require(config)  # this machine's own cores and cards are known before Ray is up
    prepared = stages.checked_data(config)
    with ray_session(config):
        placement.require(config)
        run = RunDirectory.create(config, overwrite=overwrite) if resume is None else RunDirectory.open(resume)
        run.require_data(prepared.manifest.hash)
        with run.recording():
            run.write_environment(command, prepared.manifest.hash)
            yield run, prepared


def _before_learning(run: RunDirectory, prepared: stages.Prepared) -> None:
    counts = ", ".join(f"{c.rows} {name}" for name, c in prepared.manifest.splits.items())
    print(f"data       {run.config.data.source}: {counts} rows", flush=True)
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


def _say_goodbye(run: RunDirectory, prepared: stages.Prepared, page: Path) -> None:
    """A sample of what was learned, where everything lies, and what to type next."""
    sample = prepared.examples("test")[0].text
    compressed = Compressor.from_pretrained(run.artifact, run.config.device).compress(sample, 0.5)
    print(f"\nbefore     {sample}\nafter      {compressed.text}")
    print(f"           ({compressed.kept_tokens} of {compressed.original_tokens} tokens)\n")
    print(f"report     {page}\nartifact   {run.artifact}")
    print(f"next       python -m rlcompress compress {run.path} --rate 0.5 < prompt.txt")


SHOWN = ("reward/mean", VALIDATION, COST)
OnValidation = Callable[[int, dict[str, float]], None]


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
        _loop(run, prepared, algorithm, judge, cotraining, reader, after, on_validation)
    finally:
        if algorithm is not None:
            algorithm.stop()
        for started in (actor, reader_actor):
            if started is not None:
                ray.kill(started)


def _loop(
    run: RunDirectory,
    prepared: stages.Prepared,
    algorithm: CompressorAlgorithm[Any],
    judge: RemoteJudge | SilentJudge,
    cotraining: Cotraining | None,
    reader: RemoteJudge | None,
    after: int | None,
    on_validation: OnValidation | None,
) -> None:
    """Iterations, each one logged before its checkpoint is written; then the best checkpoint becomes the artifact."""
    config = run.config
    scorer = policy_scorer(run, prepared)
    progress = Progress(config.learner.iterations, every=10, start=algorithm.iteration)
    if cotraining is None:
        validation = Validation(run, prepared, judge, until=after, reader=reader)
    else:
        validation = Validation(run, prepared, cotraining.frozen, until=after, live=cotraining.live, reader=reader)
    meter = Meter(split_tokens(prepared.folder, "train"), config.env.steps)
    with (
        Tracker(config.tracking, run.path, config.name, after=after) as tracker,
        contextlib.closing(Ledger(run.samples, after=after)) as ledger,
    ):
        if after is None or after == FROM_THE_START:
            tracker.log(0, validation.measure(0, scorer))
            tracker.sync()
            _checkpoint(run, algorithm, cotraining, best=True)
        while algorithm.iteration < config.learner.iterations and not validation.patience_is_over():
            began = time.perf_counter()
            algorithm.train()
            step, metrics = algorithm.iteration, dict(algorithm.last_metrics)
            if cotraining is not None:
                metrics.update(cotraining.barrier(step, algorithm.last_rollout))
            metrics.update(meter.speeds(time.perf_counter() - began, algorithm.last_rollout))
            metrics.update({**meter.judged(judge.stats()), **memory(algorithm.rollouts.resident)})
            validated = step % config.checkpoint.validate_every == 0 or step == config.learner.iterations
            if validated:
                load_policy(algorithm, scorer)
                metrics.update(validation.measure(step, scorer))
                stats = judge.stats()
                meter.judged(stats)  # what the validation asked is in no figure of an iteration
                metrics.update({f"judge/{name}": float(value) for name, value in stats.items() if name != "pid"})
            metrics.update(validation.watch.record(step, metrics, validated))
            ledger.write(step, algorithm.last_rollout)
            tracker.log(step, metrics)
            progress.update(step, {k: metrics[k] for k in SHOWN if k in metrics})
            best = validated and validation.best == step
            stop = validated and validation.patience_is_over()
            if step % config.checkpoint.every == 0 or step == config.learner.iterations or best or stop:
                ledger.sync()
                tracker.sync()
                _checkpoint(run, algorithm, cotraining, best=best)
            if validated and on_validation is not None:
                on_validation(step, metrics)
            if stop:
                print(f"stopped    no improvement in {config.checkpoint.patience} validations", flush=True)
    best_checkpoint = find_checkpoint(run.checkpoints, "best")
    algorithm.restore_from_path(str(best_checkpoint.resolve()))
    load_policy(algorithm, scorer)
    stages.export(run, prepared, scorer, run.artifact, stage="rl", iteration=algorithm.iteration)


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


def _checkpoint(
    run: RunDirectory, algorithm: CompressorAlgorithm[Any], cotraining: Cotraining | None, best: bool
) -> None:
    name = checkpoint_name(algorithm.iteration)
    with publishing(run.checkpoints / name) as folder:
        algorithm.save_to_path(str(folder.resolve()))
        if cotraining is not None:
            cotraining.save(folder)
    point(run.checkpoints, "last", name)
    if best:
        point(run.checkpoints, "best", name)
    rotate(run.checkpoints, run.config.checkpoint.keep)

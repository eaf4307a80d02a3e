"""`rlcompress tune`: one ASHA search over the configuration of a run, by the distortion that validation measures."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ray import tune as ray_tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator

from cluster import placement, stages
from cluster.judges import ready_judges
from cluster.search import configured, domains
from cluster.session import ray_session
from rlcompress.config.files import dump_yaml
from rlcompress.config.schema import RunConfig
from rlcompress.errors import UserError
from rlcompress.recording.directory import RunDirectory
from rlcompress.recording.publish import write_atomically

_NO_CPU = 0.001  # a bundle may not be empty
METRIC = "validation/distortion_bits"
OnValidation = Callable[[int, dict[str, float]], None]
Objective = Callable[[RunConfig, OnValidation], None]


@dataclass(slots=True)
class Trial:
    """One point of the search. `metric` is the least distortion at any validation; None before the first."""

    name: str
    params: dict[str, Any]
    metric: float | None = None
    iterations: int = 0  # validations
    status: Literal["running", "finished", "stopped", "failed", "interrupted"] = "running"
    error: str = ""


@dataclass(frozen=True, slots=True)
class TuneResult:
    """What a search found; `results` and `best_config` are the files that say so."""

    best: Trial
    trials: list[Trial]
    results: Path
    best_config: Path

    def __str__(self) -> str:
        params = " ".join(f"{key}={value:.4g}" for key, value in self.best.params.items())
        return (
            f"best       {self.best.name}: {METRIC} {self.best.metric:.4f} with {params}\n"
            f"results    {self.results}\nnext       python -m rlcompress train {self.best_config}"
        )


@dataclass(frozen=True, slots=True)
class Learn:
    """The objective of a real search: a whole learning run. Data and judges are those of `shared`, made once."""

    shared: RunConfig
    prepared: stages.Prepared

    def __call__(self, config: RunConfig, report: OnValidation) -> None:
        from cluster.masking import learn  # late: RLlib takes seconds, and only this process needs it

        run = RunDirectory.create(config)
        with run.recording():
            ready_judges(self.shared, self.prepared.folder, self.prepared.manifest.hash, run.judges)
            stages.starts(run, self.prepared)
            learn(run, self.prepared, on_validation=report)


def tune(config: RunConfig, *, out: Path | str | None = None, objective: Objective | None = None) -> TuneResult:
    """Try `tune.trials` points of `tune.space`; write `out/results.json` and a runnable `out/best_config.yaml`.

    Args:
        config: the run that is varied.
        out: a new folder, by default `<runs>/<name>-search`; runs of the trials lie in its `trials/`.
        objective: what a trial does instead of learning; it reports `{METRIC: bits}` after each validation.

    Raises:
        UserError: a wrong space, a trial that the cluster cannot hold, or no trial that was ever validated.
        KeyboardInterrupt: after Ctrl-C, once the results so far are written.
    """
    space = domains(config)
    folder = Path(out or Path(config.runs) / f"{config.name}-search").resolve()
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: choose another --out")
    with ray_session(config):
        placement.require(config)
        objective = objective or _learning(config, folder)
        watch = _run_trials(config, space, folder, objective)
    return conclude(config, folder, list(watch.trials.values()))


def _learning(config: RunConfig, folder: Path) -> Learn:
    """Data and judges, before the first trial wants them: trials find them in the cache."""
    shared = config.model_copy(update={"runs": str(Path(config.runs).resolve())})
    prepared = stages.prepared_data(shared)
    ready_judges(shared, prepared.folder, prepared.manifest.hash, folder / "judges")
    return Learn(shared, prepared)


def _run_trials(config: RunConfig, space: dict[str, Any], folder: Path, objective: Objective) -> _Watch:
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"  # relative paths of the configuration mean the same in a trial
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # every trial has a run directory with its own curves
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # verbose=0 is silent only without it
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # _Watch says what happens; tracebacks lie in error.txt
    validations = math.ceil(config.learner.iterations / config.checkpoint.validate_every)
    watch = _Watch(validations)
    trainable = ray_tune.with_parameters(_trial, config=config, objective=objective, folder=folder / "trials")
    tuner = ray_tune.Tuner(
        ray_tune.with_resources(trainable, ray_tune.PlacementGroupFactory(_bundles(config))),
        param_space=space,
        tune_config=ray_tune.TuneConfig(
            metric=METRIC,
            mode="min",
            num_samples=config.tune.trials,
            search_alg=BasicVariantGenerator(random_state=config.seed, max_concurrent=_concurrent(config)),
            scheduler=ASHAScheduler(
                # One more than there are: a trial that came to its last validation is left to save what it learned.
                max_t=validations + 1,
                grace_period=min(config.tune.grace, validations),
                reduction_factor=config.tune.reduction,
            ),
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=ray_tune.RunConfig(name="ray", storage_path=str(folder), verbose=0, callbacks=[watch]),
    )
    tuner.fit()
    return watch


def _trial(params: dict[str, Any], *, config: RunConfig, objective: Objective, folder: Path) -> None:
    name = ray_tune.get_context().get_trial_name()
    objective(configured(config, params, name=name, runs=str(folder)), lambda _, metrics: ray_tune.report(metrics))


def _bundles(config: RunConfig) -> list[dict[str, float]]:
    """The seats of one run, in the order that decides who sits where.

    The trial's own process takes the first bundle, RLlib puts env runner i into bundle i, the judge takes the last.
    """
    driver, judge, *others = [
        {"CPU": seat.cpus or _NO_CPU, "GPU": seat.gpus} for seat in placement.seats(config) for _ in range(seat.count)
    ]
    return [driver, *others, judge]


def _concurrent(config: RunConfig) -> int:
    """As many trials at once as asked for and as fit: the others would wait for their placement without a word."""
    pairs = zip(placement.available(), placement.needed(config), strict=True)
    fitting = min((int(have / need + 1e-9) for have, need in pairs if need), default=config.tune.concurrent)
    if fitting < config.tune.concurrent:
        print(f"trials     {fitting} at once, tune.concurrent={config.tune.concurrent} do not fit", flush=True)
    return min(fitting, config.tune.concurrent)


def _name(trial: Any) -> str:
    return f"trial-{trial.trial_id.rpartition('_')[2]}"


class _Watch(ray_tune.Callback):
    """Keeps account of all trials in the driver, and prints a line a validation."""

    def __init__(self, validations: int) -> None:
        self.validations = validations
        self.trials: dict[str, Trial] = {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name = _name(trial)
        self.trials[name] = Trial(name, dict(trial.config))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        known, value = self.trials[_name(trial)], float(result[METRIC])
        known.iterations += 1
        if math.isfinite(value):
            known.metric = value if known.metric is None else min(known.metric, value)
        params = " ".join(f"{key}={drawn}" for key, drawn in known.params.items())
        print(f"{known.name}  validation {known.iterations}  {METRIC} {value:.4f}  {params}", flush=True)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        known = self.trials[_name(trial)]
        known.status = "finished" if known.iterations >= self.validations else "stopped"

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        known = self.trials[_name(trial)]
        known.status = "failed"
        known.error = Path(trial.error_file).read_text(encoding="utf-8").strip().splitlines()[-1]
        print(f"{known.name}  failed: {known.error}", flush=True)


def conclude(config: RunConfig, folder: Path, trials: list[Trial]) -> TuneResult:
    """Write the files of a search; raises as `tune` does."""
    for trial in trials:
        if trial.status == "running":
            trial.status = "interrupted"
        run = folder / "trials" / trial.name
        if trial.status in ("stopped", "interrupted") and (run / "config.yaml").is_file():
            # Its process was ended from outside and could not say so itself.
            RunDirectory.open(run).mark("finished", f"{trial.status} by the search")
    measured = [trial for trial in trials if trial.metric is not None and trial.status != "failed"]
    best = min(measured, key=lambda trial: trial.metric or 0.0, default=None)
    results = folder / "results.json"
    record = {
        "metric": METRIC,
        "mode": "min",
        "space": config.tune.space,
        "seed": config.seed,
        "best": best.name if best else None,
        "trials": [asdict(trial) for trial in trials],
    }
    write_atomically(results, json.dumps(record, indent=1) + "\n")
    if best is not None:
        best_config = folder / "best_config.yaml"
        write_atomically(best_config, dump_yaml(configured(config, best.params, name=f"{config.name}-best")))
    if any(trial.status == "interrupted" for trial in trials):
        raise KeyboardInterrupt
    if best is None:
        first = trials[0].error if trials else "none started"
        raise UserError(f"no trial came to a validation ({first}): see {results}")
    return TuneResult(best, trials, results, best_config)

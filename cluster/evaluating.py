"""Evaluation of a run or artifact on held-out text: the Compressor that serves, against every baseline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cluster import stages
from cluster.asking import baseline_methods
from cluster.judges import ready_judges
from cluster.measuring import Bench, measured
from cluster.probing import probes, with_original
from cluster.rewriting_evaluation import evaluate as evaluate_rewriting_run
from cluster.session import ray_session
from rlcompress.artifact import read_manifest
from rlcompress.baselines import BASELINES, Method, require_baselines
from rlcompress.compressor import Compressor, CompressorMethod
from rlcompress.config.rewriting_run import RewritingRun
from rlcompress.config.schema import EvaluateConfig, RunConfig
from rlcompress.data.dataset import trained_hashes
from rlcompress.data.readers import read_rows
from rlcompress.errors import UserError
from rlcompress.judges.build import judge_from_name, load_judge
from rlcompress.judges.reconstruction import ReconstructionJudge
from rlcompress.judges.silent import SilentJudge
from rlcompress.measuring.evaluation import refuse_trained
from rlcompress.recording.directory import RunDirectory, find_artifact, open_run
from rlcompress.reporting.report import write_report
from rlcompress.words import Example


def evaluate(
    target: str | Path,
    data: str | None = None,
    rates: Sequence[float] | None = None,
    seeds: int | None = None,
    judge: str | None = None,
    out: str | Path | None = None,
    methods: Sequence[str] | None = None,
    skip_trained: bool = False,
    slices: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    reader: str | None = None,
) -> Path:
    """Evaluate a run, or an artifact alone, on its held-out split or on a file; returns the folder of the results.

    Args:
        target: a run directory or an artifact folder. A run that rewrites has an evaluation of its own kind, for which
            `judge`, `slices`, `metrics` and `reader` mean nothing.
        data: a file that `read_rows` understands; None takes the run's test split.
        rates: instead of `evaluate.rates`.
        seeds: instead of `evaluate.seeds`.
        judge: a judge or model folder, or a hub id; None takes the run's `judges/heldout`.
        out: where results go; None is `evaluation/` of the run, or `evaluation-NAME/` for a file.
        methods: instead of `evaluate.methods`.
        skip_trained: drop rows that were trained on instead of refusing.
        slices: instead of `evaluate.slices`.
        metrics: instead of `evaluate.metrics`.
        reader: instead of `evaluate.reader`.

    Raises:
        UserError: nothing to evaluate, no judge, rows that were trained on, an unknown method, a metric that cannot be
            computed.
    """
    found = open_run(target) if (Path(target) / "config.yaml").is_file() else None
    if found is not None and isinstance(found.config, RewritingRun):
        masking_alone = {"judge": judge, "slices": slices, "metrics": metrics, "reader": reader}
        if given := [f"--{name}" for name, value in masking_alone.items() if value is not None]:
            raise UserError(f"{target} is a run that rewrites, which its own evaluator judges: give no {given[0]}")
        rewriting = RunDirectory(found.path, found.config)
        return evaluate_rewriting_run(
            rewriting, data, rates=rates, seeds=seeds, methods=methods, out=out, skip_trained=skip_trained
        )
    artifact = find_artifact(target)
    run = None if found is None else RunDirectory.open(target)
    if run is None and (judge is None or data is None):
        raise UserError(f"{target} is an artifact alone: give --judge MODEL and --data FILE, or evaluate its run")
    config = chosen(run.config if run else RunConfig(), rates, seeds, methods, slices, metrics, reader)
    prepared = stages.prepared_data(config) if run else None
    examples, path = rows_of(config, data, prepared)
    fresh = refuse_trained(examples, read_manifest(artifact).trained_rows, skip_trained)
    bench = _bench(config, artifact, run, prepared, judge)
    folder = Path(out) if out else _folder(Path(target), data)
    measured(bench, fresh, path, folder, skipped=len(examples) - len(fresh))
    return folder


def evaluate_run(run: RunDirectory, prepared: stages.Prepared) -> Path:
    """The evaluation that ends a training run: its test split, its held-out judge, the configured methods."""
    examples, _ = rows_of(run.config, None, prepared)
    bench = _bench(run.config, run.artifact, run, prepared, None)
    fresh = refuse_trained(examples, read_manifest(run.artifact).trained_rows)
    return measured(bench, fresh, None, run.path / "evaluation")


def baselines(
    config: RunConfig,
    data: str | None = None,
    rates: Sequence[float] | None = None,
    methods: Sequence[str] | None = None,
    seeds: int | None = None,
    out: str | Path | None = None,
    slices: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    reader: str | None = None,
) -> Path:
    """Measure baselines alone, without any trained policy; judges are trained or taken from the cache."""
    config = chosen(config, rates, seeds, methods, slices, metrics, reader)
    named = [name for name in config.evaluate.methods if name in BASELINES or methods]
    names = with_original(named, config.evaluate.metrics)
    require_baselines(names, "--methods")
    prepared = stages.prepared_data(config)
    examples, path = rows_of(config, data, prepared)
    fresh = refuse_trained(examples, trained_hashes(prepared.folder), skip=False)
    stages.require_measures(config, fresh)
    folder = Path(out) if out else Path(config.runs) / "baselines" / config.name
    with ray_session(config):
        ready_judges(config, prepared.folder, prepared.manifest.hash, folder / "judges")
    train = prepared.examples("train")
    asked = config.judges
    judge = SilentJudge() if asked.heldout.silent else load_judge(folder / "judges" / "heldout")
    built = baseline_methods(
        names,
        config,
        tokenizer=prepared.reader,
        prepared=prepared,
        judge=None if asked.reward.silent else load_judge(folder / "judges" / "reward"),
    )
    bench = Bench(
        built,
        names[0],
        prepared.segmenter,
        judge,
        train,
        config.evaluate,
        config.seed,
        config.data,
        probes=probes(config, folder / "judges", judge, prepared),
    )
    measured(bench, fresh, path, folder)
    return folder


def chosen(
    config: RunConfig,
    rates: Sequence[float] | None,
    seeds: int | None,
    methods: Sequence[str] | None,
    slices: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    reader: str | None = None,
) -> RunConfig:
    """`config` with what the command line chose instead."""
    lists = {"rates": rates, "methods": methods, "slices": slices, "metrics": metrics}
    asked = {"seeds": seeds, "reader": reader, **{key: value and tuple(value) for key, value in lists.items()}}
    section = {**config.evaluate.model_dump(), **{key: value for key, value in asked.items() if value is not None}}
    try:
        return config.model_copy(update={"evaluate": EvaluateConfig.model_validate(section)})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise UserError(f"--{fault['loc'][0]} is {fault['input']!r}: {fault['msg']}") from None


def rows_of(config: RunConfig, data: str | None, prepared: stages.Prepared | None) -> tuple[list[Example], Path | None]:
    """All rows of a file that was asked for, or the first `evaluate.texts` of the shuffled test split."""
    if data is not None:
        return list(read_rows(data, config.data)), Path(data)
    assert prepared is not None, "an artifact alone comes with data"
    return prepared.examples("test")[: config.evaluate.texts], None


def _folder(target: Path, data: str | None) -> Path:
    return target / ("evaluation" if data is None else f"evaluation-{Path(data).stem}")


def _bench(
    config: RunConfig, artifact: Path, run: RunDirectory | None, prepared: stages.Prepared | None, judge: str | None
) -> Bench:
    compressor = Compressor.from_pretrained(artifact, config.device)
    methods: list[Method] = [CompressorMethod(compressor)]
    if run is not None:
        starts = [name for name in config.evaluate.methods if name in stages.STARTS and (run.path / name).is_dir()]
        methods += [
            CompressorMethod(Compressor.from_pretrained(run.path / name, config.device), name) for name in starts
        ]
    train = prepared.examples("train") if prepared else []
    methods += baseline_methods(
        [
            name
            for name in with_original(config.evaluate.methods, config.evaluate.metrics)
            if name not in ("rl", *stages.STARTS)
        ],
        config,
        tokenizer=compressor.segmenter.tokenizer,
        prepared=prepared,
        judge=reward_judge(run),
    )
    shared = measuring_judge(run, judge)
    return Bench(
        methods,
        "rl",
        compressor.segmenter,
        shared,
        train,
        config.evaluate,
        config.seed,
        config.data,
        probes=probes(config, run.judges if run else None, shared, prepared),
    )


def reward_judge(run: RunDirectory | None) -> ReconstructionJudge | None:
    """The judge of a run that baselines may ask, as `adaptive_add` does; None where there is none."""
    return load_judge(run.judges / "reward") if run and not run.config.judges.reward.silent else None


def measuring_judge(run: RunDirectory | None, name: str | None) -> ReconstructionJudge | SilentJudge:
    """The judge that was asked for by name, else the held-out judge of the run."""
    if name is not None:
        return judge_from_name(name)
    assert run is not None, "an artifact alone comes with a judge"
    return SilentJudge() if run.config.judges.heldout.silent else load_judge(run.heldout_judge)


def report(run: RunDirectory[Any]) -> Path:
    """The report of a run, with as many samples as it is configured to show."""
    return write_report([run.path], samples=run.config.evaluate.samples)

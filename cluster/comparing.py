"""Several runs or artifacts measured together: the same rows, judge and budgets, paired against the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cluster import stages
from cluster.asking import baseline_methods
from cluster.evaluating import chosen, measuring_judge, reward_judge, rows_of
from cluster.measuring import Bench, measured
from cluster.probing import probes, with_original
from rlcompress.artifact import read_manifest
from rlcompress.baselines import Method, require_baselines
from rlcompress.compressor import Compressor, CompressorMethod
from rlcompress.config.keys import flat
from rlcompress.config.schema import RunConfig
from rlcompress.errors import UserError
from rlcompress.measuring.evaluation import refuse_trained
from rlcompress.measuring.pooling import same_but_seed
from rlcompress.recording.directory import RunDirectory, find_artifact


def compare(
    targets: Sequence[str | Path],
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
    """Evaluate all targets on the same held-out rows under one judge; returns the folder of the results.

    Rows, judge, settings and starting points (`prior`, `warm_start`) are those of the first target, which is the
    reference of every paired interval. A row that any of them trained on is refused. Runs that differ by their seed
    only are also measured together, as one method over its training seeds.

    Args:
        targets: run directories or artifact folders, named in the results by their folders.
        data: a file that `read_rows` understands; None takes the first run's test split.
        rates: instead of `evaluate.rates`.
        seeds: instead of `evaluate.seeds`.
        judge: a judge or model folder, or a hub id; None takes the first run's `judges/heldout`.
        out: where results go; None is `comparison/` of the first target.
        methods: baselines and starting points beside the targets; None are none.
        skip_trained: drop rows that were trained on instead of refusing.
        slices: instead of `evaluate.slices`.
        metrics: instead of `evaluate.metrics`.
        reader: instead of `evaluate.reader`, or the first run's own.

    Raises:
        UserError: two targets of one name, budgets counted by different tokenizers, and what `evaluate` raises.
    """
    names = [Path(target).resolve().name for target in targets]
    if doubled := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"two targets are called {doubled[0]}: give folders of different names")
    first = Path(targets[0])
    run = RunDirectory.open(first) if (first / "config.yaml").is_file() else None
    if run is None and (judge is None or data is None):
        raise UserError(f"{first} is an artifact alone: give --judge MODEL and --data FILE, or name a run first")
    config = chosen(run.config if run else RunConfig(), rates, seeds, methods, slices, metrics, reader)
    prepared = stages.prepared_data(config) if run else None
    artifacts = [find_artifact(target) for target in targets]
    compressors = [Compressor.from_pretrained(artifact, config.device) for artifact in artifacts]
    _count_alike(artifacts)
    examples, path = rows_of(config, data, prepared)
    trained = {row for artifact in artifacts for row in read_manifest(artifact).trained_rows}
    fresh = refuse_trained(examples, trained, skip_trained)
    built: list[Method] = [CompressorMethod(one, name) for one, name in zip(compressors, names, strict=True)]
    beside = [name for name in with_original(methods or (), config.evaluate.metrics) if name not in names]
    train = prepared.examples("train") if prepared else []
    if run is not None:
        starts = [name for name in beside if name in stages.STARTS and (run.path / name).is_dir()]
        built += [CompressorMethod(Compressor.from_pretrained(run.path / name, config.device), name) for name in starts]
        beside = [name for name in beside if name not in starts]
    require_baselines(beside, "--methods")
    built += baseline_methods(
        beside,
        config,
        tokenizer=compressors[0].segmenter.tokenizer,
        prepared=prepared,
        judge=reward_judge(run),
    )
    shared = measuring_judge(run, judge)
    bench = Bench(
        built,
        names[0],
        compressors[0].segmenter,
        shared,
        train,
        config.evaluate,
        config.seed,
        config.data,
        _trainings(targets, names, [method.name for method in built]),
        probes(config, run.judges if run else None, shared, prepared),
    )
    return measured(bench, fresh, path, Path(out) if out else first / "comparison", len(examples) - len(fresh))


def _trainings(targets: Sequence[str | Path], names: Sequence[str], taken: Sequence[str]) -> dict[str, str]:
    """Targets that are runs of equal settings but for their seed -> their common name."""
    runs = {
        name: flat(RunDirectory.open(target).config.model_dump(mode="json"))
        for name, target in zip(names, targets, strict=True)
        if (Path(target) / "config.yaml").is_file()
    }
    return same_but_seed(runs, [name for name in taken if name not in runs])


def _count_alike(artifacts: Sequence[Path]) -> None:
    """All budgets are counted by one tokenizer on one kind of units, or the comparison would not be fair."""
    first = _counting(artifacts[0])
    for artifact in artifacts[1:]:
        if _counting(artifact) != first:
            raise UserError(
                f"{artifact} counts its budget otherwise than {artifacts[0]} (reader.tokenizer, env.granularity or "
                "env.protect differ): compare runs that share them"
            )


def _counting(artifact: Path) -> tuple[object, ...]:
    manifest = read_manifest(artifact)
    files = sorted(path for path in (artifact / "tokenizer").iterdir() if path.is_file())
    return manifest.granularity, manifest.protect, tuple((path.name, path.read_bytes()) for path in files)

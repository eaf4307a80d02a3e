"""The one evaluation path: every method's priorities go through the same `select` and the same judge.

`evaluate` only measures. What is measured of each (method, rate, seed, item) is kept, and `summary` turns it into
figures, so that every interval can be computed again from the stored items.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from rlcompress.baselines import Method, mean_passes
from rlcompress.data.dataset import row_hash
from rlcompress.data.manifest import file_sha256
from rlcompress.errors import UserError
from rlcompress.judges.silent import NONE
from rlcompress.measuring.metrics import (
    METRICS,
    QUANTITIES,
    SHARED_METRICS,
    Source,
    chosen_metrics,
    compression_quantities,
    judgement_quantities,
)
from rlcompress.measuring.probes import Probe, judged
from rlcompress.selection import select
from rlcompress.text.segment import Segmenter
from rlcompress.words import Compression, Example, FloatArray, Judge, JudgeRequest, Status

REFERENCE = "rl"

Adapt = Callable[[str, list[JudgeRequest]], Judge]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """How figures are made of measurements; stored beside them."""

    rates: tuple[float, ...]
    seeds: int = 5
    bootstrap: int = 2000
    seed: int = 0
    metrics: tuple[str, ...] = SHARED_METRICS
    reference: str = REFERENCE
    level: float = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One method at one rate: quantities [S, I] of S seeds (1 if deterministic) and I items."""

    method: str
    rate: float
    stochastic: bool
    statuses: list[list[Status]]
    quantities: dict[str, FloatArray]


@dataclass(frozen=True, slots=True)
class Output:
    """One shorter text: what was kept of item number `item`, as character spans of its original; None if rewritten."""

    item: int
    method: str
    rate: float
    seed: int
    text: str
    spans: list[tuple[int, int]] | None


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Everything that one evaluation measured."""

    settings: Settings
    data: dict[str, object]
    judge: str
    examples: list[Example]
    cells: list[Cell]
    outputs: Sequence[Output] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    passes: dict[str, float] = field(default_factory=dict)  # of each method: model passes a text, the mean over items
    slices: dict[str, list[str]] = field(default_factory=dict)  # by name of a slicing: the label of each item
    trainings: dict[str, str] = field(default_factory=dict)  # methods that differ by seed only: their common name
    models: dict[str, str] = field(default_factory=dict)  # who was asked beside the judge: the version of each


def refuse_trained(examples: Sequence[Example], trained_hashes: Collection[str], skip: bool = False) -> list[Example]:
    """The examples that were not trained on; with `skip` the others are dropped, without it they are an error.

    Raises:
        UserError: rows were trained on and `skip` is off, or nothing is left.
    """
    trained = frozenset(trained_hashes)
    fresh = [example for example in examples if row_hash(example) not in trained]
    seen = len(examples) - len(fresh)
    if seen and not skip:
        ids = [example.id for example in examples if row_hash(example) in trained][:5]
        more = ", ..." if seen > len(ids) else ""
        raise UserError(
            f"{seen} of {len(examples)} rows were trained on (ids {', '.join(ids)}{more}): "
            "evaluate other rows, or drop these with --skip-trained"
        )
    if seen:
        log.warning("dropped %d of %d rows that were trained on", seen, len(examples))
    if examples and not fresh:
        raise UserError(f"all {len(examples)} rows were trained on: evaluate other rows")
    return fresh


def evaluate(
    examples: Sequence[Example],
    segmenter: Segmenter,
    methods: Sequence[Method],
    rates: Sequence[float],
    judge: Judge,
    *,
    seeds: int = 5,
    bootstrap: int = 2000,
    seed: int = 0,
    metrics: Sequence[str] | None = None,
    reference: str = REFERENCE,
    probes: Sequence[Probe] = (),
    adapt: Adapt | None = None,
    adapt_examples: Sequence[Example] = (),
    path: Path | None = None,
    skipped: int = 0,
    slices: Mapping[str, list[str]] = MappingProxyType({}),
    trainings: Mapping[str, str] = MappingProxyType({}),
    batch: int = 256,
) -> Evaluation:
    """Measure every method at every rate on the same items.

    Args:
        examples: held-out rows; see `refuse_trained`.
        segmenter: the policy's own units, shared by all methods.
        methods: the evaluated artifact is the one named `reference`; it must be able to run.
        rates: kept fractions of reader tokens.
        judge: the shared held-out judge.
        seeds: runs of each stochastic method.
        bootstrap: draws of the intervals.
        seed: first seed of the stochastic methods and seed of the bootstrap.
        metrics: names of `METRICS`, each of which is computed; None takes those of `SHARED_METRICS` that can be.
        reference: the method that all others are compared with.
        probes: who is asked beside the judge, where a metric needs it.
        adapt: trains a judge on a method's own masks of `adapt_examples` (training texts) and adds the metric
            `distortion_bits_adapted`.
        adapt_examples: texts that the judges adapt on.
        path: the file that the rows came from, for the record.
        skipped: trained rows that were dropped, for the record.
        slices: labels of all items by name of a slicing, see `slice_labels`: figures are also made of each slice.
        trainings: methods that differ by their training's seed only and their common name: also measured together.
        batch: requests in one call of the judge.

    Raises:
        UserError: no rows, a metric that cannot be computed, or the reference method cannot run. Any other method that
            cannot run is listed in `unavailable`.
    """
    if not examples:
        raise UserError("there are no rows to evaluate: give a file with at least one text")
    chosen = chosen_metrics(metrics, examples, _sources(judge, adapt, probes))
    settings = Settings(tuple(rates), seeds, bootstrap, seed, chosen, reference)
    asked = [probe for probe in probes if any(METRICS[name].source == probe.source for name in chosen)]
    names = [method.name for method in methods]
    assert len(set(names)) == len(names), f"methods must have different names, got {names}"
    data = described(examples, path, skipped)
    outputs: list[Output] = []
    result = Evaluation(
        settings,
        data,
        judge.version,
        list(examples),
        [],
        outputs,
        slices=dict(slices),
        trainings=dict(trainings),
        models={probe.source: probe.version for probe in asked},
    )
    bench = _Bench(list(examples), segmenter, judge, batch, asked)
    tuning = _Bench(list(adapt_examples), segmenter, judge, batch)
    for method in methods:
        try:
            compressed = {rate: bench.compress(method, rate, _seeds(method, settings)) for rate in rates}
            adapted = _adapted_judge(method, tuning, settings, adapt)
        except UserError as why:
            if method.name == reference:
                raise
            log.warning("method %s is unavailable: %s", method.name, why)
            result.unavailable[method.name] = str(why)
            continue
        result.passes[method.name] = mean_passes(method, bench.units)
        for rate, compressions_SI in compressed.items():
            result.cells.append(bench.measure(method, rate, compressions_SI, adapted))
            outputs.extend(_outputs(method, rate, compressions_SI, settings))
        log.info("measured %s", method.name)
    return result


def _sources(judge: Judge, adapt: Adapt | None, probes: Sequence[Probe]) -> set[Source]:
    """Who can be asked."""
    sources: set[Source] = {probe.source for probe in probes}
    if judge.version != NONE:
        sources.add("judge")
    if adapt is not None:
        sources.add("adapted judge")
    return sources


def described(examples: Sequence[Example], path: Path | None, skipped: int) -> dict[str, object]:
    """Names the data in results: its hash is that of the file, or of the rows where they came from no file."""
    rows = "\n".join(json.dumps(asdict(example), sort_keys=True) for example in examples)
    return {
        "path": str(path) if path else None,
        "sha256": file_sha256(path) if path else hashlib.sha256(rows.encode()).hexdigest(),
        "rows": len(examples),
        "skipped_trained": skipped,
    }


def _seeds(method: Method, settings: Settings) -> list[int]:
    return [settings.seed + s for s in range(settings.seeds if method.stochastic else 1)]


def _adapted_judge(method: Method, tuning: _Bench, settings: Settings, adapt: Adapt | None) -> Judge | None:
    """A judge trained on this method's own masks at all rates, by a seed that is not evaluated."""
    if adapt is None:
        return None
    fresh = [settings.seed + settings.seeds]
    requests = [
        request for rate in settings.rates for request in tuning.requests(tuning.compress(method, rate, fresh)[0])
    ]
    if all(request.kept_N.all() for request in requests):
        return None  # nothing was dropped: there is nothing to adapt to
    return adapt(method.name, requests)


def _outputs(method: Method, rate: float, compressions_SI: list[list[Compression]], settings: Settings) -> list[Output]:
    return [
        Output(i, method.name, rate, seed, compression.text, compression.spans)
        for seed, row_I in zip(_seeds(method, settings), compressions_SI, strict=True)
        for i, compression in enumerate(row_I)
    ]


class _Bench:
    """The items, their units and their judge: what all methods share."""

    def __init__(
        self, examples: list[Example], segmenter: Segmenter, judge: Judge, batch: int, probes: Sequence[Probe] = ()
    ) -> None:
        self.examples = examples
        self.units = [segmenter(example.text) for example in examples]
        self.judge = judge
        self.batch = batch
        self.probes = probes

    def compress(self, method: Method, rate: float, seeds: Sequence[int]) -> list[list[Compression]]:
        """Compressions [S][I] of all items under each seed; a method that keeps all is asked for rate 1."""
        budget = 1.0 if method.keeps_all else rate
        return [
            [
                select(units, priorities_N, budget)
                for units, priorities_N in zip(
                    self.units, method.priorities(self.units, self.examples, rate, seed), strict=True
                )
            ]
            for seed in seeds
        ]

    def requests(self, compressions_I: Sequence[Compression]) -> list[JudgeRequest]:
        return [JudgeRequest.of(c, example) for c, example in zip(compressions_I, self.examples, strict=True)]

    def measure(
        self, method: Method, rate: float, compressions_SI: list[list[Compression]], adapted: Judge | None
    ) -> Cell:
        names = [*QUANTITIES, *(name for probe in self.probes for name in probe.quantities)]
        quantities = {name: np.full((len(compressions_SI), len(self.examples)), np.nan) for name in names}
        statuses: list[list[Status]] = []
        for s, compressions_I in enumerate(compressions_SI):
            requests = self.requests(compressions_I)
            verdicts = judged(self.judge, requests, self.batch)
            own = judged(adapted, requests, self.batch) if adapted else None
            findings = [probe.ask(requests, self.batch) for probe in self.probes]
            for i, (compression, verdict) in enumerate(zip(compressions_I, verdicts, strict=True)):
                found = compression_quantities(compression, self.examples[i].answer) | judgement_quantities(verdict)
                if own:
                    by_own = judgement_quantities(own[i])
                    found |= {"adapted_bits": by_own["bits"], "adapted_tokens": by_own["tokens"]}
                for finding_I in findings:
                    found |= finding_I[i].quantities
                for name, value in found.items():
                    quantities[name][s, i] = value
            said = [compressions_I, verdicts, *findings]
            statuses.append([_first_trouble([one.status for one in each]) for each in zip(*said, strict=True)])
        return Cell(method.name, rate, method.stochastic, statuses, quantities)


def _first_trouble(statuses: Sequence[Status]) -> Status:
    return next((status for status in statuses if status is not Status.OK), Status.OK)

"""One measurement: methods, their judge and who else is asked, on rows; its results written and printed."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from rlcompress.baselines import Method
from rlcompress.config.schema import DataConfig, EvaluateConfig
from rlcompress.judges.adapt import adapt_judge
from rlcompress.judges.reconstruction import ReconstructionJudge
from rlcompress.judges.silent import SilentJudge
from rlcompress.measuring.evaluation import evaluate
from rlcompress.measuring.probes import Probe
from rlcompress.measuring.results import write_results
from rlcompress.measuring.slices import slice_labels
from rlcompress.measuring.tables import text_table
from rlcompress.text.segment import Segmenter
from rlcompress.words import Example

_ADAPT_TEXTS, _ADAPT_BATCH = 512, 16


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that an evaluation needs beside the rows."""

    methods: list[Method]
    reference: str
    segmenter: Segmenter
    judge: ReconstructionJudge | SilentJudge
    train: list[Example]
    settings: EvaluateConfig
    seed: int
    data: DataConfig = field(default_factory=DataConfig)
    trainings: Mapping[str, str] = field(default_factory=dict)  # methods that differ by seed only: their common name
    probes: Sequence[Probe] = ()


def measured(bench: Bench, examples: list[Example], path: Path | None, folder: Path, skipped: int = 0) -> Path:
    """Measure everything on the bench, write and print the results; returns `folder`."""
    torch.set_num_threads(os.cpu_count() or 1)
    settings = bench.settings
    adapt = None
    if settings.adapt_steps and isinstance(bench.judge, ReconstructionJudge):
        adapt = functools.partial(
            adapt_judge, bench.judge, steps=settings.adapt_steps, batch=_ADAPT_BATCH, seed=bench.seed
        )
    slices, failed = slice_labels(examples, settings.slices, path or bench.data.source, bench.data)
    evaluation = evaluate(
        examples,
        bench.segmenter,
        bench.methods,
        settings.rates,
        bench.judge,
        seeds=settings.seeds,
        bootstrap=settings.bootstrap,
        seed=bench.seed,
        metrics=settings.metrics,
        reference=bench.reference,
        probes=bench.probes,
        adapt=adapt,
        adapt_examples=bench.train[:_ADAPT_TEXTS] if adapt else (),
        path=path,
        skipped=skipped,
        slices=slices,
        trainings=bench.trainings,
    )
    evaluation.unavailable.update(failed)
    document = write_results(evaluation, folder)
    print(text_table(document), flush=True)
    return folder

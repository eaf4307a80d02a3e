"""Who is asked beside the held-out judge, where `evaluate.metrics` lists what only they can tell."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cluster.reading import ROLE
from rlcompress.config.schema import RunConfig
from rlcompress.device import choose_device
from rlcompress.judges.reading import load_reader, reader_from_name
from rlcompress.metrics import METRICS, Source
from rlcompress.probes import Probe, ReaderProbe
from rlcompress.runs import RunDirectory
from rlcompress.words import Judge

ORIGINAL = "identity"


def probes(config: RunConfig, run: RunDirectory | None) -> list[Probe]:
    """Those that a listed metric needs, loaded; one that is not there is missed by `chosen_metrics`.

    Raises:
        UserError: a model that is named cannot be loaded.
    """
    needed = sources(config.evaluate.metrics)
    found: list[Probe] = []
    if "reader" in needed and (reader := _reader(config, run)) is not None:
        found.append(ReaderProbe(reader))
    return found


def sources(metrics: Sequence[str] | None) -> set[Source]:
    """Who is asked for listed metrics."""
    return {source for name in metrics or () if (source := METRICS[name].source) is not None}


def with_original(methods: Collection[str], metrics: Sequence[str] | None) -> list[str]:
    """Methods that include the original where a reader is asked: what compression loses is the difference to it."""
    missing = "reader" in sources(metrics) and ORIGINAL not in methods
    return [*methods, ORIGINAL] if missing else [*methods]


def _reader(config: RunConfig, run: RunDirectory | None) -> Judge | None:
    """The reader that was asked for, or the run's own; None where there is neither."""
    name, device = config.evaluate.reader, choose_device(config.device)
    own = run.judges / ROLE if run is not None else None
    if own is not None and (own / "judge.json").is_file() and name in (None, config.judges.reader.model):
        return load_reader(own, ("said",), device)
    return None if name is None else reader_from_name(name, config.judges.reader, ("said",), device)

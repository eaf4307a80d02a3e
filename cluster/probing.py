"""Who is asked beside the held-out judge, where `evaluate.metrics` lists what only they can tell."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from cluster.asking import embedder
from cluster.reading import ROLE
from cluster.stages import Prepared
from rlcompress.config.schema import RunConfig
from rlcompress.errors import UserError
from rlcompress.judges.reading import load_reader, reader_from_name
from rlcompress.judges.reconstruction import ReconstructionJudge
from rlcompress.machine.device import choose_device
from rlcompress.measuring.metrics import METRICS, Source
from rlcompress.measuring.probes import Probe, ReaderProbe, ReconstructionProbe
from rlcompress.models.embedder import TextEmbedder
from rlcompress.words import Judge

ORIGINAL = "identity"


def probes(config: RunConfig, judges: Path | None, judge: Judge, prepared: Prepared | None) -> list[Probe]:
    """Those that a listed metric needs, loaded; one that is not there is missed by `chosen_metrics`.

    Args:
        config: says what is listed, and who the reader is.
        judges: the folder of the run's judges, a reader of its own among them or not.
        judge: the held-out judge, which fills in what was dropped.
        prepared: the data whose training texts the encoder is fitted on.

    Raises:
        UserError: a model that is named cannot be loaded, or an encoder has nothing to be fitted on.
    """
    listed = config.evaluate.metrics or ()
    needed = sources(listed)
    found: list[Probe] = []
    if "reader" in needed and (reader := _reader(config, judges)) is not None:
        found.append(ReaderProbe(reader))
    if "reconstruction" in needed and isinstance(judge, ReconstructionJudge):
        encoder = _encoder(config, prepared) if "semantic_similarity" in listed else None
        found.append(ReconstructionProbe(judge, listed, encoder))
    return found


def sources(metrics: Sequence[str] | None) -> set[Source]:
    """Who is asked for listed metrics."""
    return {source for name in metrics or () if (source := METRICS[name].source) is not None}


def with_original(methods: Collection[str], metrics: Sequence[str] | None) -> list[str]:
    """Methods that include the original where a reader is asked: what compression loses is the difference to it."""
    missing = "reader" in sources(metrics) and ORIGINAL not in methods
    return [*methods, ORIGINAL] if missing else [*methods]


def _encoder(config: RunConfig, prepared: Prepared | None) -> TextEmbedder:
    if prepared is None:
        raise UserError(
            "evaluate.metrics lists semantic_similarity, and an artifact alone has no training texts to fit "
            "embedder.model on: evaluate its run, or leave it out"
        )
    return embedder(config, prepared)


def _reader(config: RunConfig, judges: Path | None) -> Judge | None:
    """The reader that was asked for, or the run's own; None where there is neither."""
    name, device = config.evaluate.reader, choose_device(config.device)
    own = judges / ROLE if judges is not None else None
    if own is not None and (own / "judge.json").is_file() and name in (None, config.judges.reader.model):
        return load_reader(own, ("said",), device)
    return None if name is None else reader_from_name(name, config.judges.reader, ("said",), device)

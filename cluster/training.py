"""The driver: data, what learning starts from, learning across Ray actors, evaluation, report. Read it top to bottom.

What a family of runs does at each stage is in a module of its own, `cluster.masking` or `cluster.rewriting`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from cluster import masking, placement, rewriting
from cluster.evaluating import report
from cluster.session import cluster_address, ray_session
from rlcompress.config.families import AnyRun
from rlcompress.config.rewriting_run import RewritingRun
from rlcompress.config.schema import RunConfig
from rlcompress.data.manifest import Manifest
from rlcompress.recording.directory import RunDirectory, free_path, interrupted, open_run
from rlcompress.recording.resuming import Rewound, rewind


class Prepared(Protocol):
    """Data of a run; a family's own has more."""

    @property
    def manifest(self) -> Manifest: ...


class Family(Protocol):
    """What a module says of its family of runs."""

    @property
    def START(self) -> str:  # noqa: N802 -- a constant of a module
        """Folder of a run with the artifact that reinforcement learning starts from."""
        ...

    def checked_data(self, config: Any) -> Prepared:
        """The data of a run; what can be wrong with a configuration is said here, before Ray is up."""
        ...

    def before_learning(self, run: Any, prepared: Any) -> None: ...

    def learn(self, run: Any, prepared: Any, rewound: Rewound | None = None) -> None: ...

    def finish(self, run: Any, prepared: Any) -> Path:
        """The evaluation that ends a run; the folder of its results."""
        ...

    def sample(self, run: Any, prepared: Any) -> None:
        """Prints what was learned on one held-out text."""
        ...


FAMILIES: dict[type[AnyRun], Family] = {RunConfig: masking, RewritingRun: rewriting}


def train(
    config: AnyRun | None,
    *,
    command: str = "",
    resume: str | Path | None = None,
    checkpoint: str = "latest",
    overwrite: bool = False,
) -> RunDirectory[Any]:
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
    config = config if resume is None else open_run(resume).config
    assert config is not None, "a run needs a configuration"
    family = FAMILIES[type(config)]
    with _started(config, command, overwrite=overwrite, resume=resume) as (run, prepared):
        print(placement.describe(config), flush=True)
        rewound = None if resume is None else rewind(run, checkpoint)
        _before_learning(run, prepared)
        family.learn(run, prepared, rewound)
        family.finish(run, prepared)
        page = report(run)
    family.sample(run, prepared)
    print(f"report     {page}\nartifact   {run.artifact}")
    print(f"next       python -m rlcompress compress {run.path} --rate 0.5 < prompt.txt")
    return run


def sft(config: AnyRun, *, command: str = "", overwrite: bool = False) -> RunDirectory[Any]:
    """The stages before reinforcement learning alone: judges and the supervised start, saved as an artifact."""
    with _started(config, command, overwrite=overwrite) as (run, prepared):
        _before_learning(run, prepared)
    print(f"artifact   {run.path / FAMILIES[type(config)].START}")
    return run


@contextlib.contextmanager
def _started(
    config: AnyRun, command: str, *, overwrite: bool, resume: str | Path | None = None
) -> Iterator[tuple[RunDirectory[Any], Prepared]]:
    """Ray, a run directory and its data. No directory is made before all else is known to be good."""
    if resume is None:
        free_path(config, overwrite=overwrite)
    if cluster_address(config) is None:
        placement.require(config)  # this machine's own cores and cards are known before Ray is up
    prepared = FAMILIES[type(config)].checked_data(config)
    with ray_session(config):
        placement.require(config)
        run: RunDirectory[Any] = (
            RunDirectory.create(config, overwrite=overwrite) if resume is None else open_run(resume)
        )
        run.require_data(prepared.manifest.hash)
        with run.recording():
            run.write_environment(command, prepared.manifest.hash)
            yield run, prepared


def _before_learning(run: RunDirectory[Any], prepared: Prepared) -> None:
    counts = ", ".join(f"{c.rows} {name}" for name, c in prepared.manifest.splits.items())
    print(f"data       {run.config.data.source}: {counts} rows", flush=True)
    FAMILIES[type(run.config)].before_learning(run, prepared)

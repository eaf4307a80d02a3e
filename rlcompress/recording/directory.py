"""The run directory: one folder that holds everything about a run and is never overwritten in silence.

runs/index.jsonl                one line a run
runs/NAME/config.yaml           the merged configuration
          environment.json      versions, hardware, git, data hash, command, date; one entry a start
          state.json            running, finished or failed, and why (running and unlocked: interrupted)
          metrics.jsonl         one line a step (metrics.csv and tensorboard/ beside it)
          samples.jsonl         one line an iteration: which samples it learned from
          checkpoints/          iteration-000050/, best, last
          judges/               reward/, heldout/
          artifact/             what is served
          report.html
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import platform
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal

from typing_extensions import TypeVar

from rlcompress.config.families import AnyRun
from rlcompress.config.files import dump_yaml, load_run
from rlcompress.config.keys import leaves
from rlcompress.config.running import Run
from rlcompress.config.schema import RunConfig
from rlcompress.config.secrets import redact
from rlcompress.errors import UserError
from rlcompress.learning.alarms import alarms
from rlcompress.machine import hardware
from rlcompress.machine.doctor import CHECKOUT, LIBRARY, OPTIONAL, version
from rlcompress.recording.lines import step_rows
from rlcompress.recording.meters import HOST, cost_lines
from rlcompress.recording.publish import latest_stable, remove, write_atomically

State = Literal["created", "running", "finished", "failed"]


C = TypeVar("C", bound=Run, default=RunConfig)


@dataclass(frozen=True, slots=True)
class RunDirectory(Generic[C]):
    """A run on disk, e.g. `RunDirectory.create(config)` or `RunDirectory.open("runs/quickstart")`."""

    path: Path
    config: C

    @classmethod
    def create(cls, config: C, *, overwrite: bool = False) -> RunDirectory[C]:
        """Make `config.runs/config.name`, write its configuration and enter it in the index.

        Raises:
            UserError: the folder holds something and `overwrite` is not given, or it holds something else than a run.
        """
        path = free_path(config, overwrite=overwrite)
        made = path.with_name(f".{path.name}.tmp")  # a run that has a name has a configuration, and can be resumed
        shutil.rmtree(made, ignore_errors=True)
        for folder in (made / "checkpoints", made / "judges"):
            folder.mkdir(parents=True)
        write_atomically(made / "config.yaml", dump_yaml(config))
        cls(made, config).mark("created")
        with (path.parent / "index.jsonl").open("a", encoding="utf-8") as index:
            index.write(json.dumps({"name": config.name, "created": _now(), "seed": config.seed}) + "\n")
        if overwrite and path.exists():
            remove(path)
        made.rename(path)
        return cls(path, config)

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory[RunConfig]:
        """An existing run of masking.

        Raises:
            UserError: there is no run, or it is of another family.
        """
        run = open_run(path)
        if not isinstance(run.config, RunConfig):
            raise UserError(f"{path} is a run of {run.config.env.name}, and this is for TokenMasking alone")
        return RunDirectory(run.path, run.config)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def judges(self) -> Path:
        return self.path / "judges"

    @property
    def heldout_judge(self) -> Path:
        return self.judges / "heldout"

    @property
    def artifact(self) -> Path:
        return self.path / "artifact"

    @property
    def metrics(self) -> Path:
        """One JSON object a line; written by `tracking.Tracker`."""
        return self.path / "metrics.jsonl"

    @property
    def samples(self) -> Path:
        """One JSON object an iteration; written by `ledger.Ledger`."""
        return self.path / "samples.jsonl"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def write_environment(self, command: str | Sequence[str], data_hash: str | None = None) -> None:
        """Record where and how the run was started; a resumed run gets one more entry."""
        text = command if isinstance(command, str) else shlex.join(command)
        start = {"date": _now(), "command": redact(text), "data_hash": data_hash, **environment()}
        self._write_starts([*self.starts(), start])

    def note(self, key: str, value: Any) -> None:
        """Add something to the record of the current start, e.g. which checkpoint it went on from."""
        *earlier, current = self.starts()
        self._write_starts([*earlier, {**current, key: value}])

    def starts(self) -> list[dict[str, Any]]:
        """The recorded starts, oldest first."""
        file = self.path / "environment.json"
        loaded: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["starts"] if file.is_file() else []
        return loaded

    def require_data(self, data_hash: str) -> None:
        """A run goes on with the data that it began with.

        Raises:
            UserError: the data are others than at the last start.
        """
        known = [start["data_hash"] for start in self.starts() if start.get("data_hash")]
        if known and known[-1] != data_hash:
            raise UserError(
                f"{self.path} was trained on other data than data.source {self.config.data.source} gives now: "
                "restore what the source held, or start a run with another name"
            )

    def _write_starts(self, starts: list[dict[str, Any]]) -> None:
        write_atomically(self.path / "environment.json", json.dumps({"starts": starts}, indent=1) + "\n")

    def mark(self, state: State, why: str = "") -> None:
        write_atomically(self.path / "state.json", json.dumps({"state": state, "since": _now(), "why": why}) + "\n")

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Marks the run as running, then as finished, or as failed with the exception's name and first line.

        Raises:
            UserError: another process is at work in this directory.
        """
        with self._alone():
            self.mark("running")
            try:
                yield
            except BaseException as error:
                self.mark("failed", redact(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"))
                raise
            self.mark("finished")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """A lock that ends with its process, however that ends; none where the file system has no locks."""
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"another process is at work in {self.path}: wait for it, or end it") from None
            except OSError:
                pass
            yield

    def state(self) -> dict[str, str]:
        """`{"state", "since", "why"}` as last marked; interrupted where its process ended before it could say how."""
        loaded: dict[str, str] = json.loads((self.path / "state.json").read_text(encoding="utf-8"))
        if loaded["state"] == "running" and not self._held():
            return {**loaded, "state": "interrupted", "why": f"(go on with: train --resume {self.path})"}
        return loaded

    def _held(self) -> bool:
        """Whether a process is at work in this directory; True where that cannot be known."""
        try:
            with (self.path / ".lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        return False

    def last_metrics(self) -> dict[str, Any]:
        """The last whole line of the metrics, for the writer may be in the middle of one; empty when there is none."""
        rows = step_rows(self.metrics)
        return rows[-1] if rows else {}

    def summary(self) -> str:
        """What `rlcompress status RUN` prints."""
        state, last, latest = self.state(), self.last_metrics(), latest_stable(self.checkpoints)
        lines = [
            f"run        {self.path}",
            f"state      {state['state']} since {state['since']} {state['why']}".rstrip(),
        ]
        lines.append(f"step       {last.get('step', 0)} of {self.config.learner.iterations}")
        lines.append(f"checkpoint {latest.path.name if latest.path else 'none'}")
        lines += [f"torn       {name}" for name in latest.skipped]
        rows = step_rows(self.metrics)
        lines += [f"alarm      {alarm}" for alarm in alarms(rows)]
        lines += cost_lines(rows)
        others = [key for key in sorted(last) if key not in ("step", "time") and not key.startswith(HOST)]
        lines += [f"  {key:<32} {last[key]}" for key in others]
        if self.config.tracking.tensorboard:
            lines.append(f"curves     tensorboard --logdir {self.path / 'tensorboard'}")
        lines.append("dashboard  http://127.0.0.1:8265 while Ray runs with its dashboard")
        return "\n".join(lines)


def open_run(path: str | Path) -> RunDirectory[AnyRun]:
    """An existing run of any family; a UserError when there is none."""
    path = Path(path)
    if not (path / "config.yaml").is_file():
        raise UserError(f"no run in {path}: it has no config.yaml")
    return RunDirectory(path, load_run(path / "config.yaml"))


def free_path(config: Run, *, overwrite: bool = False) -> Path:
    """Where the run will lie; a UserError as for `RunDirectory.create`, which asks the same. Nothing is made."""
    path = Path(config.runs) / config.name
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        if not overwrite:
            raise UserError(f"{path} is not empty: choose another name=..., --resume {path}, or give --overwrite")
        if not (path / "config.yaml").is_file():
            raise UserError(f"{path} holds no run (no config.yaml) and is left alone: choose another name=...")
    return path


def interrupted(config: Run) -> Path | None:
    """The run of this name, where there is one to go on with; None where there is none yet.

    Raises:
        UserError: it was started with other settings.
    """
    path = Path(config.runs) / config.name
    if not (path / "config.yaml").is_file():
        return None
    theirs = open_run(path).config
    changed = [key for key in leaves(type(config)) if _value(theirs, key) != _value(config, key)]
    if named := [".".join(key) for key in changed if key != ("checkpoint", "resume")]:
        raise UserError(
            f"{path} was started with other values of {', '.join(named)}: choose another name=..., give the old "
            "values, or --overwrite"
        )
    return path


def _value(config: Run, key: tuple[str, ...]) -> object:
    """What a key holds; None too where its section is left out, or of another family."""
    found: object = config
    for name in key:
        found = getattr(found, name, None)
    return found


def index(runs: str | Path) -> list[dict[str, Any]]:
    """The lines of `runs/index.jsonl`, oldest first."""
    file = Path(runs) / "index.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []


def find_artifact(path: str | Path) -> Path:
    """The artifact folder of a run or of itself; a UserError when there is none."""
    for folder in (Path(path), Path(path) / "artifact"):
        if (folder / "manifest.json").is_file():
            return folder
    raise UserError(f"no artifact in {path}: give a run that has finished, or a folder with manifest.json")


def environment() -> dict[str, Any]:
    """Versions, hardware and commit of this process."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: version(name) for name in ("rlcompress", *LIBRARY, *CHECKOUT, *OPTIONAL)},
        "hardware": {
            "cores": hardware.cores(),
            "memory_gb": round(hardware.memory_bytes() / hardware.GIGABYTE, 1),
            "gpus": hardware.graphics_cards(),
        },
        "git": _git(),
    }


def _git() -> dict[str, Any] | None:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None

    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)

    commit, changes = ask("rev-parse", "HEAD"), ask("status", "--porcelain")
    return {"commit": commit.stdout.strip(), "dirty": bool(changes.stdout.strip())} if commit.returncode == 0 else None


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")

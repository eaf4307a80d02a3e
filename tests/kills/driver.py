"""Training drivers that kill themselves with SIGKILL at a named moment.

A parent that has imported everything forks a child a case, long before Ray starts, so that a case costs seconds. The
child is the command line, `rlcompress train …`, under a profiler that counts calls: nothing in the product knows of it.

    python -m tests.kills.driver    reads a case a line as JSON, answers a line: how the child ended
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
MARK = "RLCOMPRESS_KILL_CASE"  # in the environment of the driver and all that it starts
IMPORTED = (
    "cluster.training",
    "rlcompress.reporting.plots",
    "tensorboardX",
    "torch._inductor",
)  # what takes seconds, once
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")  # Ray's own: they notice a minute later that they are alone
# C functions that touch files
WRITES = (("posix", "io", "_io", "_pickle"), ("mkdir", "open", "dump", "fsync", "rename", "replace", "unlink", "rmdir"))


@dataclass(frozen=True)
class Moment:
    """When to die: as a Python function of this qualified name is called or returns, for the `count`-th time.

    With `write`, when so many calls and returns of `WRITES` have passed inside it since.
    """

    event: str  # call or return
    function: str
    count: int = 1
    write: int | None = None


@dataclass(frozen=True)
class Ended:
    """`code` as `subprocess` counts: -9 is SIGKILL."""

    code: int
    seconds: float
    mark: str
    output: str


class Drivers:
    """The parent process; `run` is one case."""

    def __init__(self, process: subprocess.Popen[str], folder: Path, address: str | None) -> None:
        self.process, self.folder, self.address = process, folder, address
        self.cases = 0

    def run(
        self, words: Sequence[str], moment: Moment | None = None, *, trace: Path | None = None, own_ray: bool = False
    ) -> Ended:
        """`rlcompress WORDS` until `moment`; with `trace` nobody dies, that file gets a line a write.

        `own_ray`: it starts Ray itself, which takes seconds more, instead of joining the one at `address`.
        """
        self.cases += 1
        case = {
            "words": list(words),
            "moment": moment and asdict(moment),
            "trace": trace and str(trace),
            "output": str(self.folder / f"{self.cases}.txt"),
            "environ": {
                MARK: uuid.uuid4().hex,
                **({} if own_ray or not self.address else {"RAY_ADDRESS": self.address}),
            },
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(case) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the parent of the drivers is gone"
        ended = json.loads(answer)
        return Ended(
            ended["code"], ended["seconds"], case["environ"][MARK], Path(case["output"]).read_text(errors="replace")
        )


@contextlib.contextmanager
def drivers(folder: Path, address: str | None = None) -> Iterator[Drivers]:
    """Start the parent, and end it; `folder` takes what the drivers print."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.kills.driver"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Drivers(process, folder, address)
    finally:
        process.communicate(timeout=60)  # closes its input, which ends it


def left_over(mark: str, seconds: float = 30.0) -> list[str]:
    """Command lines of the processes of a case that still live after so long, but for Ray's agents, which are ended."""
    deadline = time.monotonic() + seconds
    while True:
        alive = _marked(mark)
        others = [command for command in alive.values() if not command.startswith(AGENTS)]
        if not others or time.monotonic() > deadline:
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return others
        time.sleep(0.1)


def _marked(mark: str) -> dict[int, str]:
    """Process id -> command line."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                if command:  # a zombie has none
                    found[int(folder.name)] = command
    return found


# -- in the parent ----------------------------------------------------------------------------------------------------


def _serve() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin:
        case = json.loads(line)
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            _drive(case)
        _, status = os.waitpid(child, 0)
        answer = {"code": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - started}
        print(json.dumps(answer), flush=True)


def _drive(case: dict[str, Any]) -> None:
    """One driver, in a child of its own."""
    code = 1
    try:
        with open(case["output"], "w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(case["environ"])
        from rlcompress.__main__ import main

        if case["moment"]:
            sys.setprofile(Profile(Moment(**case["moment"]), case["trace"]))
        code = main(case["words"])
        sys.setprofile(None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class Profile:
    """Counts what Python calls, until the moment has come."""

    def __init__(self, moment: Moment, trace: str | None) -> None:
        self.moment, self.trace = moment, trace
        self.seen = self.writes = self.depth = 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        moment = self.moment
        if event == moment.event and frame.f_code.co_qualname == moment.function:
            self.seen += 1
            if self.seen == moment.count and moment.write is None:
                self.reached(moment.function)
        inside = moment.write is not None and self.seen == moment.count
        if inside and event == "return" and frame.f_code.co_qualname == moment.function:
            self.seen += 1
        elif inside and event in ("c_call", "c_return") and _touches_files(argument):
            self.writes += 1
            if self.trace is not None or self.writes == moment.write:
                self.reached(f"{event} {argument.__name__}")

    def reached(self, what: str) -> None:
        if self.trace is None:
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            descriptor = os.open(self.trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(descriptor, f"{what}\n".encode())
            os.close(descriptor)


def _touches_files(function: Any) -> bool:
    modules, names = WRITES
    return function.__name__ in names and getattr(function, "__module__", None) in modules


if __name__ == "__main__":
    _serve()

"""How each level starts its jail: what stands before the interpreter, and what runs in it before our own loop."""

from __future__ import annotations

import inspect
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from rlcompress.sandbox import bubblewrap, confine, seccomp
from rlcompress.sandbox.interpreter import Interpreter
from rlcompress.sandbox.verdict import Limits


@dataclass(frozen=True, slots=True)
class Launch:
    """How a level starts: words before the interpreter's, code before ours, a call after the limits, pipes' ends."""

    words: tuple[str, ...] = ()
    code: str = ""
    confine: str = ""
    inherited: tuple[int, ...] = ()
    info: int | None = None


def _bubblewrap(python: Interpreter, limits: Limits, fds: list[int]) -> Launch:
    filter_fd = os.memfd_create("filter")
    fds.append(filter_fd)
    os.write(filter_fd, seccomp.program(platform.machine(), execute=True))
    os.lseek(filter_fd, 0, os.SEEK_SET)
    info_out, info_in = os.pipe()
    fds += (info_out, info_in)
    words = bubblewrap.command(python, limits.file_bytes, filter_fd, info_in)
    return Launch(words=tuple(words), inherited=(filter_fd, info_in), info=info_out)


def _landlock(python: Interpreter, limits: Limits, fds: list[int]) -> Launch:
    machine = platform.machine()
    code = seccomp.program(machine, execute=False)
    readable = (*python.folders, "/dev/urandom")
    call = f"confine({readable!r}, ('/dev/null',), {code!r}, {machine!r}, {os.getpid()})"
    return Launch(code=source(confine), confine=call)


def _rlimits(python: Interpreter, limits: Limits, fds: list[int]) -> Launch:
    return Launch()


# Strongest first.
LEVELS: dict[str, Callable[[Interpreter, Limits, list[int]], Launch]] = {
    "bubblewrap": _bubblewrap,
    "landlock": _landlock,
    "rlimits": _rlimits,
}


@cache
def source(module: ModuleType) -> str:
    """A module's text, which is started in the jail as it stands."""
    return inspect.getsource(module)

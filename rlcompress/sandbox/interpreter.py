"""The interpreter of a jail: the one that runs now, and the few folders it reads; every level shows no other file."""

from __future__ import annotations

import sys
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# PYTHONHASHSEED: the order of a set of strings is the same in every jail, so a verdict can be kept.
# MALLOC_ARENA_MAX: a thread's own arena would take 64 MB of the address space.
ENVIRONMENT = {"PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "HOME": "/nonexistent", "MALLOC_ARENA_MAX": "1"}

# No site-packages, no user folder, nothing from the working directory, no bytecode written.
OPTIONS = ("-S", "-s", "-P", "-B", "-X", "utf8", "-c")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """`binary` is started; `folders` hold the standard library and shared libraries; all real paths."""

    binary: str
    folders: tuple[str, ...]


@cache
def running() -> Interpreter:
    """The running interpreter, seen through a virtual environment to what it was made from."""
    binary = Path(sys.executable).resolve()
    library = Path(sys.base_prefix).resolve() / sys.platlibdir
    candidates = [library, Path(sysconfig.get_path("stdlib")).resolve().parent]
    candidates += [Path(folder) for folder in ("/usr/lib", "/usr/lib64", "/usr/lib32", "/lib", "/lib64")]
    shared = sysconfig.get_config_var("LIBDIR")
    if shared and sysconfig.get_config_var("Py_ENABLE_SHARED"):
        candidates.append(Path(shared))
    real = dict.fromkeys(str(folder.resolve()) for folder in candidates if folder.is_dir())
    kept = [path for path in real if not any(path != other and Path(path).is_relative_to(other) for other in real)]
    return Interpreter(str(binary), tuple(kept))

"""The strongest level: `bwrap` puts the interpreter into namespaces of its own, with a file system of a few folders.

Seen inside: the interpreter's folders (read-only), /dev/null, /dev/urandom and /tmp (in memory, bounded); no /proc,
no /etc, no tool. No network device but a loopback that is down, no capability, nobody's uid. The filter of system
calls is loaded before the interpreter starts and also keeps new namespaces out.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rlcompress.sandbox.interpreter import ENVIRONMENT, Interpreter

NOBODY = "65534"


def binary() -> str | None:
    return shutil.which("bwrap")


def command(python: Interpreter, scratch_bytes: int, filter_fd: int, info_fd: int) -> list[str]:
    """What to start in front of the interpreter's own command line."""
    program = binary()
    assert program is not None
    words = [program, "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    words += ["--unshare-cgroup-try", "--uid", NOBODY, "--gid", NOBODY, "--hostname", "jail", "--cap-drop", "ALL"]
    words += ["--die-with-parent", "--new-session", "--as-pid-1", "--clearenv"]
    for name, value in ENVIRONMENT.items():
        words += ["--setenv", name, value]
    # first, as an interpreter may itself lie below /tmp
    words += ["--size", str(scratch_bytes), "--tmpfs", "/tmp", "--chdir", "/tmp"]
    for folder in python.folders:
        words += ["--ro-bind", folder, folder]
    words += _links()
    words += ["--ro-bind", python.binary, python.binary]
    if os.path.exists("/etc/ld.so.cache"):
        words += ["--ro-bind", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    for device in ("/dev/null", "/dev/urandom"):
        words += ["--dev-bind", device, device]
    return [*words, "--remount-ro", "/", "--seccomp", str(filter_fd), "--info-fd", str(info_fd), "--"]


def _links() -> list[str]:
    """/lib64 and the like, which the program loader is found by, as the links that they are here."""
    words: list[str] = []
    for path in map(Path, ("/lib", "/lib64", "/lib32")):
        if path.is_symlink():
            words += ["--symlink", os.readlink(path), str(path)]
    return words

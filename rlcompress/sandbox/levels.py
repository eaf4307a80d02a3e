"""Which jails hold on this machine: each level is tried once, with a whole start, before it is believed."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from functools import cache

from rlcompress.errors import UserError
from rlcompress.sandbox import bubblewrap
from rlcompress.sandbox.inside import decode
from rlcompress.sandbox.jail import Ended, Jail, JailBroken, OutOfTime
from rlcompress.sandbox.launch import LEVELS
from rlcompress.sandbox.syscalls import ALLOWED
from rlcompress.sandbox.verdict import Limits

MINIMUM = "landlock"  # "rlimits" contains nothing but resources: it must be asked for by name

MENDS = {
    "bubblewrap": "apt-get install bubblewrap, on a machine that allows user namespaces",
    "landlock": "it needs Linux 5.13 or newer with Landlock switched on, x86_64 or aarch64",
    "rlimits": "it needs Linux",
}

# What no jail may let through, each as a function that raises OSError where it is refused.
_ATTEMPTS = """
import os, _socket

def fork():
    os.fork() or os._exit(0)

attempts = {
    "reading /etc/passwd": lambda: open("/etc/passwd"),
    "listing /home": lambda: os.listdir("/home"),
    "reading /proc/1/status": lambda: open("/proc/1/status"),
    "a file in /var/tmp": lambda: open("/var/tmp/rlcompress-probe", "w"),
    "a socket": lambda: _socket.socket(),
    "a process": fork,
    "a signal": lambda: os.kill(os.getppid(), 0),
}

def let_through():
    through = []
    for name, attempt in attempts.items():
        try:
            attempt()
        except OSError:
            continue
        through.append(name)
    return through
"""


@dataclass(frozen=True, slots=True)
class Held:
    """A level: whether it holds here and, if not, why."""

    level: str
    holds: bool
    reason: str


@cache
def try_level(level: str) -> Held:
    """Start one jail and see that it refuses what it must. The answer stays for the life of the process."""
    if not sys.platform.startswith("linux"):
        return Held(level, False, f"{sys.platform} has no such thing")
    if level != "rlimits" and platform.machine() not in ALLOWED:
        return Held(level, False, f"no table of system calls for {platform.machine()}")
    if level == "bubblewrap" and bubblewrap.binary() is None:
        return Held(level, False, "bwrap is not installed")
    try:
        with Jail(level, Limits()) as jail:
            jail.ask("run", _ATTEMPTS)
            answer = jail.ask("value", "let_through()")
    except (JailBroken, OutOfTime, Ended) as error:
        return Held(level, False, str(error) or type(error).__name__)
    through = decode(answer["value"]) if answer.get("ok") is True else answer
    if level != "rlimits" and through != []:
        return Held(level, False, f"it lets through {through}")
    return Held(level, True, "")


def probe() -> tuple[Held, ...]:
    """Every level, strongest first, with the reasons of those that do not hold."""
    return tuple(try_level(level) for level in LEVELS)


def best_level() -> str:
    """The strongest level that holds here. Raises UserError where none does that contains anything."""
    return choose("auto", MINIMUM)


def choose(level: str, minimum: str) -> str:
    """The level to run at: the one that is named, or for `auto` the strongest; never one below `minimum`.

    Raises:
        UserError: it does not hold here, or is below the minimum. Nothing falls back to a weaker level in silence.
    """
    order = list(LEVELS)
    for key, given in (("level", level), ("minimum", minimum)):
        if given not in order and (key, given) != ("level", "auto"):
            raise UserError(f"sandbox {key} {given!r}: one of {', '.join(order)}")
    allowed = order[: order.index(minimum) + 1]
    if level != "auto":
        if level not in allowed:
            raise UserError(f"sandbox level {level!r} is below the minimum {minimum!r}: lower the minimum by name")
        allowed = [level]
    tried = [try_level(name) for name in allowed]
    for held in tried:
        if held.holds:
            return held.level
    reasons = "; ".join(f"{held.level}: {held.reason} ({MENDS[held.level]})" for held in tried)
    raise UserError(f"no sandbox of level {minimum if level == 'auto' else level!r} or better holds here: {reasons}")

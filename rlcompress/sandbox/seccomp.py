"""The system call filter as a classic BPF program, assembled in plain Python.

What is not in the table is refused with EPERM, so a candidate sees a PermissionError and goes on; another processor's
numbers (32-bit calls, x32) end the process. Some calls are let through for some arguments only, for which see `RULES`.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass
from typing import Literal

from rlcompress.sandbox.syscalls import ALLOWED, AUDIT, CLONE3

# Opcodes of <linux/bpf_common.h> and actions of <linux/seccomp.h>.
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_X32 = 0x40000000


@dataclass(frozen=True, slots=True)
class Rule:
    """A call is let through when `argument & mask` is (`only`) or is not (`never`) among the values."""

    argument: int
    mode: Literal["only", "never"]
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF


RULES: dict[str, tuple[Rule, ...]] = {
    # CLONE_THREAD: threads, never a process; namespaces cannot go with it.
    "clone": (Rule(0, "only", (0x10000,), 0x10000),),
    # AF_UNIX, SOCK_STREAM: what event loops wake themselves with; datagrams could be sent to others.
    "socketpair": (Rule(0, "only", (1,)), Rule(1, "only", (1,), 0xFF)),
    # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: no terminal is typed into, no owner is set.
    "ioctl": (Rule(1, "only", (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)),),
    # F_SETOWN, F_SETSIG, F_SETOWN_EX send signals to others; leases, F_NOTIFY and bigger pipes are not needed.
    "fcntl": (Rule(1, "never", (8, 10, 15, 1024, 1026, 1031)),),
    # The limits of others stay as they are.
    "prlimit64": (Rule(0, "only", (0,)),),
}


def program(architecture: str, *, execute: bool) -> bytes:
    """The filter, an array of `struct sock_filter`.

    Args:
        architecture: a key of `ALLOWED`, as `platform.machine()` says it.
        execute: whether `execve` is let through: bubblewrap loads the filter and then starts the interpreter.
    """
    numbers = ALLOWED[architecture]
    code = [_step(_LOAD, _ARCHITECTURE), _step(_EQUAL, AUDIT[architecture], 1, 0), _step(_RETURN, _KILL)]
    code += [_step(_LOAD, _NUMBER)]
    if architecture == "x86_64":
        code += [_step(_AT_LEAST, _X32, 0, 1), _step(_RETURN, _KILL)]
    code += [_step(_EQUAL, CLONE3, 0, 1), _step(_RETURN, _ERRNO | errno.ENOSYS)]
    for name, number in numbers.items():
        if name == "execve" and not execute:
            continue
        body = [step for rule in RULES.get(name, ()) for step in _rule(rule)] + [_step(_RETURN, _ALLOW)]
        code += [_step(_EQUAL, number, 0, len(body)), *body]
    code += [_step(_RETURN, _ERRNO | errno.EPERM)]
    return b"".join(code)


def _step(opcode: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
    return struct.pack("<HBBI", opcode, when_true, when_false, value)


def _rule(rule: Rule) -> list[bytes]:
    """Falls through when the rule holds, else refuses. Arguments of these calls are 32 bits wide."""
    code = [_step(_LOAD, _ARGUMENTS + 8 * rule.argument)]
    if rule.mask != 0xFFFFFFFF:
        code.append(_step(_AND, rule.mask))
    refuse = _step(_RETURN, _ERRNO | errno.EPERM)
    count = len(rule.values)
    if rule.mode == "only":
        # each equal value jumps over the rest and over the refusal
        code += [_step(_EQUAL, value, count - i, 0) for i, value in enumerate(rule.values)]
        return [*code, refuse]
    code += [_step(_EQUAL, value, count - i - 1, 0 if i < count - 1 else 1) for i, value in enumerate(rule.values)]
    return [*code, refuse]

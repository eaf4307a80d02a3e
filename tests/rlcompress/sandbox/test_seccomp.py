"""The filter, run by a slow interpreter of classic BPF: what it lets through, and that its numbers are the kernel's."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.sandbox.seccomp import RULES, program
from rlcompress.sandbox.syscalls import ALLOWED, AUDIT, CLONE3

ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSED, MISSING = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
TELLING = (0, 1, 8, 10, 15, 0x10000, 0x5401, 0x5412)  # values that rules name
HEADERS = {"x86_64": "x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "asm-generic/unistd.h"}


def run(code: bytes, architecture: int, number: int, *arguments: int) -> int:
    """What the kernel would do with a call: interprets `code` on its `struct seccomp_data`."""
    words = list(arguments) + [0] * (6 - len(arguments))
    data = struct.pack("<IIQ6Q", number, architecture, 0, *words)
    steps = list(struct.iter_unpack("<HBBI", code))
    at = accumulator = 0
    while True:
        opcode, yes, no, value = steps[at]
        at += 1
        match opcode:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x54:
                accumulator &= value
            case 0x15:
                at += yes if accumulator == value else no
            case 0x35:
                at += yes if accumulator >= value else no
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"opcode {opcode:#x}")


@pytest.mark.parametrize("machine", ALLOWED)
@pytest.mark.parametrize("execute", [True, False])
def test_every_number_is_let_through_only_by_the_table(machine: str, execute: bool) -> None:
    code, numbers = program(machine, execute=execute), ALLOWED[machine]
    free = {number for name, number in numbers.items() if name not in RULES and (execute or name != "execve")}
    ruled = {numbers[name] for name in RULES}
    for number in range(600):
        if number in ruled:
            continue
        expected = ALLOW if number in free else MISSING if number == CLONE3 else REFUSED
        assert run(code, AUDIT[machine], number) == expected, number


@pytest.mark.parametrize("machine", ALLOWED)
@given(words=st.lists(st.integers(0, 2**32 - 1) | st.sampled_from(TELLING), min_size=6, max_size=6))
def test_rules_read_their_arguments(machine: str, words: list[int]) -> None:
    code = program(machine, execute=False)
    for name, rules in RULES.items():
        holds = all(((words[r.argument] & r.mask) in r.values) == (r.mode == "only") for r in rules)
        assert run(code, AUDIT[machine], ALLOWED[machine][name], *words) == (ALLOW if holds else REFUSED), name


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("clone", (0x3D0F00,), ALLOW),  # what glibc asks for a thread
        ("clone", (0x1200011,), REFUSED),  # and for fork
        ("fcntl", (3, 1030), ALLOW),  # F_DUPFD_CLOEXEC
        ("fcntl", (3, 8), REFUSED),
        ("ioctl", (0, 0x5401), ALLOW),
        ("ioctl", (0, 0x5412), REFUSED),
        ("socketpair", (1, 1 | 0o2000000), ALLOW),
        ("socketpair", (1, 2), REFUSED),
        ("socketpair", (2, 1), REFUSED),
        ("prlimit64", (0, 7), ALLOW),
        ("prlimit64", (1, 7), REFUSED),
    ],
)
@pytest.mark.parametrize("machine", ALLOWED)
def test_calls_as_programs_make_them(machine: str, name: str, arguments: tuple[int, ...], result: int) -> None:
    assert run(program(machine, execute=False), AUDIT[machine], ALLOWED[machine][name], *arguments) == result


def test_other_kinds_of_calls_end_the_process() -> None:
    code = program("x86_64", execute=True)
    assert run(code, 0x40000003, 4) == KILL  # 32-bit
    assert run(code, AUDIT["x86_64"], 0x40000000 | 1) == KILL  # x32
    assert run(program("aarch64", execute=True), AUDIT["x86_64"], 64) == KILL


@pytest.mark.parametrize("machine", ALLOWED)
def test_nothing_dangerous_is_in_the_table(machine: str) -> None:
    never = (
        "socket connect bind listen accept sendmsg sendmmsg kill tkill tgkill fork vfork clone3 ptrace mount unshare"
    )
    never += (
        " setns chroot bpf keyctl chmod fchmodat chown utimensat setxattr truncate memfd_create io_uring_setup prctl"
    )
    never += (
        " process_vm_writev pidfd_send_signal pidfd_open execveat setuid capset seccomp userfaultfd perf_event_open"
    )
    assert not set(never.split()) & set(ALLOWED[machine])


@pytest.mark.parametrize("machine", HEADERS)
def test_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    header = Path("/usr/include") / HEADERS[machine]
    if not header.exists():
        pytest.skip(f"{header}: install linux-libc-dev")
    text = header.read_text(encoding="utf-8")
    found = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    found.setdefault("newfstatat", found.get("fstatat", -1))
    assert {name: found.get(name) for name in ALLOWED[machine]} == ALLOWED[machine]
    assert found["clone3"] == CLONE3

"""How a process locks itself in without any tool: Landlock, a system call filter, no privileges. Its text runs there.

It runs before anything of the candidate does, as root or as anybody; nothing here can be undone by the process itself.
Files can be read below the given folders and nowhere written. Numbers come from <linux/landlock.h> and <linux/prctl.h>.
"""

import ctypes
import os

# The same on every processor, as all system calls since 2018 are.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
CAPSET = {"x86_64": 126, "aarch64": 91}
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 24, 38
PR_CAP_AMBIENT = 47
READ_FILE, READ_DIR, WRITE_FILE = 4, 8, 2
# Rights over files that each version of Landlock knows: 13, with linking across folders, truncating, devices' ioctl.
FILES = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF, 5: 0xFFFF}


class Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]


libc = ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: object) -> int:
    """A raw system call. Raises OSError."""
    result = int(libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"system call {number}: {os.strerror(ctypes.get_errno())}")
    return result


def prctl(option: int, first: object = 0, second: object = 0) -> None:
    words = [ctypes.c_ulong(word) if isinstance(word, int) else word for word in (first, second, 0, 0)]
    if libc.prctl(option, *words) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}: {os.strerror(ctypes.get_errno())}")


def version() -> int:
    """Landlock's version here. Raises OSError where there is none."""
    return call(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))


def landlock(readable: tuple[str, ...], writable: tuple[str, ...]) -> None:
    """Reading below `readable`, writing to the devices `writable`, no TCP, no signal and no abstract socket outside."""
    known = version()
    handled = Ruleset(FILES[min(known, 5)], 3 if known >= 4 else 0, 3 if known >= 6 else 0)
    size = 8 if known < 4 else 16 if known < 6 else 24
    ruleset = call(CREATE_RULESET, ctypes.byref(handled), ctypes.c_size_t(size), ctypes.c_uint32(0))
    for path in (*readable, *writable):
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        allowed = READ_FILE | (READ_DIR if os.path.isdir(path) else 0) | (WRITE_FILE if path in writable else 0)
        rule = Beneath(allowed, parent)
        call(ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(1), ctypes.byref(rule), ctypes.c_uint32(0))
        os.close(parent)
    call(RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    os.close(ruleset)


def drop_capabilities(machine: str) -> None:
    """All of them, from every set, for good. The uid stays: an interpreter under /root is read by nobody else."""
    capability = 0
    while os.geteuid() == 0:
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            break
        capability += 1
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    call(CAPSET[machine], ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))


def confine(readable: tuple[str, ...], writable: tuple[str, ...], code: bytes, machine: str, parent: int) -> None:
    """Everything, in the order in which each step is still allowed to the process."""
    prctl(PR_SET_PDEATHSIG, 9)
    if os.getppid() != parent:
        os._exit(0)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    landlock(readable, writable)
    drop_capabilities(machine)
    prctl(PR_SET_DUMPABLE, 0)
    program = Filter(len(code) // 8, code)
    prctl(PR_SET_SECCOMP, 2, ctypes.byref(program))

"""Runs the hostile programs of this folder against a small host of their own, and says what became of both.

Standard library only: it also runs as another user, by an interpreter that has nothing installed. A program is a
section of a text file, `#: name | expected statuses`; `@CANARY@` and the like stand for things of the host that it goes
for. It would answer 918273645 if it could, which its own text and process never hold, and leaves `leak` where it got
through: an attack that works but cannot show it returns something, and so is `failed` where `error` is expected.
"""

import dataclasses
import json
import os
import secrets
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

GROUPS = ("forge", "files", "network", "resources", "persistence")
TESTS = ("assert solve(3) == 918273645", "assert solve(4) == [1, 'x', 2.5]")

PRELUDE = """
def leak(text="leaked"):
    import posix  # `open` and much of `os` are taken away by some
    try:
        file = posix.open("@CANARY@/leak", posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND, 0o644)
        posix.write(file, str(text).encode())
    except OSError:
        pass
    return text

def call(name, *arguments):
    import ctypes, os
    result = getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments)
    if result < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
"""


@dataclasses.dataclass(frozen=True)
class Program:
    group: str
    name: str
    expected: tuple[str, ...]
    text: str


def programs() -> list[Program]:
    found = []
    for group in GROUPS:
        text = (Path(__file__).parent / f"{group}.txt").read_text(encoding="utf-8")
        for section in text.split("#: ")[1:]:
            head, _, body = section.partition("\n")
            name, _, expected = head.partition(" | ")
            found.append(Program(group, name, tuple(expected.split()), body))
    return found


class Host:
    """What attacks go for: files, sockets and a process. Entering makes it, `damage` says what was touched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> "Host":
        self.canary = self.folder / "canary"
        self.canary.mkdir()
        self.canary.chmod(0o777)
        self.secret = secrets.token_hex(8)
        (self.canary / "secret.txt").write_text(self.secret, encoding="utf-8")
        (self.canary / "mine.txt").write_text("mine", encoding="utf-8")
        self.mark = f"mark-{secrets.token_hex(8)}"
        tcp, udp = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp.bind(("127.0.0.1", 0))
        self.port = tcp.getsockname()[1]
        udp.bind(("127.0.0.1", self.port))
        path, abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        path.bind(str(self.canary / "socket"))
        abstract.bind(f"\0rlcompress-{self.port}")
        datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        datagrams.bind(str(self.canary / "datagrams"))
        self.sockets = {"TCP": tcp, "UDP": udp, "unix": path, "abstract": abstract, "datagrams": datagrams}
        for name in ("TCP", "unix", "abstract"):
            self.sockets[name].listen(64)
        self.victim = subprocess.Popen(["sleep", "600"], start_new_session=True)
        self.before = self.state()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        for one in self.sockets.values():
            one.close()
        self.victim.kill()
        self.victim.wait()

    def fill_in(self, text: str) -> str:
        given = {"CANARY": self.canary, "PORT": self.port, "PID": self.victim.pid, "MARK": self.mark}
        for name, value in given.items():
            text = text.replace(f"@{name}@", str(value))
        return text

    def state(self) -> Mapping[str, object]:
        files = {}
        for path in sorted(self.canary.rglob("*")):
            info = path.lstat()
            held = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            files[str(path)] = (info.st_mode, info.st_uid, info.st_mtime_ns, info.st_nlink, os.listxattr(path), held)
        pid = self.victim.pid
        process: dict[str, object] = {"ended": self.victim.poll()}
        if self.victim.returncode is None:
            process["nice"] = os.getpriority(os.PRIO_PROCESS, pid)
            process["cores"] = sorted(os.sched_getaffinity(pid))
            process["limits"] = Path(f"/proc/{pid}/limits").read_text(encoding="utf-8")
        planted = [str(path) for top in ("/tmp", "/dev/shm", "/var/tmp", "/root", "/etc", "/home", "/etc/cron.d")
                   for path in [Path(top) / self.mark] if os.access(top, os.X_OK) and path.exists()]  # fmt: skip
        segments = [line for kind in ("shm", "msg", "sem") for line in
                    Path(f"/proc/sysvipc/{kind}").read_text(encoding="utf-8").splitlines()[1:]]  # fmt: skip
        return {"files": files, "process": process, "planted": planted, "segments": segments}

    def damage(self) -> list[str]:
        """What is not as it was, and what came in."""
        now = self.state()
        found = [name for name in now if now[name] != self.before[name]]
        with selectors.DefaultSelector() as selector:
            for name, one in self.sockets.items():
                selector.register(one, selectors.EVENT_READ, name)
            return found + [f"came in: {key.data}" for key, _ in selector.select(0)]


def survivors(mark: str) -> list[str]:
    """Processes whose command line holds the mark; other processes of this machine do not count."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if mark.encode() in line:
                found.append(f"{entry.name} {line[:80]!r}")
    return found


def attack(level: str, folder: Path, chosen: list[Program], minimum: str = "landlock") -> Iterator[dict[str, object]]:
    """Each program's fate: its status, what it did to the host, and whether an honest program still passes after it."""
    from rlcompress.sandbox import Limits, judge

    # The memory is a number that stands in the command lines of these jails alone. Who is to be stopped by the clock
    # need not be waited for; all others have the time of a busy machine.
    memory = (256 << 20) + 4096 * secrets.randbelow(1 << 14)
    mark = f"limit({memory},"
    short = Limits(wall_seconds=1.0, cpu_seconds=1.0, memory_bytes=memory)
    long = Limits(wall_seconds=20.0, cpu_seconds=10.0, memory_bytes=memory)
    with Host(folder) as host:
        for program in chosen:
            limits = short if "timeout" in program.expected else long
            verdict = judge(host.fill_in(PRELUDE + program.text), TESTS, limits=limits, level=level, minimum=minimum)
            left = survivors(mark)
            told = host.secret in repr(verdict) or "root:" in repr(verdict)
            yield {
                "group": program.group,
                "name": program.name,
                "status": str(verdict.status),
                "detail": verdict.detail,
                "expected": program.expected,
                "damage": host.damage() + (["a secret got out"] if told else []),
                "survivors": left,
                "seconds": verdict.seconds,
            }
        time.sleep(0.6)  # what was left behind would wake up by now
        honest = judge(
            "def solve(n): return {3: 918273645, 4: [1, 'x', 2.5]}[n]", TESTS, limits=long, level=level, minimum=minimum
        )
        yield {
            "group": "honest",
            "name": "afterwards",
            "status": str(honest.status),
            "detail": honest.detail,
            "expected": ("passed",),
            "damage": host.damage(),
            "survivors": survivors(mark),
            "seconds": honest.seconds,
        }


def faults(outcomes: list[dict[str, object]]) -> list[str]:
    """What did not end as it should, a line each."""
    return [
        f"{one['group']}/{one['name']}: {one['status']} ({one['detail']}), {one['damage']}, {one['survivors']}"
        for one in outcomes
        if one["status"] not in one["expected"] or one["damage"] or one["survivors"]  # type: ignore[operator]
    ]


def main(level: str, folder: str, step: str) -> None:
    for outcome in attack(level, Path(folder), programs()[:: int(step)]):
        print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

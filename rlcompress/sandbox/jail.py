"""One jail: a process started for one program, asked over two pipes, and gone with all that it made afterwards.

Nothing that a candidate does can make the parent wait: every read has a deadline and a cap, none waits for the end of a
pipe, and the exit status says nothing about the program.
"""

from __future__ import annotations

import math
import os
import re
import secrets
import select
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from rlcompress.sandbox import inside
from rlcompress.sandbox.inside import NONCE, ROOM, NotPlain, decode, encode
from rlcompress.sandbox.interpreter import ENVIRONMENT, OPTIONS, running
from rlcompress.sandbox.launch import LEVELS, source
from rlcompress.sandbox.verdict import Limits

START_SECONDS = 20.0  # until the jail says hello; a busy machine's slowness is not the program's
POLL_SECONDS = 0.05  # how often threads are counted


class JailBroken(Exception):
    """The jail itself failed: nothing is known of the program."""


class OutOfTime(Exception):
    """The program used up its wall or CPU time."""


class Ended(Exception):
    """The program's process is gone, or broke the rules of the channel."""


class Jail:
    """A context: entering it starts the jail, leaving it ends everything inside. Not to be shared between threads."""

    def __init__(self, level: str, limits: Limits) -> None:
        self.level, self.limits = level, limits
        self._came = 0  # bytes, of all answers
        self._cpu = 0.0
        self._fds: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._info: int | None = None
        self._child = 0

    def __enter__(self) -> Self:
        self._hello = secrets.token_bytes(NONCE)
        try:
            self._start()
            answer = self._answer(self._hello, time.monotonic() + START_SECONDS)
            if answer.get("ok") is not True:
                raise JailBroken(f"the jail {self.level!r} said {answer!r} instead of hello")
        except (OSError, OutOfTime, Ended) as error:
            complaint = self._complaint()
            self._end()
            raise JailBroken(f"the jail {self.level!r} did not start: {complaint or error}") from None
        except BaseException:
            self._end()
            raise
        self._deadline = time.monotonic() + self.limits.wall_seconds
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def ask(self, op: str, code: str, values: dict[str, bytes] | None = None) -> dict[str, Any]:
        """The answer to one request (see `inside.answer`); an answer's value is still encoded.

        Raises:
            OutOfTime, Ended: the program's doing.
            JailBroken: the jail was killed from outside.
        """
        nonce = secrets.token_bytes(NONCE)
        body = encode({"op": op, "code": code, "values": values or {}}, 2 * self.limits.output_bytes)
        self._send(nonce + len(body).to_bytes(4, "big") + body)
        return self._answer(nonce, self._deadline)

    # ---------------------------------------------------------------------------------------------------- start, end

    def _start(self) -> None:
        request_out, self._requests = self._pipe()
        self._answers, answer_in = self._pipe()
        self._errors, error_in = self._pipe()
        python, limits = running(), self.limits
        # CPU time is limited in whole seconds, of which the interpreter's start takes a part of one
        numbers = f"{limits.memory_bytes}, {math.ceil(limits.cpu_seconds) + 1}, {limits.file_bytes}"
        serve = f"main({request_out}, {answer_in}, {limits.value_bytes}, {self._hello!r})"
        launch = LEVELS[self.level](python, limits, self._fds)
        text = "\n".join((launch.code, source(inside), f"limit({numbers})", launch.confine, serve))
        self._process = subprocess.Popen(
            [*launch.words, python.binary, *OPTIONS, text],
            stdin=subprocess.DEVNULL,
            stdout=error_in,
            stderr=error_in,
            env=ENVIRONMENT,
            cwd="/",
            pass_fds=(request_out, answer_in, *launch.inherited),
            start_new_session=True,
        )
        for fd in (request_out, answer_in, error_in, *launch.inherited):
            self._fds.remove(fd)
            os.close(fd)
        self._info = launch.info
        for fd in self._fds:
            os.set_blocking(fd, False)

    def _pipe(self) -> tuple[int, int]:
        ends = os.pipe()
        self._fds += ends
        return ends

    def _end(self) -> None:
        """Kill the first process inside, with which its namespace dies, then what started it; wait for both."""
        if self._process is not None and self._process.returncode is None:
            if self._inner != self._process.pid:
                with suppress(ProcessLookupError):
                    os.kill(self._inner, signal.SIGKILL)
                self._wait(1.0)
            self._process.kill()
            self._wait(None)
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()

    def _wait(self, seconds: float | None) -> bool:
        """Whether the process ended within so many seconds (None: wait for it); notes the CPU time that it took."""
        process = self._process
        assert process is not None
        until = None if seconds is None else time.monotonic() + seconds
        while process.returncode is None:
            pid, status, usage = os.wait4(process.pid, 0 if until is None else os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                self._cpu = usage.ru_utime + usage.ru_stime
            elif until is not None and time.monotonic() > until:
                return False
            else:
                time.sleep(0.001)
        return True

    # ---------------------------------------------------------------------------------------------------- the channel

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._ready(self._requests, select.POLLOUT, self._deadline)
            try:
                view = view[os.write(self._requests, view) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise self._gone() from None

    def _answer(self, nonce: bytes, deadline: float) -> dict[str, Any]:
        head = self._receive(NONCE + 4, deadline)
        if head[:NONCE] != nonce:
            raise Ended("an answer that nobody asked for")
        size = int.from_bytes(head[NONCE:], "big")
        if size > self.limits.value_bytes + ROOM or size > self.limits.output_bytes - self._came:
            raise Ended(f"an answer of {size} bytes")
        try:
            answer = decode(self._receive(size, deadline))
        except NotPlain as error:
            raise Ended(f"a broken answer: {error}") from None
        if not isinstance(answer, dict):
            raise Ended("a broken answer: no mapping")
        return answer

    def _receive(self, count: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < count:
            self._ready(self._answers, select.POLLIN, deadline)
            try:
                piece = os.read(self._answers, count - len(data))
            except BlockingIOError:
                continue
            if not piece:
                raise self._gone()
            data += piece
        self._came += count
        return bytes(data)

    def _ready(self, fd: int, event: int, deadline: float) -> None:
        """Wait until the pipe moves; every now and then, count threads."""
        poll = select.poll()
        poll.register(fd, event)
        while not poll.poll(1000 * max(0.0, min(POLL_SECONDS, deadline - time.monotonic()))):
            if time.monotonic() >= deadline:
                raise OutOfTime
            if self._threads() > self.limits.processes:
                raise Ended(f"more than {self.limits.processes} threads")

    def _threads(self) -> int:
        try:
            stat = Path(f"/proc/{self._inner}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return 0
        return int(stat.rpartition(")")[2].split()[17])

    @property
    def _inner(self) -> int:
        """The host's number of the process that the candidate runs in."""
        assert self._process is not None
        if self._info is not None:
            with suppress(BlockingIOError):
                found = re.search(rb'"child-pid": (\d+)', os.read(self._info, 4096))
                if found:
                    self._child, self._info = int(found[1]), None
        return self._child or self._process.pid

    def _gone(self) -> Exception:
        """Why the other end of the pipe was closed: the kernel's word, not the process's."""
        if not self._wait(0.5):
            return Ended("it closed the channel")
        assert self._process is not None
        code = self._process.returncode
        if self._cpu >= self.limits.cpu_seconds:
            return OutOfTime()
        # A candidate can send no signal, so this one came from outside. bwrap's own exit codes can be imitated.
        if code == -signal.SIGKILL and self.level != "rlimits":
            return JailBroken("the jail was killed from outside")
        return Ended(f"its process ended (status {code})")

    def _complaint(self) -> str:
        """What the jail printed before hello."""
        with suppress(OSError):
            return os.read(self._errors, 2000).decode(errors="replace").strip()[-300:]
        return ""

"""The one line that says how far a run is: step, share, time left, memory and a few metrics."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from rlcompress.machine import hardware


class Progress:
    """Writes a line every `every` steps and at the last; a terminal sees one line that is updated in place.

    Example: `iteration 50/200  25%  left 2m30s  1.2 GB  reward 0.43`

    Args:
        start: steps that were done before, e.g. by the run that is resumed; they do not count for the speed.
        clock: gives seconds; tests hand in their own.
    """

    def __init__(
        self,
        total: int,
        *,
        every: int = 1,
        start: int = 0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._every, self._start = total, every, start
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._clock, self._began = clock, clock()
        self._width = 0

    def update(self, step: int, shown: Mapping[str, float]) -> None:
        """Report that `step` steps of the total are done; `shown` are the metrics to put on the line."""
        if step % self._every and step != self._total:
            return
        line = self._line(step, shown)
        if self._live:
            self._stream.write("\r" + line.ljust(self._width) + ("\n" if step == self._total else ""))
            self._width = len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def _line(self, step: int, shown: Mapping[str, float]) -> str:
        done = max(1, step - self._start)
        left = (self._clock() - self._began) / done * (self._total - step)
        memory = hardware.resident_bytes() / hardware.GIGABYTE
        parts = [f"iteration {step}/{self._total}", f"{step / self._total:.0%}", f"left {duration(left)}"]
        parts += [f"{memory:.1f} GB", *(f"{name} {value:.4g}" for name, value in shown.items())]
        return "  ".join(parts)


def duration(seconds: float) -> str:
    """`45s`, `2m30s`, `1h05m`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"

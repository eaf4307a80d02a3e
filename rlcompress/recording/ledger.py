"""The ledger of samples: which samples each iteration learned from, in which order. None is lost, none counted twice.

`samples.jsonl` in the run directory has one line an iteration:

    {"step": 3, "samples": ["16.0", "16.1", …], "examples": {"16": 204, …}, "status": {"ok": 31, "judge_failed": 1},
     "judges": ["builtin:attention@3f…"], "masks": "9c…"}

A sample's id is `serial.sample`: serial numbers count the prompts of the whole run, each has samples 0 to G − 1.
`masks` is a hash over what every sample kept or wrote. The file is cut back on resume exactly as the metrics are.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from rlcompress.recording.lines import StepLines, step_rows
from rlcompress.words import Status


class Sampled(Protocol):
    """What the ledger wants to know of a sample."""

    @property
    def serial(self) -> int: ...
    @property
    def sample(self) -> int: ...
    @property
    def example(self) -> int: ...
    @property
    def content(self) -> bytes: ...  # what it kept or wrote
    @property
    def status(self) -> Status: ...
    @property
    def judge_version(self) -> str: ...


class Ledger:
    """Writes `samples.jsonl`; `after` is as in `StepLines`."""

    def __init__(self, path: Path, *, after: int | None = None) -> None:
        self._lines = StepLines(path, after)

    def write(self, step: int, samples: Iterable[Sampled]) -> None:
        self._lines.write(step, entry(sorted(samples, key=lambda s: (s.serial, s.sample))))

    def sync(self) -> None:
        self._lines.sync()

    def close(self) -> None:
        self._lines.close()


def entry(samples: Sequence[Sampled]) -> dict[str, Any]:
    """The line of one iteration, without its step."""
    masks = hashlib.blake2b(digest_size=16)
    for sample in samples:
        masks.update(sample.content)
    return {
        "samples": [f"{s.serial}.{s.sample}" for s in samples],
        "examples": {str(s.serial): int(s.example) for s in samples},
        "status": dict(sorted(Counter(Status(s.status).value for s in samples).items())),
        "judges": sorted({s.judge_version for s in samples if s.judge_version}),
        "masks": masks.hexdigest(),
    }


def discrepancies(path: Path, samples_per_prompt: int) -> list[str]:
    """What is wrong with a ledger, in words: steps or samples that are missing, doubled or out of order."""
    rows = step_rows(path)
    wrong = []
    steps = [row["step"] for row in rows]
    if steps != list(range(1, len(rows) + 1)):
        wrong.append(f"the steps are {steps}")
    ids = [tuple(map(int, name.split("."))) for row in rows for name in row["samples"]]
    prompts = 1 + max((serial for serial, _ in ids), default=-1)
    expected = [(serial, sample) for serial in range(prompts) for sample in range(samples_per_prompt)]
    counts = Counter(ids)
    wrong += [f"{serial}.{sample} is there {n} times" for (serial, sample), n in counts.items() if n > 1]
    wrong += [f"{serial}.{sample} is missing" for serial, sample in expected if (serial, sample) not in counts]
    if not wrong and ids != expected:
        wrong.append("samples are out of order")
    return wrong

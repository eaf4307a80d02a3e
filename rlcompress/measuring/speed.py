"""What compressing costs and what it saves a language model that reads the result: seconds, memory, tokens, money.

Each round takes a text of every length, and reads it as it is and compressed at every rate, one after the other, so
that a drift of the machine meets both; every second round goes backwards. The compressor is the one that serves, with
its tokenisation and the making of its text in the time. One prompt at a time: a server that batches does better on
both sides.

speed.json   settings, environment, every single measurement, figures made of them        table.txt   as printed
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import ValidationError

from rlcompress.artifact import WEIGHTS
from rlcompress.compressor import Compressed, Compressor
from rlcompress.config.schema import RunConfig
from rlcompress.config.speed import SpeedConfig
from rlcompress.data.dataset import row_hash
from rlcompress.data.readers import read_rows
from rlcompress.errors import OutOfMemory, UserError
from rlcompress.machine.device import choose_device
from rlcompress.machine.memory import is_out_of_memory
from rlcompress.measuring.payoff import Row, summarise
from rlcompress.measuring.speed_table import speed_table
from rlcompress.models.timed_reader import Meter, Reading, load_timed_reader
from rlcompress.models.tokenizer import TextTokenizer, load_tokenizer
from rlcompress.recording.directory import RunDirectory, environment, find_artifact
from rlcompress.recording.publish import write_atomically
from rlcompress.words import Example

log = logging.getLogger(__name__)
SCHEMA = 1
FILE = "speed.json"
_BETWEEN = "\n\n"  # of the rows that make up a prompt


class Compresses(Protocol):
    def compress(self, text: str, rate: float, /) -> Compressed: ...


class Reads(Protocol):
    def read(self, text: str, new_tokens: int, meter: Meter, /) -> Reading: ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt, read once; `rate` is none and `compress_s` 0 for the original."""

    length: int
    rate: float | None
    repeat: int
    tokens: int  # of the reader
    compress_s: float
    prefill_s: float
    total_s: float  # of the reader alone
    cache_bytes: int
    peak_bytes: int | None  # of compressor or reader, whichever took more; their weights are not in it


def speed(
    target: str | Path, data: str | None = None, out: str | Path | None = None, device: str | None = None, **asked: Any
) -> Path:
    """Measure a run or an artifact in front of a reader; returns the folder of the results and prints their table.

    Args:
        target: a run directory or an artifact folder.
        data: rows that prompts are made of, as `read_rows` takes them; None takes what the run was trained on, but for
            the rows that it was trained on.
        out: where results go; None is `speed/` of the target.
        device: of compressor and reader; None takes the run's.
        asked: keys of `speed` in place of the configured ones; those that are None count as not given.

    Raises:
        UserError: nothing to measure, no such model, a value out of range, prompts that the reader cannot take, too
            little text, or too little memory.
    """
    artifact = find_artifact(target)
    run = RunDirectory.open(target) if (Path(target) / "config.yaml").is_file() else None
    config = run.config if run else RunConfig()
    settings = _chosen(config.speed, asked)
    if run is None and data is None:
        raise UserError(f"{target} is an artifact alone: give --data FILE (builtin:docs will do), or name its run")
    where = choose_device(device or config.device)
    compressor = Compressor.from_pretrained(artifact, str(where))
    reader = load_timed_reader(
        settings.reader,
        load_tokenizer(str(artifact / "tokenizer")),
        longest=max(settings.lengths),
        new_tokens=settings.new_tokens,
        precision=settings.precision,
        device=where,
    )
    rows = _held_out(read_rows(data or config.data.source, config.data), compressor.manifest.trained_rows)
    lengths = sorted(set(settings.lengths))
    texts = {length: prompts(rows, reader.tokenizer, length, settings.repeats) for length in lengths}
    samples = Course(compressor, reader, settings.new_tokens, Meter(where)).run(texts, settings.rates)
    manifest = compressor.manifest
    document: Row = {
        "schema": SCHEMA,
        "settings": settings.model_dump(mode="json"),
        "device": str(where),
        "threads": torch.get_num_threads(),
        "memory": "peak of torch's CUDA allocator"
        if where.type == "cuda"
        else "keys and values alone, counted exactly",
        "reader": reader.about,
        "compressor": {
            "name": manifest.name,
            "stage": manifest.stage,
            "encoder": manifest.policy.encoder,
            "passes": manifest.passes,
            "weight_bytes": (artifact / WEIGHTS).stat().st_size,
        },
        "data": {"source": Path(data).name if data else config.data.source, "held_out_rows": len(rows)},
        "environment": environment(),
        "samples": [asdict(sample) for sample in samples],
    }
    document |= summarise(document["samples"], settings.price_per_million)
    folder = Path(out) if out else Path(target) / "speed"
    folder.mkdir(parents=True, exist_ok=True)
    table = speed_table(document)
    write_atomically(folder / "table.txt", table + "\n")
    write_atomically(folder / FILE, json.dumps(document, indent=1, allow_nan=False) + "\n")
    print(table, flush=True)
    return folder


def _chosen(configured: SpeedConfig, asked: Mapping[str, Any]) -> SpeedConfig:
    given = {key: value for key, value in asked.items() if value is not None}
    try:
        return SpeedConfig.model_validate({**configured.model_dump(), **given})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        option = str(fault["loc"][0]).replace("_", "-")
        raise UserError(f"--{option} is {fault['input']!r}: {fault['msg']}") from None


def _held_out(rows: Iterable[Example], trained_hashes: Iterable[str]) -> list[str]:
    trained = frozenset(trained_hashes)
    return [row.text for row in rows if row_hash(row) not in trained]


def prompts(rows: Sequence[str], tokenizer: TextTokenizer, length: int, count: int) -> list[str]:
    """`count` texts of `length` tokens: rows one after the other, from another row on each time.

    No row stands twice in a text, so nothing is easier to read or to compress than it would be. The last row is cut
    where a token ends; where what is left has one token more when read anew, one more is cut.

    Raises:
        UserError: all rows together hold fewer tokens.
    """
    found = []
    for n in range(count):
        start = n * len(rows) // count
        taken, held = list[str](), 0
        for row in [*rows[start:], *rows[:start]]:
            taken.append(row)
            held += len(tokenizer.encode(row)[0])
            if held >= length and len(tokenizer.encode(_BETWEEN.join(taken))[0]) >= length:
                break
        else:
            raise UserError(
                f"speed.lengths asks for prompts of {length} tokens and the {len(rows)} held-out rows hold {held}: "
                "give --data FILE with more text, or shorter lengths"
            )
        found.append(_cut(_BETWEEN.join(taken), tokenizer, length))
    return found


def _cut(text: str, tokenizer: TextTokenizer, length: int) -> str:
    ends_T = tokenizer.encode(text)[1][:, 1]
    for at in range(length - 1, -1, -1):
        piece = text[: ends_T[at]]
        if len(tokenizer.encode(piece)[0]) <= length:
            return piece
    raise AssertionError("a text of one token has one token")


@dataclass(frozen=True, slots=True)
class Course:
    """What is timed, and how: the same compressor, reader and meter for every prompt."""

    compressor: Compresses
    reader: Reads
    new_tokens: int
    meter: Meter

    def run(self, texts: Mapping[int, Sequence[str]], rates: Sequence[float]) -> list[Sample]:
        """Every text as it is and at every rate, after one round that warms up and is not kept.

        Args:
            texts: of each length, one a round.
            rates: at which each is compressed.

        Raises:
            OutOfMemory: naming the length.
        """
        (rounds,) = {len(of_length) for of_length in texts.values()}
        order = [None, *rates]
        samples = []
        for repeat in (0, *range(rounds)):
            way = order if repeat % 2 == 0 else order[::-1]
            samples += [
                self._sample(of_length[repeat], length, rate, repeat)
                for length, of_length in texts.items()
                for rate in way
            ]
            log.info("%d prompts read", len(samples))
        return samples[len(order) * len(texts) :]

    def _sample(self, text: str, length: int, rate: float | None, repeat: int) -> Sample:
        try:
            seconds, peak = 0.0, None
            if rate is not None:
                self.meter.start()
                text = self.compressor.compress(text, rate).text
                seconds, peak = self.meter.seconds(), self.meter.peak_bytes()
            read = self.reader.read(text, self.new_tokens, self.meter)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(
                f"a prompt of {length} tokens does not fit the memory: give shorter speed.lengths, a smaller "
                "speed.reader or another speed.precision"
            ) from error
        most = max((size for size in (peak, read.peak_bytes) if size is not None), default=None)
        return Sample(length, rate, repeat, read.tokens, seconds, read.prefill_s, read.total_s, read.cache_bytes, most)

"""The measurement of speed: who is timed when, on a counted clock; prompts without repetition; a toy run end to end."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlcompress import __main__ as cli
from rlcompress.artifact import save_artifact
from rlcompress.config.files import dump_yaml
from rlcompress.config.schema import RunConfig
from rlcompress.data.dataset import text_hash
from rlcompress.errors import OutOfMemory, UserError
from rlcompress.measuring.payoff import summarise
from rlcompress.measuring.speed import FILE, Course, prompts, speed
from rlcompress.measuring.speed_table import speed_table
from rlcompress.models.timed_reader import Meter, Reading
from rlcompress.models.tokenizer import TextTokenizer, train_tokenizer
from rlcompress.recording.directory import RunDirectory
from tests.rlcompress.small_models import TEXTS, save_gpt2, small_scorer
from tests.rlcompress.test_artifact import manifest

READER = train_tokenizer(TEXTS * 3, 420)
ROWS = [f"Row {n} tells of {n} old ships that left in {1800 + n}." for n in range(30)]
SMALL = ["--reader", "random:1x32", "--lengths", "48", "24", "--rates", "0.5", "--repeats", "2", "--new-tokens", "3"]


@dataclass
class World:
    """A clock that only work moves, ever slower: compressing takes 1 s a character, reading 2 s."""

    now: float = 0.0
    slow: float = 1.0
    did: list[str] = field(default_factory=list)

    def work(self, seconds: float, what: str) -> float:
        self.now += self.slow * seconds
        self.did.append(what)
        return self.slow * seconds


@dataclass(frozen=True)
class Halved:
    text: str


@dataclass
class FakeCompressor:
    world: World

    def compress(self, text: str, rate: float, /) -> Halved:
        self.world.work(len(text), f"compress {len(text)} to {rate}")
        return Halved(text[: round(rate * len(text))])


@dataclass
class FakeReader:
    world: World

    def read(self, text: str, new_tokens: int, meter: Meter, /) -> Reading:
        meter.start()
        self.world.work(2 * len(text), f"read {len(text)}")
        prefill = meter.seconds()
        self.world.work(new_tokens, "write")
        return Reading(len(text), prefill, meter.seconds(), 8 * len(text), None, [0] * new_tokens)


def course(world: World) -> Course:
    return Course(FakeCompressor(world), FakeReader(world), 5, Meter(torch.device("cpu"), lambda: world.now))  # type: ignore[arg-type]


def test_what_is_timed() -> None:
    world = World()
    original, half, tenth = course(world).run({20: ["x" * 20]}, [0.5, 0.1])
    assert (original.length, original.rate, original.tokens) == (20, None, 20)
    assert (original.compress_s, original.prefill_s, original.total_s) == (0, 40, 45)
    assert (half.rate, half.tokens, half.compress_s, half.prefill_s, half.total_s) == (0.5, 10, 20, 20, 25)
    assert (tenth.tokens, tenth.cache_bytes, tenth.peak_bytes) == (2, 16, None)


def test_a_round_warms_up_and_the_next_go_to_and_fro() -> None:
    world = World()
    samples = course(world).run({4: ["aaaa", "bbbb"], 8: ["c" * 8, "d" * 8]}, [0.5])
    there = ["read 4", "compress 4 to 0.5", "read 2", "read 8", "compress 8 to 0.5", "read 4"]
    back = ["compress 4 to 0.5", "read 2", "read 4", "compress 8 to 0.5", "read 4", "read 8"]
    assert [what for what in world.did if what != "write"] == [*there, *there, *back]
    assert [sample.repeat for sample in samples] == [0] * 4 + [1] * 4
    assert len({(s.length, s.rate, s.repeat) for s in samples}) == len(samples)


def test_what_is_slow_at_first_is_in_no_figure() -> None:
    class Cold(World):
        def work(self, seconds: float, what: str) -> float:
            return super().work(seconds if what in self.did else 100 * seconds, what)

    cold, warm = (course(world).run({6: ["x" * 6] * 3}, [0.5]) for world in (Cold(), World()))
    assert cold == warm


def test_each_round_has_a_text_of_its_own() -> None:
    samples = course(World()).run({9: ["x" * 7, "x" * 9]}, [1.0])
    assert [sample.tokens for sample in samples] == [7, 7, 9, 9]


def test_running_out_of_memory_names_the_length() -> None:
    class Full(FakeReader):
        def read(self, text: str, new_tokens: int, meter: Meter, /) -> Reading:
            raise torch.OutOfMemoryError("CUDA out of memory")

    world = World()
    broken = Course(FakeCompressor(world), Full(world), 5, Meter(torch.device("cpu")))  # type: ignore[arg-type]
    with pytest.raises(OutOfMemory, match=r"prompt of 12 tokens does not fit .*speed\.lengths"):
        broken.run({12: ["x" * 12]}, [0.5])


@given(st.integers(1, 200), st.integers(1, 4))
def test_prompts_have_their_length_and_no_row_twice(length: int, count: int) -> None:
    found = prompts(ROWS, READER, length, count)
    assert len(found) == count
    for n, text in enumerate(found):
        assert length - 1 <= len(READER.encode(text)[0]) <= length
        pieces = text.split("\n\n")
        first = n * len(ROWS) // count
        assert pieces[:-1] == [ROWS[(first + i) % len(ROWS)] for i in range(len(pieces) - 1)]
        assert ROWS[(first + len(pieces) - 1) % len(ROWS)].startswith(pieces[-1].rstrip("\n"))  # or cut between rows
        assert len(set(pieces)) == len(pieces)


def test_too_little_text_is_refused_and_not_repeated() -> None:
    held = sum(len(READER.encode(row)[0]) for row in ROWS)
    with pytest.raises(UserError, match=rf"prompts of 9999 tokens and the 30 held-out rows hold {held}: give --data"):
        prompts(ROWS, READER, 9999, 1)
    with pytest.raises(UserError, match="the 0 held-out rows hold 0"):
        prompts([], READER, 5, 1)


@pytest.fixture(autouse=True)
def _own_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each command sets up logging for its process; here the process goes on."""
    monkeypatch.setattr(logging.root, "handlers", [])
    levels = {name: logging.getLogger(name).level for name in (None, *cli.FLOORS)}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An artifact that was trained on the first row, and a file of all rows."""
    monkeypatch.chdir(tmp_path)
    trained = manifest(protect=(), trained_rows=(text_hash(ROWS[0]),))
    save_artifact(Path("artifact"), trained, small_scorer(READER).network, READER)
    Path("rows.txt").write_text("\n".join(ROWS) + "\n", encoding="utf-8")
    return tmp_path


def read(folder: Path) -> dict[str, object]:
    document: dict[str, object] = json.loads((folder / FILE).read_text())
    return document


def test_a_toy_run_end_to_end(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["speed", "artifact", "--data", "rows.txt", *SMALL, "--price-per-million", "2.5", "--out", "fast"]
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    document = read(Path("fast"))
    assert document["settings"]["lengths"] == [48, 24]
    assert document["data"] == {"source": "rows.txt", "held_out_rows": len(ROWS) - 1}
    assert document["threads"] == torch.get_num_threads()
    assert document["environment"]["versions"]["torch"]
    assert document["reader"]["name"] == "random:1x32"
    assert [(row["length"], row["rate"]) for row in document["results"]] == [(24, 0.5), (48, 0.5)]
    for row in document["results"]:
        assert row["length"] - 1 <= row["tokens_original"] <= row["length"]
        assert row["tokens"] == pytest.approx(row["length"] / 2, abs=4)
        assert row["cache_bytes"] == 2 * 32 * 4 * (row["tokens"] + 3)
        assert row["compress_s"] > 0 < row["prefill_s"] < row["total_s"]
        assert row["saved_per_thousand_prompts"] == (row["tokens_original"] - row["tokens"]) * 2.5 / 1000
    assert len(document["samples"]) == 2 * 2 * 2
    again = summarise(document["samples"], 2.5)
    assert again == {key: document[key] for key in ("results", "break_even")}, "every figure follows from the samples"
    assert shown == f"{speed_table(document)}\nfast\n"
    assert "random weights, right for timing alone" in shown
    assert str(home) not in Path("fast", FILE).read_text()


def test_a_run_reads_what_it_did_not_train_on_and_takes_its_own_settings(home: Path, bpe: TextTokenizer) -> None:
    save_gpt2(Path("model"), bpe)
    asked = {"reader": "model", "lengths": [30], "rates": [0.5, 0.25], "repeats": 1, "new_tokens": 2}
    config = RunConfig.model_validate({"name": "mine", "data": {"source": "rows.txt"}, "speed": asked, "device": "cpu"})
    run = RunDirectory.create(config)
    assert dump_yaml(run.config) == dump_yaml(config)
    Path("artifact").rename(run.artifact)
    assert speed(run.path, lengths=[40], rates=None) == run.path / "speed"
    document = read(run.path / "speed")
    assert document["settings"] == {**config.speed.model_dump(mode="json"), "lengths": [40]}
    assert document["data"] == {"source": "rows.txt", "held_out_rows": len(ROWS) - 1}
    assert document["reader"]["weights"] not in ("", "random")
    assert {(row["length"], row["rate"]) for row in document["samples"]} == {(40, None), (40, 0.5), (40, 0.25)}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--reader", "./no/model"], ("./no/model", "give a model folder")),
        (["--reader", "random:small"], ("random:small", "random:LAYERSxWIDTH")),
        (["--rates", "0.5", "1.5"], ("--rates is 1.5", "less than or equal to 1")),
        (["--rates", "0"], ("--rates is 0", "greater than 0")),
        (["--new-tokens", "0"], ("--new-tokens is 0", "greater than or equal to 1")),
        (["--precision", "int8"], ("--precision is 'int8'", "bfloat16")),
        (["--lengths", "5000"], ("prompts of 5000 tokens", "--data FILE", "shorter lengths")),
        (["--reader", "model", "--lengths", "300"], ("model reads 300 tokens", "speed.lengths of at most 268")),
        (["--data", "nowhere.txt"], ("nowhere.txt",)),
        (["--device", "gpu"], ("device is 'gpu'", "cuda")),
    ],
)
def test_mistakes(
    home: Path, bpe: TextTokenizer, capsys: pytest.CaptureFixture[str], words: list[str], says: tuple[str, ...]
) -> None:
    save_gpt2(Path("model"), bpe)
    capsys.readouterr()
    given = ["--data", "rows.txt", "--reader", "random:1x32", "--lengths", "24", "--repeats", "1", "--out", "fast"]
    assert cli.main(["speed", "artifact", *given, *words]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    for part in says:
        assert part in error
    assert not Path("fast").exists()


def test_an_artifact_alone_needs_rows_and_a_folder_without_one_an_artifact(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["speed", "artifact"]) == 2
    assert "is an artifact alone: give --data FILE" in capsys.readouterr().err
    assert cli.main(["speed", "no/run"]) == 2
    assert "no artifact in no/run" in capsys.readouterr().err

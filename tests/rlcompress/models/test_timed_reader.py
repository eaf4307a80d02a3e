"""The timed reader: what it writes, holds and counts, against slow twins and a clock that is counted."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from rlcompress.errors import UserError
from rlcompress.models.timed_reader import Meter, TimedReader, load_timed_reader
from rlcompress.models.tokenizer import TextTokenizer
from tests.rlcompress.small_models import TEXTS, save_gpt2

CPU = torch.device("cpu")


def counted() -> Meter:
    """Each look at the clock is one second later than the one before."""
    ticks = itertools.count()
    return Meter(CPU, lambda: float(next(ticks)))


def load(
    name: str, bpe: TextTokenizer, longest: int = 100, new_tokens: int = 4, precision: str = "auto"
) -> TimedReader:
    return load_timed_reader(name, bpe, longest=longest, new_tokens=new_tokens, precision=precision, device=CPU)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, bpe: TextTokenizer) -> str:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return str(save_gpt2(tmp_path_factory.mktemp("gpt2"), bpe))


@torch.no_grad()
def slow_greedy(reader: TimedReader, text: str, new_tokens: int) -> list[int]:
    """A whole forward for every token, without a cache."""
    ids = [reader.causal.start_id, *reader.tokenizer.encode(text)[0].tolist()]
    for _ in range(new_tokens):
        ids.append(int(reader.causal.model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[-new_tokens:]


@pytest.mark.parametrize("text", [*TEXTS, ""])
def test_it_writes_what_the_slow_twin_writes(folder: str, bpe: TextTokenizer, text: str) -> None:
    reader = load(folder, bpe)
    read = reader.read(text, 6, counted())
    assert read.written == slow_greedy(reader, text, 6)
    assert read.tokens == len(bpe.encode(text)[0])


def test_the_first_token_ends_the_prefill_and_the_last_the_total(folder: str, bpe: TextTokenizer) -> None:
    for new_tokens in (1, 5):
        read = load(folder, bpe).read(TEXTS[0], new_tokens, counted())
        assert (read.prefill_s, read.total_s, len(read.written)) == (1.0, 2.0, new_tokens)


def test_keys_and_values_are_counted_exactly(folder: str, bpe: TextTokenizer) -> None:
    """Two layers of 16 channels: a key and a value of 4 bytes a channel for every token that was read."""
    read = load(folder, bpe).read(TEXTS[1], 7, counted())
    assert read.cache_bytes == 2 * 2 * 16 * 4 * (1 + read.tokens + 6)
    assert read.peak_bytes is None, "nothing counts it on a CPU"


def test_an_end_token_does_not_end_it(bpe: TextTokenizer) -> None:
    reader = load("random:1x32", bpe)
    model = reader.causal.model
    model.config.eos_token_id = 0
    model.generation_config.eos_token_id = 0
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()  # all logits are equal and the first is taken
    assert reader.read(TEXTS[0], 5, counted()).written == [0] * 5


def test_random_weights_are_the_same_each_time_and_named_so(bpe: TextTokenizer) -> None:
    first, second = (load("random:2x128", bpe, new_tokens=3) for _ in range(2))
    assert first.read(TEXTS[0], 3, counted()) == second.read(TEXTS[0], 3, counted())
    config = first.causal.model.config
    assert (config.n_layer, config.n_embd, config.n_head, config.vocab_size) == (2, 128, 2, 50257)
    assert config.n_positions == 103
    about = first.about
    assert about["weights"].startswith("random: ")
    assert about["weight_bytes"] == 4 * about["parameters"] == 4 * first.causal.model.num_parameters()


def test_precision(folder: str, bpe: TextTokenizer) -> None:
    half, whole = (load(folder, bpe, precision=precision) for precision in ("bfloat16", "auto"))
    assert (half.about["precision"], whole.about["precision"]) == ("bfloat16", "float32")
    assert half.about["weight_bytes"] == whole.about["weight_bytes"] / 2
    read = [reader.read(TEXTS[0], 3, counted()) for reader in (half, whole)]
    assert read[0].cache_bytes == read[1].cache_bytes / 2


def test_the_longest_prompt_that_fits_is_read_and_the_next_refused(folder: str, bpe: TextTokenizer) -> None:
    reader = load(folder, bpe, longest=290, new_tokens=10)  # 300 positions
    text = "a" * 290
    assert len(bpe.encode(text)[0]) == 290
    assert len(reader.read(text, 10, counted()).written) == 10
    with pytest.raises(UserError, match=r"300 tokens, fewer than a prompt of 291 and 10 new ones: .*at most 290"):
        reader.read(text + "a", 10, counted())
    with pytest.raises(UserError, match=r"speed\.lengths of at most 290"):
        load(folder, bpe, longest=291, new_tokens=10)
    with pytest.raises(UserError, match=r"lower speed\.new_tokens"):
        load(folder, bpe, longest=1, new_tokens=300)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("random:12", "random:LAYERSxWIDTH"),
        ("random:0x64", "random:LAYERSxWIDTH"),
        ("random:2x100", "multiple"),
        ("./no/model", "cannot be loaded"),
    ],
)
def test_names_of_nothing(name: str, says: str, bpe: TextTokenizer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says) as refused:
        load(name, bpe)
    assert name in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_peak_on_a_card_holds_the_cache_and_not_the_weights(bpe: TextTokenizer) -> None:
    cuda = torch.device("cuda")
    reader = load_timed_reader("random:4x256", bpe, longest=2000, new_tokens=4, precision="auto", device=cuda)
    meter = Meter(cuda)
    short, long = (reader.read("a" * length, 4, meter) for length in (200, 2000))
    for read in (short, long):
        assert read.peak_bytes is not None
        assert read.cache_bytes <= read.peak_bytes
    assert short.peak_bytes < reader.about["weight_bytes"]
    assert long.peak_bytes > short.peak_bytes

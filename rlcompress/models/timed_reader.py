"""A causal language model that reads a prompt and writes a fixed number of tokens while the clock runs.

Time does not depend on what the weights are: `random:LAYERSxWIDTH` is a GPT-2 with random ones, which is right for
timing and for nothing else. What it writes means nothing.
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlcompress.errors import UserError
from rlcompress.models.causal import CausalModel, load_causal
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.models.training import seeded

GPT2_VOCABULARY = 50257
_RANDOM = re.compile(r"random:([1-9]\d*)x([1-9]\d*)")
_HEAD = 64  # channels of an attention head of GPT-2
Clock = Callable[[], float]


class Meter:
    """Seconds and memory of work on a device, which has finished when they are read.

    Args:
        clock: seconds from any fixed point.
    """

    def __init__(self, device: torch.device, clock: Clock = time.perf_counter) -> None:
        self.device = device
        self._clock = clock
        self._started, self._held = 0.0, 0

    def start(self) -> None:
        self._wait()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self._held = torch.cuda.memory_allocated(self.device)
        self._started = self._clock()

    def seconds(self) -> float:
        """Since the start."""
        self._wait()
        return self._clock() - self._started

    def peak_bytes(self) -> int | None:
        """Most memory allocated at once since the start, beyond what was held then; None where none is counted."""
        if self.device.type != "cuda":
            return None
        return torch.cuda.max_memory_allocated(self.device) - self._held

    def _wait(self) -> None:
        """Kernels run on after their call returns."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


@dataclass(frozen=True, slots=True)
class Reading:
    """What one prompt took: seconds to its first new token and to the last, and bytes of keys and values at the end."""

    tokens: int
    prefill_s: float
    total_s: float
    cache_bytes: int
    peak_bytes: int | None
    written: list[int]


class TimedReader:
    """Reads one prompt at a time, greedily, without ever stopping early.

    Args:
        causal: the model, its tokenizer and the token that stands before a prompt; its window bounds prompt and answer.
        name: as it was asked for.
    """

    def __init__(self, causal: CausalModel, name: str) -> None:
        self.causal = causal
        self.name = name
        self.random = bool(_RANDOM.fullmatch(name))
        # as `generate` does: the vocabulary is scored at the last place alone
        keeps = "logits_to_keep" in inspect.signature(causal.model.forward).parameters
        self._last_only: dict[str, Any] = {"logits_to_keep": 1} if keeps else {}

    @property
    def device(self) -> torch.device:
        return self.causal.device

    @property
    def tokenizer(self) -> TextTokenizer:
        return self.causal.tokenizer

    @property
    def about(self) -> dict[str, Any]:
        """What a result says of the reader."""
        parameters = list(self.causal.model.parameters())
        return {
            "name": self.name,
            "weights": "random: right for timing, meaningless for quality" if self.random else self.causal.version,
            "precision": str(parameters[0].dtype).removeprefix("torch."),
            "parameters": sum(p.numel() for p in parameters),
            "weight_bytes": weight_bytes(self.causal.model),
            "vocabulary": self.causal.model.config.vocab_size,
            "tokenizer": self.tokenizer.version,
        }

    @torch.no_grad()
    def read(self, text: str, new_tokens: int, meter: Meter) -> Reading:
        """One forward over the prompt, which gives the first new token, then one forward for each further token.

        The text's tokenisation is not in the times.

        Raises:
            UserError: prompt and new tokens are more than the model has positions.
        """
        ids = [self.causal.start_id, *self.tokenizer.encode(text)[0].tolist()]
        require_room(self.name, self.causal.window, len(ids) - 1, new_tokens)
        prompt_1T = torch.tensor([ids], device=self.device)
        meter.start()
        cache, next_11 = self._forward(prompt_1T, None)
        prefill = meter.seconds()
        written = [next_11]
        for _ in range(new_tokens - 1):
            cache, next_11 = self._forward(next_11, cache)
            written.append(next_11)
        total = meter.seconds()
        held = sum(tensor.numel() * tensor.element_size() for tensor in _tensors(cache))
        said = torch.cat(written, 1)[0].tolist()
        return Reading(len(ids) - 1, prefill, total, held, meter.peak_bytes(), said)

    def _forward(self, ids_1T: Tensor, cache: Any) -> tuple[Any, Tensor]:
        out = self.causal.model(input_ids=ids_1T, past_key_values=cache, use_cache=True, **self._last_only)
        return out.past_key_values, out.logits[:, -1].argmax(-1, keepdim=True)


def weight_bytes(model: torch.nn.Module) -> int:
    """Memory of the parameters, shared ones counted once."""
    return sum(p.numel() * p.element_size() for p in model.parameters())


def _tensors(cache: Any) -> Iterator[Tensor]:
    """Everything that a cache of `transformers` keeps for its layers."""
    for layer in cache.layers:
        yield from (value for value in vars(layer).values() if isinstance(value, Tensor))


def require_room(name: str, positions: int, tokens: int, new_tokens: int) -> None:
    """Refuse a prompt that the reader cannot take: the start token, its tokens and all new ones but the last.

    Raises:
        UserError: naming the longest length that fits.
    """
    room = positions - new_tokens
    if tokens > room:
        mend = f"give speed.lengths of at most {room}" if room > 0 else "lower speed.new_tokens"
        raise UserError(
            f"speed.reader {name} reads {positions} tokens, fewer than a prompt of {tokens} and {new_tokens} new ones: "
            f"{mend}, or a reader with more positions"
        )


def load_timed_reader(
    name: str, tokenizer: TextTokenizer, *, longest: int, new_tokens: int, precision: str, device: torch.device
) -> TimedReader:
    """A reader of prompts of `longest` tokens from a model folder, a hub id, or random:LAYERSxWIDTH.

    A random reader has as many positions as are needed, GPT-2's vocabulary and `tokenizer`.

    Raises:
        UserError: nothing loadable under that name, or a model that does not read as much.
    """
    sizes = _RANDOM.fullmatch(name)
    if name.startswith("random:") and not sizes:
        raise UserError(f"speed.reader {name}: give random:LAYERSxWIDTH, e.g. random:12x768")
    if sizes:
        layers, width = map(int, sizes.groups())
        causal = _random_gpt2(name, tokenizer, layers, width, longest + new_tokens, device)
    else:
        causal = load_causal(name, window=1, chunk=1, device=device)
        causal.window = getattr(causal.model.config, "max_position_embeddings", None) or longest + new_tokens
        require_room(name, causal.window, longest, new_tokens)
    if precision != "auto":
        causal.model.to(getattr(torch, precision))
    return TimedReader(causal, name)


def _random_gpt2(
    name: str, tokenizer: TextTokenizer, layers: int, width: int, positions: int, device: torch.device
) -> CausalModel:
    from transformers import GPT2Config, GPT2LMHeadModel

    if width > _HEAD and width % _HEAD:
        raise UserError(f"speed.reader {name}: a width above {_HEAD} must be a multiple of it")
    settings = GPT2Config(
        vocab_size=max(GPT2_VOCABULARY, tokenizer.vocabulary),
        n_positions=positions,
        n_embd=width,
        n_layer=layers,
        n_head=max(1, width // _HEAD),
    )
    with seeded(0, torch.device("cpu")):
        model = GPT2LMHeadModel(settings)
    return CausalModel(model, tokenizer, tokenizer.pad_id, "random", window=positions, chunk=1, device=device)

"""What a causal language model answers: bits of a given answer, its own greedy answer, a vector of a text.

Each result depends on its own row alone: rows are padded on the left to fixed lengths and filled up to fixed numbers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlcompress.models.causal import CausalModel
from rlcompress.words import FloatArray, IntArray

_BUCKET = 16  # prompts are padded to a multiple of this many tokens


class CausalAnswerer:
    """Any causal language model as a reader of prompts.

    Args:
        causal: the model with its tokenizer, its window and the rows of one forward.
    """

    def __init__(self, causal: CausalModel) -> None:
        self.causal = causal
        self.version = causal.version

    def length(self, text: str) -> int:
        """Tokens of a text."""
        return len(self.causal.tokenizer.encode(text)[0])

    @property
    def window(self) -> int:
        """Most tokens of a prompt and what follows it; one place is the start token's."""
        return self.causal.window - 1

    def bits(self, prompts: Sequence[str], answers: Sequence[str]) -> list[FloatArray]:
        """−log2 p [T] of each token of each answer after its prompt."""
        encode = self.causal.tokenizer.encode
        return self.causal.continuation_bits(
            [(encode(p)[0], encode(a)[0]) for p, a in zip(prompts, answers, strict=True)]
        )

    def say(self, prompts: Sequence[str], tokens: int) -> list[str]:
        """The likeliest next token, `tokens` times or up to a line's end."""
        said = [""] * len(prompts)
        for numbers, ids_BT, real_BT in self._chunks(prompts):
            for number, ids in zip(numbers, self._greedy(ids_BT, real_BT, tokens).tolist(), strict=False):
                text = self.causal.tokenizer.decode(np.asarray(ids, np.int64))
                said[number] = text.strip().partition("\n")[0].strip()
        return said

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> list[FloatArray]:
        """Mean of the last layer [D] over the tokens of each text."""
        vectors: list[FloatArray] = [np.zeros(0)] * len(texts)
        for numbers, ids_BT, real_BT in self._chunks(texts):
            hidden_BTD = self._forward(ids_BT, real_BT, output_hidden_states=True).hidden_states[-1].float()
            share_BT = real_BT.to(hidden_BTD.device).float()
            mean_BD = (hidden_BTD * share_BT[..., None]).sum(1) / share_BT.sum(1, keepdim=True)
            for number, vector_D in zip(numbers, mean_BD.cpu().numpy().astype(np.float64), strict=False):
                vectors[number] = vector_D
        return vectors

    def _chunks(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Numbers of the texts of a chunk, their ids [B, T] behind padding, and which places hold one of them."""
        causal = self.causal
        buckets: dict[int, list[tuple[int, IntArray]]] = defaultdict(list)
        for number, text in enumerate(texts):
            ids_T = np.append(causal.start_id, causal.tokenizer.encode(text)[0])
            buckets[-(-len(ids_T) // _BUCKET) * _BUCKET].append((number, ids_T))
        for width, rows in sorted(buckets.items()):
            for first in range(0, len(rows), causal.chunk):
                chunk = rows[first : first + causal.chunk]
                ids_BT = torch.full((causal.chunk, width), causal.start_id, dtype=torch.long)
                real_BT = torch.zeros((causal.chunk, width), dtype=torch.bool)
                real_BT[:, -1] = True  # rows that fill the chunk hold the start token alone
                for b, (_, ids_T) in enumerate(chunk):
                    ids_BT[b, width - len(ids_T) :] = torch.from_numpy(ids_T)
                    real_BT[b, width - len(ids_T) :] = True
                yield [number for number, _ in chunk], ids_BT, real_BT

    def _forward(self, ids_BT: Tensor, real_BT: Tensor, **more: Any) -> Any:
        device = self.causal.device
        position_BT = (real_BT.long().cumsum(1) - 1).clamp(min=0)[:, -ids_BT.shape[1] :]
        return self.causal.model(
            input_ids=ids_BT.to(device),
            attention_mask=real_BT.long().to(device),
            position_ids=position_BT.to(device),
            **more,
        )

    @torch.no_grad()
    def _greedy(self, ids_BT: Tensor, real_BT: Tensor, tokens: int) -> Tensor:
        """The next `tokens` ids [B, T] of each row."""
        found: list[Tensor] = []
        cache, next_BT = None, ids_BT
        for _ in range(tokens):
            out = self._forward(next_BT, real_BT, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            next_BT = out.logits[:, -1].float().argmax(-1, keepdim=True).cpu()
            found.append(next_BT)
            real_BT = torch.cat([real_BT, torch.ones_like(next_BT, dtype=torch.bool)], 1)
        return torch.cat(found, 1)

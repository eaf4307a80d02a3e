"""The reconstruction judge: what it costs, in bits, to guess the dropped tokens from the kept ones.

Verdicts are exact: a text's score does not depend on what else was asked in the same call. Rows are grouped into fixed
length buckets and fixed chunks, and a cached verdict is the canonical computation.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from rlcompress.models.reconstructor import Reconstructor
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.text.units import token_units
from rlcompress.words import BoolArray, FloatArray, IntArray, Judgement, JudgeRequest

_BUCKET = 16  # rows are padded to a multiple of this many tokens
_CACHED = 200_000


class ReconstructionJudge:
    """Scores D(S) of masked texts with any `Reconstructor`; frozen, so verdicts are cached by content.

    Texts longer than `window` tokens are judged in consecutive windows and their bits added up.
    """

    def __init__(
        self,
        model: Reconstructor,
        tokenizer: TextTokenizer,
        version: str,
        *,
        window: int = 128,
        chunk: int = 32,
        device: torch.device | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.version = version
        self.window = window
        self.chunk = chunk
        self.device = device or torch.device("cpu")
        self.computed = 0  # verdicts that needed the model
        self.asked = 0
        self._verdicts: OrderedDict[str, Judgement] = OrderedDict()
        self._tokens: OrderedDict[tuple[str, bytes], tuple[IntArray, IntArray]] = OrderedDict()

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        keys = [request.key() for request in requests]
        fresh = {key: request for key, request in zip(keys, requests, strict=True) if key not in self._verdicts}
        found = dict(zip(fresh, self._compute(list(fresh.values())), strict=True)) if fresh else {}
        result = [found[key] if key in found else self._verdicts[key] for key in keys]
        self.asked += len(requests)
        self.computed += len(fresh)
        self._verdicts.update(found)
        while len(self._verdicts) > _CACHED:
            self._verdicts.popitem(last=False)
        return result

    def _tokenise(self, request: JudgeRequest) -> tuple[IntArray, IntArray]:
        key = (request.source, request.unit_starts_N.tobytes())
        if key not in self._tokens:
            ids_T, spans_T2 = self.tokenizer.encode(request.source)
            self._tokens[key] = (ids_T, token_units(request.source, request.unit_starts_N, spans_T2))
            if len(self._tokens) > _CACHED // 10:
                self._tokens.popitem(last=False)
        return self._tokens[key]

    def _compute(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        tokens, kept = self._masked(requests)
        bits: list[FloatArray] = [np.zeros(len(ids)) for ids, _ in tokens]
        hits: list[BoolArray] = [np.zeros(len(ids), np.bool_) for ids, _ in tokens]
        for rows, tensors in self._rows(tokens, kept):
            bits_BT, hit_BT = (x.cpu().numpy() for x in self.model.dropped_bits(*tensors))
            for b, (i, start, end) in enumerate(rows):
                bits[i][start:end] = bits_BT[b, : end - start]
                hits[i][start:end] = hit_BT[b, : end - start]
        return [
            Judgement(
                score=float(bits[i].sum()),
                version=self.version,
                per_unit_N=np.bincount(tokens[i][1], weights=bits[i], minlength=len(request.kept_N)).astype(np.float64),
                tokens=len(bits[i]),
                dropped=int((~kept[i]).sum()),
                hits=int(hits[i].sum()),
            )
            for i, request in enumerate(requests)
        ]

    def reconstruct(self, requests: Sequence[JudgeRequest]) -> list[tuple[str, str]]:
        """Each original and what the model makes of it from what was kept, both as its tokenizer writes them.

        Kept tokens stay; a dropped one is replaced by the likeliest, window by window.
        """
        tokens, kept = self._masked(requests)
        filled = [ids_T.copy() for ids_T, _ in tokens]
        for rows, tensors in self._rows(tokens, kept):
            guess_BT = self.model.guesses(*tensors).cpu().numpy()
            for b, (i, start, end) in enumerate(rows):
                filled[i][start:end] = guess_BT[b, : end - start]
        decode = self.tokenizer.decode
        return [(decode(ids_T), decode(filled_T)) for (ids_T, _), filled_T in zip(tokens, filled, strict=True)]

    def _masked(self, requests: Sequence[JudgeRequest]) -> tuple[list[tuple[IntArray, IntArray]], list[BoolArray]]:
        """Of each text the ids [T] and units [T] of its tokens, and which [T] are kept."""
        tokens = [self._tokenise(request) for request in requests]
        return tokens, [r.kept_N[unit_T] for r, (_, unit_T) in zip(requests, tokens, strict=True)]

    def _rows(
        self, tokens: Sequence[tuple[IntArray, IntArray]], kept: Sequence[BoolArray]
    ) -> Iterator[tuple[list[tuple[int, int, int]], list[Tensor]]]:
        """Windows in which something was dropped, a chunk at a time: (text, start, end) of each; ids, kept, valid."""
        buckets: dict[int, list[tuple[int, int, int]]] = defaultdict(list)  # padded length -> (request, start, end)
        for i, (ids_T, _) in enumerate(tokens):
            for start in range(0, len(ids_T), self.window):
                end = min(start + self.window, len(ids_T))
                if not kept[i][start:end].all():
                    length = min(self.window, -(-(end - start) // _BUCKET) * _BUCKET)
                    buckets[length].append((i, start, end))
        for length, rows in sorted(buckets.items()):
            for first in range(0, len(rows), self.chunk):
                chunk = rows[first : first + self.chunk]
                yield chunk, self._tensors(chunk, length, tokens, kept)

    def _tensors(
        self,
        rows: Sequence[tuple[int, int, int]],
        length: int,
        tokens: Sequence[tuple[IntArray, IntArray]],
        kept: Sequence[BoolArray],
    ) -> list[Tensor]:
        ids_BT = np.full((self.chunk, length), self.tokenizer.pad_id, np.int64)
        kept_BT = np.ones((self.chunk, length), np.bool_)
        valid_BT = np.zeros((self.chunk, length), np.bool_)
        valid_BT[:, 0] = True  # rows that fill the chunk hold one kept token, so that attention has a target
        for b, (i, start, end) in enumerate(rows):
            size = end - start
            ids_BT[b, :size], kept_BT[b, :size], valid_BT[b, :size] = tokens[i][0][start:end], kept[i][start:end], True
        return [torch.from_numpy(x).to(self.device) for x in (ids_BT, kept_BT, valid_BT)]

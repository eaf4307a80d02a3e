"""A Hugging Face encoder as a sentence encoder: mean of the last states over the attention mask, or the first state.

Reimers and Gurevych, "Sentence-BERT" (2019). A folder that sentence-transformers wrote says in `modules.json`,
`1_Pooling/config.json` and `sentence_bert_config.json` how it pools and how much it reads; what cannot be honoured is
refused by name, for another pooling gives vectors that mean nothing.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlcompress.errors import UserError
from rlcompress.models.features import window_bounds
from rlcompress.models.reconstructor import weights_hash
from rlcompress.words import FloatArray, IntArray

_BUCKET = 16  # rows are padded to a multiple of this many tokens
_TOKENS = 128  # of one forward: rows of each length come in fixed numbers, so that company changes no bit
_LONGEST = 512  # tokens of a row where the model does not say
POOLINGS = ("mean", "cls")
_MODULES = ("Transformer", "Pooling", "Normalize")


class SentenceEncoder:
    """Raw vectors of texts and of their tokens, before they are scaled to unit norm."""

    def __init__(
        self, model: Any, tokenizer: Any, pooling: str, longest: int, device: torch.device | None = None
    ) -> None:
        self.device = device or torch.device("cpu")
        self.model = model.float().eval().to(self.device)
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.longest = longest
        empty = tokenizer("")["input_ids"]
        cut = empty.index(tokenizer.sep_token_id) if tokenizer.sep_token_id in empty else len(empty)
        self._begin, self._end = empty[:cut], empty[cut:]
        self._version = f"{pooling}-{longest}@{weights_hash(model)}"

    @property
    def dimension(self) -> int:
        return int(self.model.config.hidden_size)

    @property
    def version(self) -> str:
        return self._version

    def sentences(self, texts: Sequence[str]) -> FloatArray:
        """Pooled states [S, D]; what a text has beyond `longest` tokens is not read, as in sentence-transformers."""
        room = self.longest - len(self._begin) - len(self._end)
        states = self._read([[*self._begin, *self._tokens(text)[0][:room], *self._end] for text in texts])
        return np.stack([self._pool(state_TD) for state_TD in states])

    def _pool(self, state_TD: FloatArray) -> FloatArray:
        if not len(state_TD):  # an empty text, and a tokenizer without special tokens
            return np.zeros(self.dimension)
        pooled_D: FloatArray = state_TD[0] if self.pooling == "cls" else state_TD.mean(0)
        return pooled_D

    def states(self, text: str) -> tuple[FloatArray, IntArray]:
        """Last states [T, D] of the tokens of a text, read in overlapping windows, and their spans [T, 2]."""
        ids, spans_T2 = self._tokens(text)
        room = self.longest - len(self._begin) - len(self._end)
        bounds = window_bounds(len(ids), room, room // 2) if ids else []
        states = self._read([[*self._begin, *ids[start:end], *self._end] for start, end, _, _ in bounds])
        head = len(self._begin)
        owned = [
            state_TD[head + a - start : head + b - start]
            for (start, _, a, b), state_TD in zip(bounds, states, strict=True)
        ]
        return np.concatenate([np.zeros((0, self.dimension)), *owned]), spans_T2

    def save(self, folder: Path) -> None:
        """A Hugging Face folder that `load_sentence_encoder` reads, with pooling and length beside it."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        (folder / "1_Pooling").mkdir()
        flags = {f"pooling_mode_{kind}_token{'s' if kind == 'mean' else ''}": kind == self.pooling for kind in POOLINGS}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(flags), encoding="utf-8")
        (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": self.longest}))

    def _tokens(self, text: str) -> tuple[list[int], IntArray]:
        plain = text.encode("utf-8", "replace").decode("utf-8")
        found = self.tokenizer(
            plain, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False
        )
        return found["input_ids"], np.array(found["offset_mapping"], np.int64).reshape(-1, 2)

    @torch.no_grad()
    def _read(self, rows: Sequence[list[int]]) -> list[FloatArray]:
        """Last states [T, D] of each row, rows of similar length together."""
        states: list[FloatArray] = [np.zeros((0, 0))] * len(rows)
        buckets: dict[int, list[int]] = defaultdict(list)
        for i, row in enumerate(rows):
            buckets[min(self.longest, max(1, -(-len(row) // _BUCKET)) * _BUCKET)].append(i)
        for length, found in sorted(buckets.items()):
            size = max(1, _TOKENS // length)
            for at in range(0, len(found), size):
                chunk = found[at : at + size]
                ids_BT = torch.full((size, length), self.tokenizer.pad_token_id or 0)
                attend_BT = torch.zeros((size, length), dtype=torch.long)
                attend_BT[:, 0] = 1  # attention over a row without any token is undefined
                for b, i in enumerate(chunk):
                    ids_BT[b, : len(rows[i])] = torch.tensor(rows[i])
                    attend_BT[b, : len(rows[i])] = 1
                inputs = {"input_ids": ids_BT.to(self.device), "attention_mask": attend_BT.to(self.device)}
                hidden_BTD = self.model(**inputs).last_hidden_state.cpu().numpy()
                for b, i in enumerate(chunk):
                    states[i] = hidden_BTD[b, : len(rows[i])].astype(np.float64)
        return states


def load_sentence_encoder(
    name: str, device: torch.device | None = None, trust_remote_code: bool = False
) -> SentenceEncoder:
    """Any encoder from a folder or a hub id; mean pooling where it does not say otherwise.

    Raises:
        UserError: nothing loadable under that name, a pooling or module that is not known here, no fast tokenizer.
    """
    from transformers import AutoModel, AutoTokenizer

    try:
        model = AutoModel.from_pretrained(name, trust_remote_code=trust_remote_code)
        tokenizer = AutoTokenizer.from_pretrained(name, use_fast=True, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise UserError(
            f"embedder.model {name!r} cannot be loaded ({str(error).splitlines()[0]}): give builtin:lsa, a model "
            "folder, or a hub id that is in the local cache"
        ) from error
    if not tokenizer.is_fast:
        raise UserError(f"embedder.model {name!r} has no fast tokenizer, which alone knows where words stand")
    for module in _json(name, "modules.json") or []:
        kind = str(module["type"]).rpartition(".")[2]
        if kind not in _MODULES:
            raise UserError(f"embedder.model {name!r} has a module {kind!r} that is not known here: give another model")
    says = (_json(name, "sentence_bert_config.json") or {}).get("max_seq_length")
    limits = [says, getattr(model.config, "max_position_embeddings", None), _LONGEST]
    return SentenceEncoder(model, tokenizer, _pooling(name), min(n for n in limits if n), device)


def _pooling(name: str) -> str:
    config = _json(name, "1_Pooling/config.json") or {"pooling_mode": "mean"}
    asked = [key.removeprefix("pooling_mode_") for key, on in config.items() if on is True and "pooling_mode_" in key]
    asked = [kind.removesuffix("s").removesuffix("_token") for kind in asked] or [str(config.get("pooling_mode"))]
    if len(asked) != 1 or asked[0] not in POOLINGS:
        raise UserError(
            f"embedder.model {name!r} pools by {' and '.join(asked)}, known here are {' and '.join(POOLINGS)}: "
            "give another model"
        )
    return str(asked[0])


def _json(name: str, file: str) -> Any:
    """A JSON file of a model folder or of a hub id's snapshot; None where there is none."""
    from transformers.utils import cached_file

    found = cached_file(name, file, _raise_exceptions_for_missing_entries=False)
    return None if found is None else json.loads(Path(found).read_text(encoding="utf-8"))

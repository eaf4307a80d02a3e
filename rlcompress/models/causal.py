"""A frozen causal language model: bits of tokens given what stands before them.

`builtin:causal` is a small GPT-2, trained here in about a minute and kept as a Hugging Face folder, so that one path
loads it and any other causal model.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rlcompress.config.baselines import LanguageModelConfig
from rlcompress.errors import UserError
from rlcompress.models.reconstructor import weights_hash
from rlcompress.models.tokenizer import TextTokenizer, load_tokenizer
from rlcompress.models.training import seeded
from rlcompress.words import FloatArray, IntArray

BUILTIN = "builtin:causal"
_BUCKET = 16  # rows are padded to a multiple of this many tokens


class CausalModel:
    """Any Hugging Face causal language model. What it says of a row depends on that row alone, bit for bit.

    A start token stands before every row, so that the first token has bits too. Rows are padded to fixed lengths and
    fixed numbers, as those of judges are.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: TextTokenizer,
        start_id: int,
        version: str,
        *,
        window: int = 128,
        chunk: int = 8,
        device: torch.device | None = None,
    ) -> None:
        self.device = device or torch.device("cpu")
        self.model = model.to(self.device).eval()
        self.tokenizer = tokenizer
        self.start_id = start_id
        self.version = version
        self.window = window
        self.chunk = chunk

    def bits(self, texts: Sequence[str]) -> list[FloatArray]:
        """−log2 p [T] of each token of each text given its left context."""
        return self.continuation_bits([(np.zeros(0, np.int64), self.tokenizer.encode(text)[0]) for text in texts])

    def continuation_bits(self, rows: Sequence[tuple[IntArray, IntArray]]) -> list[FloatArray]:
        """−log2 p [T] of each token of a continuation [T] given a prefix [K] and the continuation before it.

        Where prefix and continuation are longer than the window, each token is scored with at least half a window of
        what stands before it.
        """
        bits = [np.zeros(len(continuation)) for _, continuation in rows]
        whole = [np.concatenate(row).astype(np.int64) for row in rows]
        buckets: dict[int, list[tuple[int, int, int, int]]] = defaultdict(list)  # length -> (row, start, first, end)
        for i, (prefix, _) in enumerate(rows):
            for start, first, end in pieces(len(prefix), len(whole[i]), self.window - 1):
                length = min(self.window, -(-(end - start + 1) // _BUCKET) * _BUCKET)
                buckets[length].append((i, start, first, end))
        for length, found in sorted(buckets.items()):
            for at in range(0, len(found), self.chunk):
                chunk = found[at : at + self.chunk]
                for (i, _, first, end), bits_M in zip(chunk, self._score(chunk, length, whole), strict=True):
                    before = len(rows[i][0])
                    bits[i][first - before : end - before] = bits_M
        return bits

    @torch.no_grad()
    def _score(self, chunk: list[tuple[int, int, int, int]], length: int, whole: list[IntArray]) -> list[FloatArray]:
        ids_BT = np.full((self.chunk, length), self.start_id, np.int64)
        for b, (i, start, _, end) in enumerate(chunk):
            ids_BT[b, 1 : 1 + end - start] = whole[i][start:end]
        logits_BTV: Tensor = self.model(input_ids=torch.from_numpy(ids_BT).to(self.device)).logits
        scored = []
        for b, (i, start, first, end) in enumerate(chunk):
            logp_MV = torch.log_softmax(logits_BTV[b, first - start : end - start].float(), -1)
            target_M = torch.from_numpy(whole[i][first:end]).to(self.device)
            logp_M = logp_MV.gather(1, target_M[:, None])[:, 0]
            scored.append(-logp_M.cpu().numpy().astype(np.float64) / math.log(2))
        return scored


def pieces(before: int, total: int, room: int) -> list[tuple[int, int, int]]:
    """Rows (start, first, end) of at most `room` tokens that score tokens `before` .. `total` - 1, each once.

    A row reads [start, end) and scores [first, end). What does not fit is read in rows that overlap by half.
    """
    if total <= room:
        return [(0, before, total)] if before < total else []
    found = []
    first = before
    while first < total:
        start = max(0, first - room // 2)
        end = min(total, start + room)
        found.append((start, first, end))
        first = end
    return found


def language_model_key(config: LanguageModelConfig, data_hash: str) -> str:
    """Names trained weights by all that decides them."""
    trained_by = config.model_dump(mode="json", exclude={"chunk"})
    return hashlib.blake2b(json.dumps([trained_by, data_hash], sort_keys=True).encode(), digest_size=8).hexdigest()


def train_causal(config: LanguageModelConfig, texts: Sequence[str], tokenizer: TextTokenizer, folder: Path) -> float:
    """Train `builtin:causal` on the texts and write it to `folder`; its last steps' mean loss in bits a token.

    Raises:
        UserError: there are no texts.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    if not any(texts):
        raise UserError(f"{BUILTIN} is trained on training texts and there are none: name a model in its place")
    rows_RT, valid_RT = _rows(texts, tokenizer, config.window)
    settings = GPT2Config(
        vocab_size=tokenizer.vocabulary,
        n_positions=config.window,
        n_embd=config.width,
        n_layer=config.layers,
        n_head=config.width // 32,
        bos_token_id=tokenizer.pad_id,
        eos_token_id=tokenizer.pad_id,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so that the weights do not depend on the machine's cores
    try:
        with seeded(config.seed, torch.device("cpu")):
            model = GPT2LMHeadModel(settings)
            losses = _descend(model, rows_RT, valid_RT, config)
    finally:
        torch.set_num_threads(threads)
    model.save_pretrained(folder)
    tokenizer.save(folder)
    return float(np.mean(losses[-50:]))


def _rows(texts: Sequence[str], tokenizer: TextTokenizer, window: int) -> tuple[Tensor, Tensor]:
    """Token rows [R, T] that start with the start token, and which places hold text to learn."""
    pieces_of = [tokenizer.encode(text)[0] for text in texts]
    cut = [ids[at : at + window - 1] for ids in pieces_of for at in range(0, len(ids), window - 1)]
    width = 1 + max(map(len, cut))
    rows_RT, valid_RT = np.full((len(cut), width), tokenizer.pad_id, np.int64), np.zeros((len(cut), width), np.bool_)
    for r, ids in enumerate(cut):
        rows_RT[r, 1 : 1 + len(ids)] = ids
        valid_RT[r, 1 : 1 + len(ids)] = True
    return torch.from_numpy(rows_RT), torch.from_numpy(valid_RT)


def _descend(model: Any, rows_RT: Tensor, valid_RT: Tensor, config: LanguageModelConfig) -> list[float]:
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    losses = []
    model.train()
    for step in range(config.steps):
        share = min(1.0, (step + 1) / max(1, config.warmup)) * (1 - 0.95 * step / config.steps)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * share
        index_B = torch.randint(len(rows_RT), (config.batch,), generator=generator)
        width = int(valid_RT[index_B].sum(1).max()) + 1
        ids_BT, valid_BT = rows_RT[index_B, :width], valid_RT[index_B, :width]
        logits_BTV = model(input_ids=ids_BT).logits[:, :-1]
        loss = functional.cross_entropy(logits_BTV[valid_BT[:, 1:]], ids_BT[:, 1:][valid_BT[:, 1:]])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item() / math.log(2))
    return losses


def load_causal(name: str, *, window: int, chunk: int, device: torch.device | None = None) -> CausalModel:
    """A causal model from a folder (what `train_causal` wrote, or any other) or a hub id.

    Raises:
        UserError: nothing loadable under that name, or it reads less than the window.
    """
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"language model {name!r} cannot be loaded ({str(error).splitlines()[0]}): give a model folder, a hub id "
            f"that is in the local cache, or {BUILTIN}"
        ) from error
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is not None and window > longest:
        raise UserError(f"language model {name!r} reads {longest} tokens and its window is {window}: lower the window")
    tokenizer = load_tokenizer(name)
    special = [model.config.bos_token_id, model.config.eos_token_id, tokenizer.pad_id]
    ids = [i[0] if isinstance(i, list) else i for i in special]
    start_id = next(i for i in ids if i is not None and i < model.config.vocab_size)
    return CausalModel(model, tokenizer, start_id, weights_hash(model), window=window, chunk=chunk, device=device)

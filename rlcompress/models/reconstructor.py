"""Reconstructors: networks that say how many bits each dropped token costs, given the kept ones.

All answer one question through one method, so a judge does not know which it holds:
`dropped_bits(ids_BT, kept_BT, valid_BT) -> (bits_BT, hit_BT)`, with 0 and False at kept or padded places. What stands
at the kept places is `ids_BT` unless `visible_BT` says otherwise: that is how one asks whether a judge reads at all.
`guesses(ids_BT, kept_BT, valid_BT) -> ids_BT` fills in what it takes for most likely at the dropped places, and what
was dropped does not reach it.
"""

from __future__ import annotations

import abc
import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from rlcompress.errors import UserError
from rlcompress.models.layers import AttentionBlock, ConvolutionBlock, MaskedConvolution

_HEAD_BLOCK = 512  # rows of one matrix product over the vocabulary: a fixed shape gives equal bits in any company


class Reconstructor(Protocol):
    """Any network that judges can hold; rows [B, T] in, bits [B, T] and hits [B, T], or ids [B, T], out."""

    def dropped_bits(
        self, ids_BT: Tensor, kept_BT: Tensor, valid_BT: Tensor, visible_BT: Tensor | None = None
    ) -> tuple[Tensor, Tensor]: ...

    def guesses(self, ids_BT: Tensor, kept_BT: Tensor, valid_BT: Tensor) -> Tensor: ...


class MaskedReconstructor(nn.Module):
    """A masked language model that sees the gaps; trained here in a minute.

    `builtin:attention` mixes a convolution with self-attention, `builtin:convolution` is dilated convolutions alone;
    the output bias starts at the log unigram frequency, so training begins at the unigram plateau.
    """

    def __init__(
        self, kind: str, vocabulary: int, mask_id: int, width: int = 128, layers: int = 2, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.settings = {"kind": kind, "vocabulary": vocabulary, "mask_id": mask_id, "width": width, "layers": layers}
        self.mask_id = mask_id
        self.dropout = dropout
        self.embed = nn.Embedding(vocabulary, width)
        self.local = MaskedConvolution(width, width, 7)
        self.blocks = nn.ModuleList(BLOCKS[kind](width, layers, dropout))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)
        nn.init.normal_(self.embed.weight, std=0.5)
        nn.init.normal_(self.head.weight, std=0.03)
        nn.init.zeros_(self.head.bias)

    def start_from_unigrams(self, counts_V: Tensor) -> None:
        smoothed = counts_V.double() + 0.5
        with torch.no_grad():
            self.head.bias.copy_((smoothed / smoothed.sum()).log())

    def hidden(self, ids_BT: Tensor, kept_BT: Tensor, valid_BT: Tensor) -> Tensor:
        visible_BT = torch.where(kept_BT & valid_BT, ids_BT, self.mask_id)
        hidden_BTD = functional.dropout(self.embed(visible_BT), self.dropout, self.training)
        hidden_BTD = hidden_BTD + self.local(hidden_BTD, valid_BT)
        for block in self.blocks:
            hidden_BTD = block(hidden_BTD, valid_BT)
        result: Tensor = self.norm(hidden_BTD)
        return result

    def dropped_nll(self, ids_BT: Tensor, kept_BT: Tensor, valid_BT: Tensor) -> Tensor:
        """Nats of the dropped tokens, flat [number of dropped tokens]; differentiable."""
        dropped_BT = valid_BT & ~kept_BT
        logits = self.head(self.hidden(ids_BT, kept_BT, valid_BT)[dropped_BT])
        return functional.cross_entropy(logits.float(), ids_BT[dropped_BT], reduction="none")

    @torch.no_grad()
    def dropped_bits(
        self, ids_BT: Tensor, kept_BT: Tensor, valid_BT: Tensor, visible_BT: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        dropped_BT = valid_BT & ~kept_BT
        rows_RD = self.hidden(ids_BT if visible_BT is None else visible_BT, kept_BT, valid_BT)[dropped_BT]
        target_R = ids_BT[dropped_BT]
        bits, hits = [], []
        for logp, target in zip(self._logp(rows_RD), torch.split(target_R, _HEAD_BLOCK), strict=False):
            bits.append(-logp.gather(1, target[:, None])[:, 0] / math.log(2))
            hits.append(logp.argmax(-1) == target)
        bits_BT = torch.zeros(ids_BT.shape, device=ids_BT.device)
        hit_BT = torch.zeros(ids_BT.shape, dtype=torch.bool, device=ids_BT.device)
        if len(target_R):
            bits_BT[dropped_BT] = torch.cat(bits)
            hit_BT[dropped_BT] = torch.cat(hits)
        return bits_BT, hit_BT

    @torch.no_grad()
    def guesses(self, ids_BT: Tensor, kept_BT: Tensor, valid_BT: Tensor) -> Tensor:
        dropped_BT = valid_BT & ~kept_BT
        filled_BT = ids_BT.clone()
        if dropped_BT.any():
            rows_RD = self.hidden(ids_BT, kept_BT, valid_BT)[dropped_BT]
            filled_BT[dropped_BT] = torch.cat([logp.argmax(-1) for logp in self._logp(rows_RD)])
        return filled_BT

    def _logp(self, rows_RD: Tensor) -> Iterator[Tensor]:
        """Log-probabilities [R, V] of the tokens at hidden rows [R, D], `_HEAD_BLOCK` rows at a time."""
        count = len(rows_RD)
        rows_RD = functional.pad(rows_RD, (0, 0, 0, -count % _HEAD_BLOCK))
        for start in range(0, count, _HEAD_BLOCK):
            yield torch.log_softmax(self.head(rows_RD[start : start + _HEAD_BLOCK]), -1)[: count - start]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous() for k, v in self.state_dict().items()}, str(folder / "model.safetensors"))
        (folder / "reconstructor.json").write_text(json.dumps(self.settings, indent=2, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> MaskedReconstructor:
        model = cls(**json.loads((folder / "reconstructor.json").read_text()))
        model.load_state_dict(load_file(str(folder / "model.safetensors")))
        return model.eval()


def _attention(width: int, layers: int, dropout: float) -> list[nn.Module]:
    return [AttentionBlock(width, 4, dropout) for _ in range(layers)]


def _convolution(width: int, layers: int, dropout: float) -> list[nn.Module]:
    return [ConvolutionBlock(width, 5, 2**i, dropout) for i in range(layers + 1)]


BLOCKS = {"attention": _attention, "convolution": _convolution}


class _HubReconstructor(nn.Module, abc.ABC):
    """A Hugging Face language model and how it is asked for the dropped tokens of each row."""

    model: Any

    @abc.abstractmethod
    def logits(self, ids_BT: Tensor, kept_BT: Tensor, valid_BT: Tensor, visible_BT: Tensor) -> Tensor:
        """Logits [B, T, V] of the token at each place, given what is kept of `visible_BT`."""

    def dropped_nll(self, ids_BT: Tensor, kept_BT: Tensor, valid_BT: Tensor) -> Tensor:
        """Nats of the dropped tokens, flat [number of dropped tokens]; differentiable."""
        dropped_BT = valid_BT & ~kept_BT
        logits = self.logits(ids_BT, kept_BT, valid_BT, ids_BT)[dropped_BT]
        return functional.cross_entropy(logits.float(), ids_BT[dropped_BT], reduction="none")

    @torch.no_grad()
    def dropped_bits(
        self, ids_BT: Tensor, kept_BT: Tensor, valid_BT: Tensor, visible_BT: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        logits = self.logits(ids_BT, kept_BT, valid_BT, ids_BT if visible_BT is None else visible_BT)
        return _bits_at(logits, ids_BT, valid_BT & ~kept_BT)

    @abc.abstractmethod
    def guesses(self, ids_BT: Tensor, kept_BT: Tensor, valid_BT: Tensor) -> Tensor:
        """Ids [B, T] with the most likely tokens at the dropped places."""


class HubMaskedReconstructor(_HubReconstructor):
    """Any Hugging Face masked language model, with its own special tokens around each row."""

    def __init__(self, model: Any, mask_id: int, begin: list[int], end: list[int]) -> None:
        super().__init__()
        self.model = model
        self.mask_id, self.begin, self.end = mask_id, begin, end

    def positions(self, window: int) -> int:
        """Places that a row of `window` tokens takes in the model."""
        return len(self.begin) + window + len(self.end)

    def logits(self, ids_BT: Tensor, kept_BT: Tensor, valid_BT: Tensor, visible_BT: Tensor) -> Tensor:
        visible_BT = torch.where(kept_BT, visible_BT, self.mask_id)
        B, device = len(ids_BT), ids_BT.device
        length_B = valid_BT.sum(1)
        head, tail = len(self.begin), len(self.end)
        rows = torch.zeros((B, head + ids_BT.shape[1] + tail), dtype=torch.long, device=device)
        attend = torch.zeros_like(rows)
        for b in range(B):  # the end token follows the text at once, so padding stays outside
            size = int(length_B[b])
            row = [*self.begin, *visible_BT[b, :size].tolist(), *self.end]
            rows[b, : len(row)] = torch.tensor(row, device=device)
            attend[b, : len(row)] = 1
        logits_BTV: Tensor = self.model(input_ids=rows, attention_mask=attend).logits
        return logits_BTV[:, head : head + ids_BT.shape[1]]

    @torch.no_grad()
    def guesses(self, ids_BT: Tensor, kept_BT: Tensor, valid_BT: Tensor) -> Tensor:
        guess_BT = self.logits(ids_BT, kept_BT, valid_BT, ids_BT).argmax(-1)
        return torch.where(valid_BT & ~kept_BT, guess_BT, ids_BT)


class HubCausalReconstructor(_HubReconstructor):
    """Any Hugging Face causal language model: compressed text, separator, original; bits of the dropped part."""

    def __init__(self, model: Any, separator: list[int]) -> None:
        super().__init__()
        self.model = model
        self.separator = separator

    def positions(self, window: int) -> int:
        """Places that a row of `window` tokens takes in the model."""
        return 2 * window + len(self.separator)

    def logits(self, ids_BT: Tensor, kept_BT: Tensor, valid_BT: Tensor, visible_BT: Tensor) -> Tensor:
        rows, attend, positions = self._rows(ids_BT, kept_BT, valid_BT, visible_BT)
        logits_BTV: Tensor = self.model(input_ids=rows, attention_mask=attend, position_ids=positions).logits
        return logits_BTV[:, -ids_BT.shape[1] - 1 : -1]

    @torch.no_grad()
    def guesses(self, ids_BT: Tensor, kept_BT: Tensor, valid_BT: Tensor) -> Tensor:
        """From left to right: a guess is read by those after it, where `dropped_bits` lets them read the original."""
        rows, attend, positions = self._rows(ids_BT, kept_BT, valid_BT, ids_BT)
        dropped_BT = valid_BT & ~kept_BT
        filled_BT = ids_BT.clone()
        width, first, cache = rows.shape[1] - ids_BT.shape[1], 0, None
        for t in range(ids_BT.shape[1]):
            seen = rows[:, :width] if t == 0 else filled_BT[:, t - 1 : t]
            out = self.model(
                input_ids=seen,
                attention_mask=attend[:, : width + t],
                position_ids=positions[:, first : width + t],
                past_key_values=cache,
                use_cache=True,
            )
            cache, first = out.past_key_values, width + t
            filled_BT[:, t] = torch.where(dropped_BT[:, t], out.logits[:, -1].argmax(-1), ids_BT[:, t])
        return filled_BT

    def _rows(
        self, ids_BT: Tensor, kept_BT: Tensor, valid_BT: Tensor, visible_BT: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Prompt and original as ids, what may be read of them, and positions; the original is the last T columns."""
        B, T = ids_BT.shape
        prompts = [[*visible_BT[b][(kept_BT & valid_BT)[b]].tolist(), *self.separator] for b in range(B)]
        width = T + len(self.separator)  # fixed whatever was kept, so that shapes do not depend on the mask
        rows = torch.zeros((B, width + T), dtype=torch.long, device=ids_BT.device)
        attend = torch.zeros_like(rows)
        for b, prompt in enumerate(prompts):  # left padding: the original always starts at column `width`
            rows[b, width - len(prompt) : width] = torch.tensor(prompt, device=ids_BT.device)
            attend[b, width - len(prompt) : width] = 1
        rows[:, width:] = torch.where(valid_BT, ids_BT, 0)
        attend[:, width:] = valid_BT.long()
        return rows, attend, (attend.cumsum(1) - 1).clamp(min=0)


def _bits_at(logits_BTV: Tensor, ids_BT: Tensor, dropped_BT: Tensor) -> tuple[Tensor, Tensor]:
    logp_BTV = torch.log_softmax(logits_BTV.float(), -1)
    bits_BT = -logp_BTV.gather(2, ids_BT[..., None])[..., 0] / math.log(2)
    return torch.where(dropped_BT, bits_BT, 0.0), (logp_BTV.argmax(-1) == ids_BT) & dropped_BT


HubReconstructor = HubMaskedReconstructor | HubCausalReconstructor
TrainableReconstructor = MaskedReconstructor | HubReconstructor


def weights_hash(model: nn.Module) -> str:
    """Names the exact weights: a content hash, equal in every process."""
    h = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(model.state_dict().items()):
        h.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        h.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return h.hexdigest()


def load_hub_reconstructor(name: str, kind: str, trust_remote_code: bool = False) -> HubReconstructor:
    """A reconstructor from a local folder or a hub id; `kind` is masked or causal.

    Raises:
        UserError: nothing loadable under that name, or a masked model whose tokenizer has no mask token.
    """
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

    loader = {"masked": AutoModelForMaskedLM, "causal": AutoModelForCausalLM}[kind]
    try:
        model = loader.from_pretrained(name, trust_remote_code=trust_remote_code).eval()
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise UserError(
            f"judge model {name!r} cannot be loaded ({str(error).splitlines()[0]}): give a model folder, "
            "a hub id that is in the local cache, builtin:attention or builtin:convolution"
        ) from error
    if kind == "causal":
        separator = tokenizer.encode("\n\n", add_special_tokens=False) or [tokenizer.eos_token_id or 0]
        return HubCausalReconstructor(model, separator)
    if tokenizer.mask_token_id is None:
        raise UserError(f"judge model {name!r} has no mask token: set its kind to causal or choose a masked model")
    begin = [i for i in [tokenizer.cls_token_id] if i is not None]
    end = [i for i in [tokenizer.sep_token_id] if i is not None]
    return HubMaskedReconstructor(model, tokenizer.mask_token_id, begin, end)


def save_hub_reconstructor(model: HubReconstructor, name: str, folder: Path) -> None:
    """Write model and tokenizer of `name` in Hugging Face format; `load_hub_reconstructor(folder)` reads it back."""
    from transformers import AutoTokenizer

    model.model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(name).save_pretrained(folder)

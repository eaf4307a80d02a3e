"""What scores words: an artifact, an LLMLingua-2 checkpoint or a causal language model, each behind the same call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from rlcompress.baselines.llmlingua import Llmlingua, contrast, surprise
from rlcompress.compressor import Compressor
from rlcompress.errors import UserError
from rlcompress.llmlingua.arguments import Kind
from rlcompress.llmlingua.request import Request
from rlcompress.models.causal import load_causal
from rlcompress.models.features import RowLayout, featurise
from rlcompress.models.tokenizer import load_tokenizer
from rlcompress.text.segment import Segmenter
from rlcompress.words import Example, FloatArray, IntArray, Tokenizer, Units

CLASSIFIERS = ("bert", "xlm-roberta")
_WINDOW = 512
_LARGEST_CAUSAL = 1_000_000_000  # parameters: beyond it, words take seconds each on a CPU


class Scoring(Protocol):
    """Scores the units of a text; `segmenter` cuts it and counts its tokens."""

    kind: Kind
    segmenter: Segmenter

    def scores(self, units: Units, request: Request, rate: float) -> FloatArray:
        """One score [N] a unit; the higher, the sooner it is kept."""
        ...

    def length(self, text: str, special: bool) -> int:
        """Tokens of the model's own tokenizer, with those that it puts round a text or without."""
        ...

    def encode(self, text: str) -> tuple[IntArray, IntArray]:
        """Ids [T] and spans [T, 2] by the model's own tokenizer."""
        ...


class PolicyScoring:
    """A policy that was trained here."""

    kind = Kind.POLICY

    def __init__(self, folder: Path, device: str, reader: Tokenizer | None) -> None:
        self.compressor = Compressor.from_pretrained(folder, device)
        own = self.compressor.segmenter
        self.segmenter = own if reader is None else Segmenter(reader, own.granularity, own.protect)

    def scores(self, units: Units, request: Request, rate: float) -> FloatArray:
        return self.compressor.priorities([units], [request.heard], rate)[0]

    def length(self, text: str, special: bool) -> int:
        return len(self.encode(text)[0])

    def encode(self, text: str) -> tuple[IntArray, IntArray]:
        return self.compressor.segmenter.tokenizer.encode(text)


class CheckpointScoring:
    """An LLMLingua-2 token classifier (Pan et al., ACL 2024 Findings): a word's score is its tokens' p(keep).

    Long texts are read in windows that overlap by half; a token counts where it stands most central.
    """

    kind = Kind.CHECKPOINT

    def __init__(self, folder: Path, device: torch.device, reader: Tokenizer | None, batch: int, dtype: Any) -> None:
        model, self.hub = load_classifier(folder, dtype)
        self.model = model.to(device)
        self.device = device
        self.batch = batch
        self.tokenizer = load_tokenizer(str(folder))
        begin, end = ((i,) if i is not None else () for i in (self.hub.cls_token_id, self.hub.sep_token_id))
        self.layout = RowLayout(begin=begin, middle=end, end=end)
        self.window = min(_WINDOW, longest_row(model.config))
        self.segmenter = Segmenter(reader or self.tokenizer)

    @torch.no_grad()
    def scores(self, units: Units, request: Request, rate: float) -> FloatArray:
        features = featurise([units], [None], self.tokenizer, self.window, self.layout)
        ids_WT, valid_WT = (torch.from_numpy(features[name][0]) for name in ("ids_PWT", "valid_PWT"))
        kept = [
            self.model(input_ids=ids.to(self.device), attention_mask=valid.long().to(self.device)).logits
            for ids, valid in zip(torch.split(ids_WT, self.batch), torch.split(valid_WT, self.batch), strict=True)
        ]
        p_WT = torch.softmax(torch.cat(kept).float(), -1)[..., 1].cpu().numpy().astype(np.float64)
        own_WT, unit_WT = features["own_PWT"][0].astype(np.bool_), features["unit_PWT"][0].astype(np.int64)
        return pooled(p_WT[own_WT], unit_WT[own_WT], len(units), request.token_to_word)

    def length(self, text: str, special: bool) -> int:
        return len(self.encode(text)[0]) + special * len(self.layout.begin + self.layout.end)

    def encode(self, text: str) -> tuple[IntArray, IntArray]:
        return self.tokenizer.encode(text)


class CausalScoring:
    """A causal language model: LLMLingua's surprise, or with a question LongLLMLingua's contrast."""

    kind = Kind.CAUSAL

    def __init__(self, folder: Path, device: torch.device, reader: Tokenizer | None) -> None:
        config = read_config(folder)
        longest = int(config.get("max_position_embeddings") or config.get("n_positions") or _WINDOW)
        self.model = load_causal(str(folder), window=min(2 * _WINDOW, longest), chunk=4, device=device)
        size = sum(p.numel() for p in self.model.model.parameters())
        if size > _LARGEST_CAUSAL:
            raise UserError(f"model_name: {folder} has {size:,} parameters: give a causal model of at most 1e9")
        self.segmenter = Segmenter(reader or self.model.tokenizer)

    def scores(self, units: Units, request: Request, rate: float) -> FloatArray:
        asked = request.rank_method == "longllmlingua" or request.condition_compare
        asked = (asked or request.condition_in_question != "none") and request.heard is not None
        segment = max(1, min(request.iterative_size, self.model.window // 2))
        method = Llmlingua("llmlingua", contrast if asked else surprise, self.model, segment)
        return method.priorities([units], [Example("prompt", units.text, request.heard)], rate, 0)[0]

    def length(self, text: str, special: bool) -> int:
        return len(self.encode(text)[0]) + special

    def encode(self, text: str) -> tuple[IntArray, IntArray]:
        return self.model.tokenizer.encode(text)


def pooled(p_T: FloatArray, unit_T: IntArray, units: int, how: str) -> FloatArray:
    """The mean or the first of the tokens' values [T] of each unit [N]; 0 for a unit without tokens."""
    if how == "first":
        result = np.zeros(units)
        result[unit_T[::-1]] = p_T[::-1]
        return result
    return np.bincount(unit_T, p_T, minlength=units) / np.maximum(np.bincount(unit_T, minlength=units), 1)


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a model folder, empty where there is none."""
    file = folder / "config.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise UserError(f"model_name: {file} is no JSON: save the checkpoint again") from error
    return found if isinstance(found, dict) else {}


def load_classifier(folder: Path, dtype: Any = None) -> tuple[Any, Any]:
    """Model and tokenizer of an LLMLingua-2 checkpoint.

    Raises:
        UserError: an architecture that LLMLingua-2 has not, other than two labels, or a damaged folder.
    """
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    config = read_config(folder)
    if config.get("model_type") not in CLASSIFIERS:
        raise UserError(f"model_name: {folder} is a {config.get('model_type')}: give one of {', '.join(CLASSIFIERS)}")
    try:
        model = AutoModelForTokenClassification.from_pretrained(folder, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"model_name: {folder} cannot be loaded ({str(error).splitlines()[0]}): save it again"
        ) from error
    if model.config.num_labels != 2:
        raise UserError(f"model_name: {folder} has {model.config.num_labels} labels and LLMLingua-2 has 2: drop, keep")
    return (model if dtype is None else model.to(dtype)).eval(), tokenizer


def longest_row(config: Any) -> int:
    """Tokens that a model reads together: XLM-RoBERTa's positions begin behind that of its padding."""
    before = config.pad_token_id + 1 if config.model_type == "xlm-roberta" else 0
    return int(config.max_position_embeddings) - before

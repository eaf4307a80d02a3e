"""`compat="exact"`: LLMLingua-2 as it is in 0.2.2, faults included, so that the same words stay.

Written after `PromptCompressor.compress_prompt_llmlingua2` of github.com/microsoft/LLMLingua (MIT). Where the original
computes with float32 scalars in lists, so does this: `np.percentile` of such a list is float32 or, with a forced word
among them, float64, and words that lie on the threshold depend on it. Rows are padded to 512 for the same reason.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlcompress.errors import UserError
from rlcompress.llmlingua.account import account
from rlcompress.llmlingua.arguments import Kind
from rlcompress.llmlingua.request import Request
from rlcompress.llmlingua.scoring import CheckpointScoring
from rlcompress.words import Tokenizer

_ROW = 512
_WORDS = re.compile(r'\b\w+\b|[<>=/!@#$%^&*()?":{}|\\`~;_+-]')
_SEED = 42
Number = Any  # np.float32, or float where a word is forced


@dataclass(frozen=True, slots=True)
class Chunk:
    """The words of a chunk with a probability for each token of theirs, and the same without forcing."""

    words: list[str]
    tokens: list[list[Number]]
    free: list[list[Number]]


@dataclass(frozen=True, slots=True)
class Forcing:
    """What must stay; `new` names the token that stands in for a text that is no single token."""

    texts: tuple[str, ...]
    new: dict[str, str]
    digits: bool

    def stands(self, text: str) -> str:
        """`text` with stand-ins."""
        for old, new in self.new.items():
            text = text.replace(old, new)
        return text

    def restores(self, text: str) -> str:
        """`text` without them."""
        for old, new in self.new.items():
            text = text.replace(new, old)
        return text

    def covers(self, token: str) -> bool:
        return token in self.texts or token in self.new.values()


class ExactScoring(CheckpointScoring):
    """An LLMLingua-2 checkpoint that is used as the original uses it; the host's random state is left alone."""

    kind = Kind.EXACT

    def __init__(
        self, folder: Path, device: torch.device, reader: Tokenizer, batch: int, dtype: Any, max_force_token: int
    ) -> None:
        super().__init__(folder, device, reader, batch, dtype)
        if self.window < _ROW:
            raise UserError(f'compat="exact" reads {_ROW} tokens at a time and {folder} {self.window}: leave it out')
        self.xlm = self.model.config.model_type == "xlm-roberta"
        self.special = {value for value in self.hub.special_tokens_map.values() if isinstance(value, str)}
        self.added = [f"[NEW{i}]" for i in range(max_force_token)]
        self.hub.add_special_tokens({"additional_special_tokens": self.added})
        with torch.random.fork_rng():
            torch.manual_seed(_SEED)  # the new tokens' embeddings are drawn: the original reseeds the process
            self.model.resize_token_embeddings(len(self.hub))

    def count(self, text: str) -> int:
        return len(self.segmenter.tokenizer.encode(text)[0])

    def compress(self, request: Request) -> dict[str, Any]:
        """The original's result for a request."""
        force = self._forcing(request)
        ends = {force.new.get(end, end) for end in request.chunk_end_tokens} | set(request.chunk_end_tokens)
        contexts = [self._chunks(force.stands(text), ends) for text in request.context]
        original = sum(self.count(text) for text in request.context)
        kept, rate = list(range(len(contexts))), request.rate
        dropped_words: dict[int, list[str]] = {}
        if request.use_context_level_filter and len(contexts) > 1:
            kept, dropped_words = self._filter(request, contexts, force, original)
            if request.targeted:
                left = sum(self.count(chunk) for c in kept for chunk in contexts[c])
                rate = min(request.target_token / left, 1.0) if left else 1.0
        elif request.target_token > 0:
            rate = min(request.target_token / original, 1.0) if original else 1.0
        drop = max(0, 1 - rate) if request.use_token_level_filter else 0
        texts, labels = self._compress([contexts[c] for c in kept], drop, request, force)
        found = account("\n\n".join(texts), original, sum(map(self.count, texts)))
        found["compressed_prompt_list"] = texts
        if request.return_word_label:
            of = {c: labelled for c, labelled in zip(kept, labels, strict=True)}
            of |= {c: [(word, 0) for word in words] for c, words in dropped_words.items()}
            lines = [f"{word}{request.label_sep}{label}" for c in sorted(of) for word, label in of[c]]
            found["fn_labeled_original_prompt"] = request.word_sep.join(lines)
        return found

    def _forcing(self, request: Request) -> Forcing:
        new = {text: self.added[i] for i, text in enumerate(request.force_tokens) if len(self.hub.tokenize(text)) != 1}
        return Forcing(tuple(request.force_tokens), new, request.force_reserve_digit)

    def _chunks(self, text: str, ends: set[str]) -> list[str]:
        """Pieces of at most 511 tokens that end at one of `ends` where one is found, written out again."""
        tokens = self.hub.tokenize(text)
        room, chunks, start = _ROW - 2, [], 0
        while start < len(tokens):
            last = len(tokens) - 1
            if start + room <= last:
                last = start + room
                last = next((at for at in range(last, start, -1) if tokens[at] in ends), last)
            chunks.append(self.hub.convert_tokens_to_string(tokens[start : last + 1]))
            start = last + 1
        return chunks

    @torch.no_grad()
    def _read(self, chunks: Sequence[str], force: Forcing) -> list[Chunk]:
        rows = []
        for chunk in chunks:
            # BERT's names whatever the model: XLM-RoBERTa reads its unknown token in their place
            tokens = ["[CLS]", *self.hub.tokenize(chunk), "[SEP]"][:_ROW]
            rows.append(tokens + ["[PAD]"] * (_ROW - len(tokens)))
        result = []
        for at in range(0, len(rows), self.batch):
            part = rows[at : at + self.batch]
            ids_BT = torch.tensor([self.hub.convert_tokens_to_ids(row) for row in part])
            mask_BT = torch.tensor([[token != "[PAD]" for token in row] for row in part])
            logits = self.model(input_ids=ids_BT.to(self.device), attention_mask=mask_BT.to(self.device)).logits
            p_BT = torch.softmax(logits, -1)[..., 1].cpu()
            for ids_T, mask_T, p_T in zip(ids_BT, mask_BT, p_BT, strict=True):
                tokens = self.hub.convert_ids_to_tokens(ids_T[mask_T].tolist())
                result.append(self._words(tokens, list(p_T[mask_T].numpy()), force))
        return result

    def _words(self, tokens: Sequence[str], values: Iterable[Number], force: Forcing) -> Chunk:
        found = Chunk([], [], [])
        for token, value in zip(tokens, values, strict=True):
            if token in self.special:
                continue
            pure = token.lstrip("▁" if self.xlm else "##")
            if self._begins(token, force):
                free = value  # and all further tokens of the word count as its first
                if force.covers(pure):
                    value = 1.0
                token = force.restores(token)
                found.words.append(token)
                found.tokens.append([])
                found.free.append([])
            else:
                found.words[-1] += pure
            found.tokens[-1].append(1.0 if force.digits and re.search(r"\d", token) else value)
            found.free[-1].append(free)
        return found

    def _begins(self, token: str, force: Forcing) -> bool:
        if self.xlm:
            return token in string.punctuation or force.covers(token) or token.startswith("▁")
        return force.covers(token.lstrip("##")) or not token.startswith("##")  # noqa: B005 -- as it is there

    def _shown(self, words: Sequence[str]) -> list[str]:
        return [word.lstrip("▁") if self.xlm else word for word in words]

    def _filter(
        self, request: Request, contexts: list[list[str]], force: Forcing, original: int
    ) -> tuple[list[int], dict[int, list[str]]]:
        """Contexts that stay, and the words of the others."""
        level, tokens = request.context_level_rate, request.context_level_target_token
        if request.target_context <= 0 and level >= 1.0 and tokens <= 0:
            twice = request.use_token_level_filter
            if request.target_token < 0 and request.rate < 1.0:
                level = (request.rate + 1.0) / 2 if twice else request.rate
            if request.targeted:
                tokens = int(request.target_token) * (2 if twice else 1)
        if request.target_context >= 0:
            level = min(request.target_context / len(contexts), 1.0)
        if tokens >= 0:
            level = min(tokens / original, 1.0) if original else 1.0
        read = iter(self._read([chunk for chunks in contexts for chunk in chunks], force))
        by_context = [[next(read) for _ in chunks] for chunks in contexts]
        means = []
        for i, chunks in enumerate(by_context):
            values = [value for chunk in chunks for value in word_values(chunk.free, request.token_to_word)]
            if not values:
                raise UserError(f'context[{i}] has no words, at which compat="exact" fails: leave it or compat out')
            means.append(sum(values) / len(values))
        threshold = np.percentile(means, int(100 * (1 - level)))
        forced = request.force_context_ids or ()
        kept = [i for i, mean in enumerate(means) if mean >= threshold or i in forced]
        others = set(range(len(contexts))) - set(kept)
        return kept, {i: [word for c in by_context[i] for word in self._shown(c.words)] for i in others}

    def _compress(
        self, contexts: list[list[str]], drop: float, request: Request, force: Forcing
    ) -> tuple[list[str], list[list[tuple[str, int]]]]:
        """What is left of each context, and its words with their labels."""
        if drop <= 0:
            whole = [[force.restores(chunk) for chunk in chunks] for chunks in contexts]
            return ["".join(chunks) for chunks in whole], [
                [(word, 1) for chunk in chunks for word in _WORDS.findall(chunk)] for chunks in whole
            ]
        read = iter(self._read([chunk for chunks in contexts for chunk in chunks], force))
        texts, labels = [], []
        for chunks in contexts:
            text, labelled = "", list[tuple[str, int]]()
            for _ in chunks:
                chunk = next(read)
                kept = keep(chunk, drop, request, self.count)
                text += self.hub.convert_tokens_to_string([w for w, k in zip(chunk.words, kept, strict=True) if k])
                labelled += zip(self._shown(chunk.words), kept, strict=True)
            texts.append(text)
            labels.append(labelled)
        return texts, labels


def word_values(tokens: Sequence[Sequence[Number]], how: str) -> list[Number]:
    """One probability a word."""
    return [values[0] if how == "first" else sum(values) / len(values) for values in tokens]


def keep(chunk: Chunk, drop: float, request: Request, count: Callable[[str], int]) -> list[int]:
    """1 for each word above the chunk's percentile, 0 for the rest."""
    values = word_values(chunk.tokens, request.token_to_word)
    if not values:
        raise UserError('a chunk has no words, at which compat="exact" fails: leave compat out')
    if drop > 0.995:
        raise UserError('so low a budget makes compat="exact" fail: raise rate or target_token, or leave compat out')
    force = request.force_tokens
    if request.drop_consecutive:
        threshold = np.percentile(values, int(100 * drop))
        between, before = False, None
        for i, (word, value) in enumerate(zip(chunk.words, values, strict=True)):
            if word not in force:
                between |= bool(value > threshold)
                continue
            if between:
                between = False
            elif word == before:
                values[i] = 0.0
            before = word
    spread = [value for word, value in zip(chunk.words, values, strict=True) for _ in range(count(word))]
    threshold = np.percentile(spread, int(100 * drop + 1))
    labels, last = [], None
    for word, value in zip(chunk.words, values, strict=True):
        stays = bool(value > threshold or (threshold == 1.0 and value == threshold))
        if stays and request.drop_consecutive and word in force and last == word:
            stays = False
        labels.append(int(stays))
        last = word if stays else last
    return labels

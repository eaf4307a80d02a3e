"""Tokenizers behind one small class: the built-in byte-level BPE, a local folder, or a hub id."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers

from rlcompress.errors import UserError
from rlcompress.words import IntArray

_REMEMBERED = 64  # texts whose tokens are at hand
MASK, PAD = "[MASK]", "[PAD]"  # ids 0 and 1 of the built-in tokenizer


class TextTokenizer:
    """Ids and character spans of a text, without special tokens; wraps a `tokenizers.Tokenizer`."""

    def __init__(self, fast: FastTokenizer, name: str, mask_id: int | None, pad_id: int) -> None:
        self._fast = fast
        self._fast.encode_special_tokens = True  # "[MASK]" in somebody's text is text
        self.name = name
        self.mask_id = mask_id
        self.pad_id = pad_id
        self._remembered = lru_cache(maxsize=_REMEMBERED)(self._encode)

    @property
    def vocabulary(self) -> int:
        return int(self._fast.get_vocab_size())

    @property
    def version(self) -> str:
        """Content hash of the tokenizer, equal in every process."""
        return hashlib.blake2b(self._fast.to_str().encode(), digest_size=8).hexdigest()

    def encode(self, text: str) -> tuple[IntArray, IntArray]:
        """Ids [T] and spans [T, 2]; remembered for a while, since who scores a text asks what who cut it had asked."""
        ids_T, spans_T2 = self._remembered(text)
        return ids_T.copy(), spans_T2.copy()

    def _encode(self, text: str) -> tuple[IntArray, IntArray]:
        encoding = self._fast.encode(text.encode("utf-8", "replace").decode("utf-8"), add_special_tokens=False)
        return np.asarray(encoding.ids, np.int64), np.asarray(encoding.offsets, np.int64).reshape(-1, 2)

    def decode(self, ids_T: IntArray) -> str:
        return str(self._fast.decode(ids_T.tolist()))

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`, which `load_tokenizer(folder)` and any Hugging Face tool read."""
        folder.mkdir(parents=True, exist_ok=True)
        self._fast.save(str(folder / "tokenizer.json"))

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self._fast.to_str(), self.name, self.mask_id, self.pad_id))


def _rebuild(data: str, name: str, mask_id: int | None, pad_id: int) -> TextTokenizer:
    return TextTokenizer(FastTokenizer.from_str(data), name, mask_id, pad_id)


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> TextTokenizer:
    """Byte-level BPE trained on `texts`; deterministic, any string encodes."""
    fast = FastTokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[MASK, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    fast.train_from_iterator(texts, trainer)
    return TextTokenizer(fast, "builtin:bpe", mask_id=0, pad_id=1)


def load_tokenizer(name: str, *, vocabulary: int = 2048, texts: Iterable[str] | None = None) -> TextTokenizer:
    """`builtin:bpe` trains on `texts`; a folder with `tokenizer.json` or a hub id is loaded.

    Raises:
        UserError: the folder or hub id holds no fast tokenizer, or `builtin:bpe` came without texts.
    """
    if name == "builtin:bpe":
        if texts is None:
            raise UserError("reader.tokenizer builtin:bpe must be trained: run `data` first or name a tokenizer folder")
        return train_tokenizer(texts, vocabulary)
    folder = Path(name)
    config = folder / "tokenizer.json"
    if config.is_file() and not (folder / "tokenizer_config.json").exists():
        try:
            fast = FastTokenizer.from_file(str(config))
        except Exception as error:  # the library raises nothing narrower
            raise UserError(f"{config} is no tokenizer ({str(error).splitlines()[0]}): write it again") from error
        return TextTokenizer(fast, name, fast.token_to_id(MASK), fast.token_to_id(PAD) or 0)
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(name, use_fast=True, trust_remote_code=False)
        fast = FastTokenizer.from_str(loaded.backend_tokenizer.to_str())
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"reader.tokenizer {name!r} cannot be loaded ({str(error).splitlines()[0]}): "
            "give a folder with tokenizer.json, or a hub id that is in the local cache"
        ) from error
    fast.no_padding()
    fast.no_truncation()
    return TextTokenizer(fast, name, loaded.mask_token_id, loaded.pad_token_id or 0)

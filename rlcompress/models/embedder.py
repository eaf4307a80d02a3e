"""The frozen encoder that texts, sentences and words are compared by: built-in or pretrained, one class over both.

`TextEmbedder` is the `Embedder` of `rlcompress/questions/sentences.py`. Its vectors depend on the text alone, never on
its company, so they are computed once and remembered.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rlcompress.config.embedding import EmbedderConfig
from rlcompress.errors import UserError
from rlcompress.models.latent import LatentSemantics
from rlcompress.models.presence import fingerprint
from rlcompress.models.sentence_encoder import load_sentence_encoder
from rlcompress.text.units import token_units
from rlcompress.words import FloatArray, IntArray

BUILTIN = "builtin:lsa"
_RECORD = "embedder.json"
_FITTING = 2  # how builtin:lsa is fitted; changes with what comes of the same texts
_REMEMBERED = 2**24  # float32 numbers of remembered vectors: 64 MiB
_BATCH = 1024  # new texts of one call of the encoder


class Encoder(Protocol):
    """Raw vectors; what they mean is the encoder's own."""

    @property
    def version(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    def sentences(self, texts: Sequence[str]) -> FloatArray:
        """One vector a text [S, D], at least one text."""
        ...

    def states(self, text: str) -> tuple[FloatArray, IntArray]:
        """Vectors [T, D] of the pieces of a text and their character spans [T, 2]."""
        ...

    def save(self, folder: Path) -> None: ...


class TextEmbedder:
    """Unit vectors of sentences and words by a frozen `Encoder`; the most recent ones are remembered by content."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._recent: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        self._numbers = 0  # in `_recent`

    @property
    def version(self) -> str:
        """Names the exact weights, equal in every process."""
        return self.encoder.version

    def sentences(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors [S, D]; zeros for a text in which the encoder knows nothing."""
        keys = [_key(text) for text in texts]
        found = {key: vector for key in keys if (vector := self._recall(key)) is not None}
        missing = [(key, text) for key, text in dict(zip(keys, texts, strict=True)).items() if key not in found]
        for at in range(0, len(missing), _BATCH):
            part = missing[at : at + _BATCH]
            for (key, _), vector_D in zip(part, self.encoder.sentences([text for _, text in part]), strict=True):
                found[key] = _unit(vector_D)
                self._remember(key, found[key])
        return np.array([found[key] for key in keys], np.float64).reshape(len(keys), self.encoder.dimension)

    def words(self, text: str, spans_N2: IntArray) -> FloatArray:
        """Unit vectors [N, D] of the words at rising, disjoint character spans [N, 2], read in their text.

        A word's vector is the mean over the tokens that start in it, or the token in whose middle it starts; zeros
        where there is none.
        """
        spans_N2 = np.asarray(spans_N2, np.int64).reshape(-1, 2)
        key = _key(text, spans_N2)
        vectors_ND = self._recall(key)
        if vectors_ND is None:
            states_TD, spans_T2 = self.encoder.states(text)
            vectors_ND = _unit(_means(text, spans_N2, states_TD, spans_T2))
            self._remember(key, vectors_ND)
        return vectors_ND.astype(np.float64)

    def save(self, folder: Path) -> None:
        """Write what `load_embedder` reads."""
        folder.mkdir(parents=True, exist_ok=True)
        self.encoder.save(folder)
        record = {"builtin": isinstance(self.encoder, LatentSemantics), "version": self.version}
        (folder / _RECORD).write_text(json.dumps(record), encoding="utf-8")

    def _recall(self, key: bytes) -> NDArray[np.float32] | None:
        if key in self._recent:
            self._recent.move_to_end(key)
        return self._recent.get(key)

    def _remember(self, key: bytes, vectors: NDArray[np.float32]) -> None:
        self._recent[key] = vectors
        self._numbers += vectors.size
        while self._numbers > _REMEMBERED:
            self._numbers -= self._recent.popitem(last=False)[1].size

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_recent": OrderedDict(), "_numbers": 0}  # a cache is not worth its transport


def _key(text: str, spans_N2: IntArray | None = None) -> bytes:
    h = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16)
    if spans_N2 is not None:
        h.update(b"\xff" + spans_N2.tobytes())
    return h.digest()


def _unit(vectors: FloatArray) -> NDArray[np.float32]:
    """Vectors [..., D] scaled to norm 1; zeros stay."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: NDArray[np.float32] = (vectors / np.where(norms > 0, norms, 1.0)).astype(np.float32)
    return unit


def _means(text: str, spans_N2: IntArray, states_TD: FloatArray, spans_T2: IntArray) -> FloatArray:
    """Means [N, D] of the states of each word's tokens: those whose first solid character is in its span."""
    N = len(spans_N2)
    total_ND, count_N = np.zeros((N, states_TD.shape[1])), np.zeros(N)
    if N and len(spans_T2):
        # the gaps between the spans own tokens too, so that none is given to a neighbour
        bounds = np.unique(np.append(spans_N2.ravel(), 0))
        owner_T = token_units(text, bounds, spans_T2)
        word_of = np.full(len(bounds), -1)
        word_of[np.searchsorted(bounds, spans_N2[:, 0])] = np.arange(N)
        word_T = word_of[owner_T]
        np.add.at(total_ND, word_T[word_T >= 0], states_TD[word_T >= 0])
        np.add.at(count_N, word_T[word_T >= 0], 1)
        # a token may hold several words, in scripts without spaces
        covering_N = np.maximum(np.searchsorted(spans_T2[:, 0], spans_N2[:, 0], side="right") - 1, 0)
        inside_N = (count_N == 0) & (spans_T2[covering_N, 1] > spans_N2[:, 0])
        total_ND[inside_N] = states_TD[covering_N[inside_N]]
    return total_ND / np.maximum(count_N, 1)[:, None]


def build_embedder(
    config: EmbedderConfig,
    train_texts: Sequence[str],
    device: torch.device | None = None,
    trust_remote_code: bool = False,
) -> TextEmbedder:
    """The encoder that `config` names: fitted on the training texts, or pretrained.

    Raises:
        UserError: it cannot be loaded, or `builtin:lsa` has nothing to be fitted on.
    """
    if config.model == BUILTIN:
        return TextEmbedder(LatentSemantics.fit(train_texts, config))
    return load_embedder(config.model, device, trust_remote_code)


def load_embedder(
    name: str | Path, device: torch.device | None = None, trust_remote_code: bool = False
) -> TextEmbedder:
    """What `TextEmbedder.save` wrote, a model folder or a hub id; raises as `build_embedder` does."""
    record = Path(name) / _RECORD
    try:
        builtin = record.is_file() and json.loads(record.read_text(encoding="utf-8"))["builtin"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"the encoder in {name} is damaged ({error}): fit it again") from error
    if builtin:
        return TextEmbedder(LatentSemantics.load(Path(name)))
    return TextEmbedder(load_sentence_encoder(str(name), device, trust_remote_code))


def embedder_key(config: EmbedderConfig, data_hash: str) -> str:
    """Names an encoder by all that decides its weights."""
    start = f"{_FITTING} {data_hash}" if config.model == BUILTIN else fingerprint(config.model)
    named = json.dumps([config.model_dump(mode="json"), start], sort_keys=True)
    return hashlib.blake2b(named.encode(), digest_size=8).hexdigest()

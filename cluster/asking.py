"""Baselines with the models that they ask: each is made when the first baseline asks for it, and kept for the next run.

`builtin:causal` is trained on the training texts under `<runs>/cache/language_models`, by everything that decides its
weights; the encoder is that of `cluster/encoders.py`.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from pathlib import Path

from cluster.encoders import embedder_folder
from cluster.stages import Prepared
from rlcompress.baselines import Method, build_methods
from rlcompress.config.schema import RunConfig
from rlcompress.machine.device import choose_device
from rlcompress.models.causal import BUILTIN, CausalModel, language_model_key, load_causal, train_causal
from rlcompress.models.embedder import TextEmbedder, load_embedder
from rlcompress.models.tokenizer import load_tokenizer
from rlcompress.recording.publish import publishing, why_torn
from rlcompress.words import Judge, Tokenizer

log = logging.getLogger(__name__)


def baseline_methods(
    names: Sequence[str], config: RunConfig, *, tokenizer: Tokenizer, judge: Judge | None, prepared: Prepared | None
) -> list[Method]:
    """Baselines by name, in order, fitted on the training texts of `prepared`.

    Without prepared data there is nothing to fit or train on: those that need it say so when they are used.

    Raises:
        UserError: an unknown name, or a model that cannot be loaded.
    """
    if prepared is None:
        return build_methods(names, tokenizer=tokenizer, train_texts=[], judge=judge)
    return build_methods(
        names,
        tokenizer=tokenizer,
        train_texts=_train_texts(prepared),
        judge=judge,
        embedder=functools.cache(lambda: embedder(config, prepared)),
        language_model=functools.cache(lambda: language_model(config, prepared)),
        segment=config.baselines.segment,
    )


def _train_texts(prepared: Prepared) -> list[str]:
    """Each text once, however many questions are asked about it."""
    return list(dict.fromkeys(example.text for example in prepared.examples("train")))


def embedder(config: RunConfig, prepared: Prepared) -> TextEmbedder:
    """The sentence encoder that `config.embedder` names, fitted now unless it was before."""
    folder = embedder_folder(config, prepared.folder, prepared.manifest.hash)
    return load_embedder(folder, choose_device(config.device), config.trust_remote_code)


def language_model(config: RunConfig, prepared: Prepared) -> CausalModel:
    """The causal model of `baselines.language_model`, trained now unless it was before.

    Raises:
        UserError: it cannot be loaded, or reads less than its window.
    """
    settings = config.baselines.language_model
    name = settings.model
    if name == BUILTIN:
        folder = Path(config.runs) / "cache" / "language_models" / language_model_key(settings, prepared.manifest.hash)
        if why_torn(folder) is not None:
            folder.parent.mkdir(parents=True, exist_ok=True)
            tokenizer = load_tokenizer(str(prepared.folder / "tokenizer"))
            with publishing(folder) as made:
                bits = train_causal(settings, _train_texts(prepared), tokenizer, made)
            log.info("trained %s: %.2f bits a token of the training texts", BUILTIN, bits)
        name = str(folder)
    return load_causal(name, window=settings.window, chunk=settings.chunk, device=choose_device(config.device))

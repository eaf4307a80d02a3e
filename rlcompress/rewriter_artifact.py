"""The artifact of a rewriting policy: a folder with manifest, model or adapter, the evaluator's tokenizer and a card.

manifest.json   what it says about itself; `kind` tells it from a masking artifact
model/          a Hugging Face folder, or adapters alone with the base that they belong to
reader/         the tokenizer that lengths are counted by
README.md       the model card, which shows what is in results.json, if that is there
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict

from rlcompress.artifact import FORMAT, MANIFEST, REWRITING, manifest_data
from rlcompress.card import RESULTS, rewriter_card
from rlcompress.config.generating import DecodingConfig, LanguageConfig, RewritingTemplateConfig
from rlcompress.config.section import Positive
from rlcompress.errors import UserError
from rlcompress.generation.language import LanguageModel
from rlcompress.generation.loading import load_language
from rlcompress.generation.lora import is_adapter, save_adapter
from rlcompress.models.tokenizer import TextTokenizer, load_tokenizer

MODEL, READER, CARD = "model", "reader", "README.md"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


class BaseModelName(BaseModel):
    """Whose weights adapters are added to."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str
    revision: str | None = None


class RewriterManifest(BaseModel):
    """What the artifact of a rewriting policy says about itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    kind: Literal["rewriting"] = "rewriting"
    name: str
    created_by: str  # rlcompress version
    template: RewritingTemplateConfig = RewritingTemplateConfig()
    decoding: DecodingConfig = DecodingConfig(temperature=0.0)
    window: Positive  # most tokens of prompt and output together
    chunk: Positive  # rows of one forward, fixed so that rewrites never depend on callers
    base: BaseModelName | None = None  # of adapters
    rates: tuple[float, ...]  # trained at; any rate may be asked
    seed: int
    iteration: int
    stage: Literal["base", "sft", "continued_sft", "rl"]
    data: dict[str, Any]  # source and hash
    trained_rows: tuple[str, ...] = ()  # hashes, so that an evaluation can refuse them


def rewriter_manifest(language: LanguageModel, **fields: Any) -> RewriterManifest:
    """A manifest for a model, which says window, chunk and base; the other `fields` as they are."""
    adapted = hasattr(language.model, "peft_config")
    base = BaseModelName(model=language.name, revision=language.revision) if adapted else None
    return RewriterManifest(window=language.window, chunk=language.chunk, base=base, **fields)


def save_rewriter(
    folder: Path,
    manifest: RewriterManifest,
    language: LanguageModel,
    reader: TextTokenizer,
    *,
    results: dict[str, Any] | None = None,
    license: str | None = None,
) -> None:
    """Write everything that serving needs, weights as safetensors.

    Args:
        folder: made if it is not there; see `recording.publish.publishing` for one that appears whole or not at all.
        manifest: see `rewriter_manifest`.
        language: the policy. Of a model with adapters these alone are written.
        reader: the evaluator's tokenizer.
        results: of an evaluation as `card.found_results` gives them, for the card.
        license: an identifier of the hub's, e.g. `mit`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if manifest.base is not None:
        save_adapter(language, folder / MODEL)
    else:
        language.save(folder / MODEL)
    reader.save(folder / READER)
    if results is not None:
        (folder / RESULTS).write_text(json.dumps(results, indent=1, ensure_ascii=False), encoding="utf-8")
    (folder / CARD).write_text(rewriter_card(manifest, results, license=license, repo_id=None), encoding="utf-8")
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")


def read_rewriter_manifest(folder: Path) -> RewriterManifest:
    """The manifest of a rewriting policy's artifact.

    Raises:
        UserError: no manifest, an unreadable one, one of a newer format, or that of a masking policy.
    """
    data = manifest_data(folder)
    if data.get("kind") != REWRITING:
        raise UserError(f"{folder} holds a masking policy: load it with rlcompress.Compressor.from_pretrained")
    try:
        return RewriterManifest.model_validate(data)
    except ValueError as error:
        why = ": ".join(str(error).splitlines()[:2])
        raise UserError(f"{folder / MANIFEST} cannot be read ({why}): save the artifact again") from error


def load_rewriter(
    folder: Path, device: torch.device | None = None, *, learn: bool = False
) -> tuple[RewriterManifest, LanguageModel, TextTokenizer]:
    """Manifest, model and the evaluator's tokenizer; nothing is fetched but the base of adapters, from the cache.

    Args:
        folder: of the artifact.
        device: where the model lies.
        learn: whether adapters go on learning; a whole model can in any case.

    Raises:
        UserError: a file is missing, is no safetensors, or does not fit the manifest.
    """
    manifest = read_rewriter_manifest(folder)
    model = folder / MODEL
    if not is_adapter(str(model)) and not any((model / name).is_file() for name in _WEIGHTS):
        raise UserError(f"{model} has no {_WEIGHTS[0]}: the artifact is incomplete, save it again")
    if not (folder / READER / "tokenizer.json").is_file():
        raise UserError(f"{folder / READER} has no tokenizer.json: the artifact is incomplete, save it again")
    settings = LanguageConfig(model=str(model), window=manifest.window, chunk=manifest.chunk)
    return manifest, load_language(settings, device, learn=learn), load_tokenizer(str(folder / READER))

"""The artifact: what is served, a folder with manifest, weights and tokenizer; no pickle, no code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from rlcompress.config.policy import PolicyConfig
from rlcompress.errors import UserError
from rlcompress.models.encoders import HubEncoder
from rlcompress.models.scorer import BUILTIN_ENCODERS, TextScorer, UnitScorer, build_scorer, load_channels
from rlcompress.models.tokenizer import TextTokenizer, load_tokenizer

FORMAT = 1
REWRITING = "rewriting"  # `kind` of a manifest that is no masking policy's
MANIFEST, WEIGHTS, EMBEDDER = "manifest.json", "model.safetensors", "embedder"


class Manifest(BaseModel):
    """What an artifact says about itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    name: str
    created_by: str  # rlcompress version
    policy: PolicyConfig
    granularity: str
    protect: tuple[str, ...] = ()
    rates: tuple[float, ...]  # trained at; any rate may be asked
    sampler: Literal["exact", "bernoulli"] = "exact"  # bernoulli: a text may also be compressed without a rate
    passes: int = Field(1, ge=1)  # in which a text is compressed
    nested: bool = True  # a higher rate keeps all that a lower one keeps: promised for one pass alone
    seed: int
    iteration: int
    stage: str  # prior, warm_start or rl
    data: dict[str, Any]
    trained_rows: tuple[str, ...] = ()  # hashes, so that an evaluation can refuse them

    @model_validator(mode="after")
    def _promises(self) -> Self:
        if self.nested and self.passes > 1:
            raise ValueError("keep-sets of several passes are not nested")
        return self


def save_artifact(
    folder: Path, manifest: Manifest, network: UnitScorer, reader: TextTokenizer, embedder: Path | None = None
) -> None:
    """Write everything that serving needs, weights as float32 safetensors; `embedder` is a saved one's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().cpu().contiguous().clone() for k, v in network.state_dict().items()}
    save_file(state, str(folder / WEIGHTS))
    reader.save(folder / "tokenizer")
    if isinstance(network.encoder, HubEncoder):
        network.encoder.model.config.save_pretrained(folder / "encoder")
        network.encoder.tokenizer.save_pretrained(folder / "encoder")
    if embedder is not None:
        shutil.copytree(embedder, folder / EMBEDDER)
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an artifact.

    Raises:
        UserError: no manifest, an unreadable one, one of a newer format, or that of a rewriting policy.
    """
    data = manifest_data(folder)
    if data.get("kind") == REWRITING:
        raise UserError(f"{folder} holds a rewriting policy: load it with rlcompress.PromptRewriter.from_pretrained")
    try:
        return Manifest.model_validate(data)
    except ValueError as error:
        raise _unreadable(folder, error) from error


def manifest_data(folder: Path) -> dict[str, Any]:
    """The manifest of any artifact, as JSON has it.

    Raises:
        UserError: no manifest, an unreadable one, or one of a newer format.
    """
    file = folder / MANIFEST
    if not file.is_file():
        raise UserError(
            f"no artifact in {folder}: it has no {MANIFEST}; give a run that has finished, or an artifact folder"
        )
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise _unreadable(folder, error) from error
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise UserError(f"{file} has format {found}, this version reads {FORMAT}: update rlcompress")
    return dict(data)


def is_rewriting(folder: Path) -> bool:
    """Whether the artifact in a folder is that of a rewriting policy; False where there is none that can be read."""
    try:
        return manifest_data(folder).get("kind") == REWRITING
    except UserError:
        return False


def _unreadable(folder: Path, error: ValueError) -> UserError:
    return UserError(f"{folder / MANIFEST} cannot be read ({str(error).splitlines()[0]}): save the artifact again")


def load_scorer(folder: Path, device: torch.device) -> tuple[Manifest, TextScorer, TextTokenizer]:
    """Manifest, scorer and reader tokenizer of an artifact; nothing is fetched.

    Raises:
        UserError: a file is missing or does not fit the manifest.
    """
    manifest = read_manifest(folder)
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{folder} has no {WEIGHTS}: the artifact is incomplete, export it again")
    reader = load_tokenizer(str(folder / "tokenizer"))
    settings = manifest.policy.model_dump()
    if manifest.policy.encoder not in BUILTIN_ENCODERS:
        settings["encoder"] = str(folder / "encoder")
    channels = load_channels(folder / EMBEDDER) if manifest.policy.channels != "none" else None
    network, features = build_scorer(settings, reader, pretrained=False, passes=manifest.passes, channels=channels)
    try:
        network.load_state_dict(load_file(str(folder / WEIGHTS)))
    except (RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{folder / WEIGHTS} is damaged or does not fit {MANIFEST}: export the artifact again"
        ) from error
    return manifest, TextScorer(network, features, device), reader


def trained_hashes(folder: Path) -> Sequence[str]:
    return read_manifest(folder).trained_rows

"""Artifacts in folders and on the Hugging Face hub: found, saved with a model card, uploaded. No code comes along."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlcompress.artifact import EMBEDDER, MANIFEST, Manifest, save_artifact
from rlcompress.card import RESULTS, found_results, model_card, name_alone
from rlcompress.errors import UserError
from rlcompress.models.scorer import BUILTIN_ENCODERS, UnitScorer
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.recording.publish import publishing

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_HUB_ID = re.compile(r"[\w\-.]+/[\w\-.]+")
_FETCHED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "README.md"]  # no pickle, no code


def artifact_folder(path: str | Path, *, download: bool, revision: str | None, api: HfApi | None) -> Path:
    """The artifact of a run, the folder itself, or a hub id's in the local cache; fetched with `download` alone.

    A folder wins over a hub id of the same spelling.

    Raises:
        UserError: a hub id that is not in the cache, or cannot be fetched.
    """
    folder = Path(path)
    if not folder.exists() and isinstance(path, str) and _HUB_ID.fullmatch(path):
        return _snapshot(path, download, revision, api)
    return folder / "artifact" if not (folder / MANIFEST).is_file() and (folder / "artifact").is_dir() else folder


def require_free(folder: Path, overwrite: bool) -> None:
    """Refuse to write an artifact over what is there.

    Raises:
        UserError: something is there and `overwrite` is off, or it is on and what is there is no artifact.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not overwrite:
            raise UserError(f"{folder} exists: choose another folder or give overwrite=True")
        if not (folder / MANIFEST).is_file():
            raise UserError(f"{folder} holds no artifact and is not overwritten: choose another folder")


def _snapshot(repo_id: str, download: bool, revision: str | None, api: HfApi | None) -> Path:
    from huggingface_hub import HfApi

    try:
        found = (api or HfApi()).snapshot_download(
            repo_id, revision=revision, local_files_only=not download, allow_patterns=_FETCHED
        )
        return Path(str(found))
    except Exception as error:  # the library raises a dozen types: unknown id, offline, no access, bad server
        mend = (
            "check the id and the network"
            if download
            else "give a run, an artifact folder, or download=True (--download)"
        )
        where = "on the hub" if download else "in the hub's local cache"
        why = f" ({(str(error).strip() or type(error).__name__).splitlines()[0]})" if download else ""
        raise UserError(f"{repo_id} is no folder here, and is not to be had {where}{why}: {mend}") from error


class Package:
    """All that an artifact is made of, ready to be written somewhere."""

    def __init__(self, manifest: Manifest, network: UnitScorer, reader: TextTokenizer, source: Path | None) -> None:
        self.manifest, self.network, self.reader = _public(manifest), network, reader
        self.embedder = source / EMBEDDER if source is not None and (source / EMBEDDER).is_dir() else None
        self.results = found_results(source)
        if self.embedder is None and manifest.policy.channels != "none":
            raise UserError("this compressor was not loaded from an artifact, so its embedder is not known: load it")

    def write(self, folder: Path, license: str | None, repo_id: str | None) -> None:
        """Fill an empty folder: manifest, weights, tokenizer, results and card."""
        save_artifact(folder, self.manifest, self.network, self.reader, self.embedder)
        if self.results is not None:
            (folder / RESULTS).write_text(json.dumps(self.results, indent=1, ensure_ascii=False), encoding="utf-8")
        card = model_card(self.manifest, self.results, license=license, repo_id=repo_id)
        (folder / "README.md").write_text(card, encoding="utf-8")

    def save(self, folder: Path, *, license: str | None, overwrite: bool) -> None:
        """Write a folder whole or not at all.

        Raises:
            UserError: something is there and `overwrite` is off, or it is on and what is there is no artifact.
        """
        require_free(folder, overwrite)
        with publishing(folder.absolute()) as made:
            self.write(made, license, None)

    def push(self, repo_id: str, *, license: str | None, private: bool | None, message: str, api: HfApi | None) -> str:
        """Upload to a repository, made where there is none; returns its address.

        Raises:
            UserError: the hub refused, or is out of reach.
        """
        from huggingface_hub import HfApi

        if not _HUB_ID.fullmatch(repo_id):
            raise UserError(f"{repo_id!r} is no hub id: write it as owner/name")
        api = api or HfApi()
        with tempfile.TemporaryDirectory() as temporary:
            self.write(Path(temporary), license, repo_id)
            try:
                address = api.create_repo(repo_id, private=private, exist_ok=True)
                api.upload_folder(repo_id=repo_id, folder_path=temporary, commit_message=message)
            except Exception as error:  # see `_snapshot`
                first = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise UserError(
                    f"{repo_id} cannot be written ({first}): log in with `hf auth login`, or check it"
                ) from error
        return str(address)


def _public(manifest: Manifest) -> Manifest:
    """Without paths of this machine: data and encoder keep their names, for both travel or are only named."""
    data: dict[str, Any] = dict(manifest.data)
    if isinstance(data.get("source"), str):
        data["source"] = name_alone(data["source"])
    policy = manifest.policy
    if policy.encoder not in BUILTIN_ENCODERS:
        policy = policy.model_copy(update={"encoder": name_alone(policy.encoder)})
    return manifest.model_copy(update={"data": data, "policy": policy})

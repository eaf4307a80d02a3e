"""The sentence encoder of a run: fitted or fetched once, and kept beside the judges in the cache."""

from __future__ import annotations

from pathlib import Path

from rlcompress.config.schema import RunConfig
from rlcompress.data.dataset import load_split
from rlcompress.models.embedder import build_embedder, embedder_key
from rlcompress.recording.publish import publishing, why_torn


def told_folder(config: RunConfig) -> Path:
    """Where the runs of one folder keep what questions told of texts."""
    return Path(config.runs) / "cache" / "told"


def embedder_folder(config: RunConfig, data: Path, data_hash: str) -> Path:
    """The folder of the encoder that `config.embedder` names, whole, under `<runs>/cache/embedders`.

    Raises:
        UserError: it cannot be loaded or fitted.
    """
    folder = Path(config.runs) / "cache" / "embedders" / embedder_key(config.embedder, data_hash)
    if why_torn(folder) is not None:
        texts = [example.text for example in load_split(data, "train")]
        built = build_embedder(config.embedder, texts, trust_remote_code=config.trust_remote_code)
        with publishing(folder) as made:
            built.save(made)
    return folder

"""Is a named model there at all, and which one is it? Asked before a run spends minutes on something else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from rlcompress.errors import UserError

_BUILTIN = "builtin:"


def require_model(key: str, name: str, builtin: Sequence[str], trust_remote_code: bool = False) -> None:
    """Refuse a model name that nothing can be loaded from; only its configuration file is read.

    `builtin` are the built-in models that may stand at this key.

    Raises:
        UserError: naming the configuration key, the model and what to give instead.
    """
    if name in builtin:
        return
    if name.startswith(_BUILTIN):
        raise UserError(f"{key}: there is no built-in model {name!r}: use {' or '.join(builtin)}")
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(name, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{key}: model {name!r} cannot be loaded ({str(error).splitlines()[0]}): give a model folder, a hub id "
            "that is reachable or in the local cache, or a builtin: model"
        ) from error


def positions(name: str) -> int | None:
    """Most tokens that the model reads at once; None where its configuration does not say, or there is none."""
    from transformers import AutoConfig

    try:
        longest = getattr(AutoConfig.from_pretrained(name), "max_position_embeddings", None)
    except (OSError, ValueError):
        return None
    return None if longest is None else int(longest)


def fingerprint(name: str) -> str:
    """Content hash of a model folder, or of the snapshot of a hub id in the local cache; empty where there is none."""
    folder = Path(name)
    if not folder.is_dir():
        from transformers.utils import cached_file

        try:
            folder = Path(cached_file(name, "config.json")).parent
        except OSError:
            return ""
    h = hashlib.blake2b(digest_size=8)
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        h.update(file.name.encode())
        with file.open("rb") as opened:
            h.update(hashlib.file_digest(opened, "sha256").digest())
    return h.hexdigest()

"""Is a named model there at all? Asked before a run spends minutes on something else."""

from __future__ import annotations

from collections.abc import Sequence

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

"""Is a named model there at all? Asked before a run spends minutes on something else."""

from __future__ import annotations

from rlcompress.errors import UserError

_BUILTIN = "builtin:"


def require_model(key: str, name: str, trust_remote_code: bool = False) -> None:
    """Refuse a model name that nothing can be loaded from; only its configuration file is read.

    Raises:
        UserError: naming the configuration key, the model and what to give instead.
    """
    if name.startswith(_BUILTIN):
        return
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(name, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{key}: model {name!r} cannot be loaded ({str(error).splitlines()[0]}): give a model folder, a hub id "
            "that is reachable or in the local cache, or a builtin: model"
        ) from error

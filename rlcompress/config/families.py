"""Which schema a configuration follows: the environment that it names decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlcompress.config.rewriting_run import RewritingRun
from rlcompress.config.schema import RunConfig
from rlcompress.errors import UserError

AnyRun = RunConfig | RewritingRun
FAMILIES: dict[str, type[RunConfig] | type[RewritingRun]] = {
    "TokenMasking": RunConfig,
    "PromptRewriting": RewritingRun,
}


def family_of(layers: Sequence[tuple[str, Mapping[str, Any]]]) -> type[RunConfig] | type[RewritingRun]:
    """The schema of the environment that is named last, masking's where none is.

    Args:
        layers: where each comes from, and what it says.

    Raises:
        UserError: there is no such environment.
    """
    found: type[RunConfig] | type[RewritingRun] = RunConfig
    for where, values in layers:
        section = values.get("env")
        if isinstance(section, Mapping) and "name" in section:
            name = section["name"]
            if not isinstance(name, str) or name not in FAMILIES:
                raise UserError(f"{where}: env.name is {name!r}: use {' or '.join(FAMILIES)}")
            found = FAMILIES[name]
    return found

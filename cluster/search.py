"""The search space of `tune`: dotted keys checked against the schema, as Ray Tune's domains, and back into a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError
from ray import tune

from rlcompress.config import keys
from rlcompress.config.files import merge
from rlcompress.config.schema import RunConfig
from rlcompress.errors import UserError

# What may vary. Data, reader, judges and rates may not: the metrics of two trials would mean two things.
SEARCHABLE = ("learner", "policy", "warm_start", "reward", "seed")

DOMAINS: dict[str, Callable[..., Any]] = {
    "uniform": lambda values: tune.uniform(*values),
    "loguniform": lambda values: tune.loguniform(*values),
    "choice": tune.choice,
}


def domains(config: RunConfig) -> dict[str, Any]:
    """`config.tune.space` for Ray Tune, keys still dotted.

    Raises:
        UserError: an empty space, an unknown or fixed key, a wrong domain, or a value that the key does not take.
    """
    if not config.tune.space:
        raise UserError("tune.space is empty: name what to search, e.g. learner.lr: {loguniform: [1.0e-4, 1.0e-2]}")
    return {key: _domain(config, key, domain) for key, domain in config.tune.space.items()}


def configured(config: RunConfig, values: Mapping[str, Any], **top: str) -> RunConfig:
    """`config` with other values at dotted keys and, by name, at top-level keys.

    Raises:
        UserError: a value that its key does not take.
    """
    merged = {**config.model_dump(mode="json"), **top}
    for key, value in values.items():
        merged = merge(merged, _nested(key, value))
    try:
        return RunConfig.model_validate_json(json.dumps(merged), strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"])) or ", ".join(values)
        raise UserError(f"tune.space: {where} cannot be {fault['input']!r}: {fault['msg']}") from None


def _domain(config: RunConfig, key: str, domain: Mapping[str, list[Any]]) -> Any:
    path = keys.split_key(RunConfig, key)
    if next(keys.unknown(RunConfig, _nested(key, None)), None):
        near = keys.nearest(RunConfig, path)
        raise UserError(f"tune.space: unknown key {key}" + (f": did you mean {near}?" if near else ""))
    if path[0] not in SEARCHABLE:
        raise UserError(f"tune.space: {key} cannot be searched, only keys of {', '.join(SEARCHABLE)}")
    if len(domain) != 1 or next(iter(domain)) not in DOMAINS:
        raise UserError(f"tune.space: {key} takes one of {', '.join(DOMAINS)}, got {', '.join(domain) or 'nothing'}")
    ((kind, values),) = domain.items()
    if kind == "choice":
        if not values:
            raise UserError(f"tune.space: {key} has no values to choose from")
    else:
        values = _interval(key, kind, values)
    for value in values:  # a trial that cannot start is found here, not after an hour of others
        configured(config, {key: value})
    return DOMAINS[kind](values)


def _interval(key: str, kind: str, values: list[Any]) -> list[float]:
    numbers = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    lowest = 0.0 if kind == "loguniform" else float("-inf")
    if len(numbers) != 2 or len(values) != 2 or not lowest < numbers[0] < numbers[1]:
        above = " above 0" if kind == "loguniform" else ""
        raise UserError(f"tune.space: {key} takes {kind}: [low, high], two numbers{above}, got {values}")
    return numbers


def _nested(key: str, value: Any) -> dict[str, Any]:
    for name in reversed(keys.split_key(RunConfig, key)):
        value = {name: value}
    result: dict[str, Any] = value
    return result

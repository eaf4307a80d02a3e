"""What `compress_json` is given: an object, and settings for each of its keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from rlcompress.errors import UserError

_FIELDS = {"rate": (int, float), "compress": (bool,), "value_type": (str,), "pair_remove": (bool,)}
_TRUE, _FALSE = ("True", "true", "TRUE", True), ("False", "false", "FALSE", False)


def _flag(value: Any) -> bool:
    if value not in (*_TRUE, *_FALSE):
        raise ValueError(f"{value!r} is neither true nor false")
    return value in _TRUE


def _is(kind: type | tuple[type, ...]) -> Callable[[Any], Any]:
    def same(value: Any) -> Any:
        if not isinstance(value, kind):
            raise ValueError(f"it is {type(value).__name__}")
        return value

    return same


VALUE_TYPES: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("str", "string"), str),
    **dict.fromkeys(("int", "integer"), int),
    **dict.fromkeys(("float", "number"), float),
    **dict.fromkeys(("bool", "boolean"), _flag),
    **dict.fromkeys(("list", "List", "tuple"), _is((list, tuple))),
    **dict.fromkeys(("dict", "dictionary"), _is(dict)),
}


def read_data(data: Mapping[str, Any] | str) -> dict[str, Any]:
    """The object that is compressed; a text of one is parsed."""
    try:
        found = json.loads(data) if isinstance(data, str) else data
    except ValueError as error:
        raise UserError(f"json_data is no JSON ({error}): give an object") from error
    if not isinstance(found, Mapping):
        raise UserError(f"json_data is {type(found).__name__}: give an object")
    return dict(found)


def read_settings(data: Mapping[str, Any], config: Mapping[str, Any] | str | Path) -> dict[str, Mapping[str, Any]]:
    """What is asked for each key of `data`.

    Raises:
        UserError: keys that differ, a setting that is missing or of another type, a value of another type.
    """
    if isinstance(config, (str, Path)):
        try:
            config = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise UserError(f"json_config cannot be read ({error}): give a mapping or a YAML file") from error
    if not isinstance(config, Mapping):
        raise UserError(f"json_config is {type(config).__name__}: give a mapping or the path of a YAML file")
    if wrong := sorted(set(data) ^ set(config)):
        raise UserError(f"json_config and json_data differ in the key {wrong[0]!r}: both need every key")
    for key, one in config.items():
        for field, kinds in _FIELDS.items():
            if not isinstance(one, Mapping) or not isinstance(one.get(field), kinds):
                raise UserError(f"json_config.{key}.{field} is missing or no {kinds[-1].__name__}: give it")
        if one["value_type"] not in VALUE_TYPES:
            names = ", ".join(VALUE_TYPES)
            raise UserError(f"json_config.{key}.value_type is {one['value_type']!r}: use one of {names}")
        if not 0.0 <= one["rate"] <= 1.0:
            raise UserError(f"json_config.{key}.rate is {one['rate']:g}: rates lie between 0 and 1")
    return dict(config)


def value_of(key: str, value: Any, settings: Mapping[str, Any]) -> Any:
    """The value as its `value_type` has it; untouched where it is not compressed."""
    if not settings["compress"] or settings["rate"] == 1:
        return value
    try:
        return VALUE_TYPES[settings["value_type"]](value)
    except (TypeError, ValueError) as error:
        raise UserError(f"json_data.{key} is no {settings['value_type']} ({error}): mend value_type") from error

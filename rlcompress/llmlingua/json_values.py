"""JSON: which strings of an object may be compressed, and the object with what is left of them.

The original writes tags into the text of the object and parses what comes out, which fails where a number lost its
digits and turns objects inside it into lists; here strings alone are compressed, so the form cannot break.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from rlcompress.errors import UserError
from rlcompress.llmlingua.tags import Segment

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


def pair_segments(key: str, value: Any, settings: Mapping[str, Any]) -> list[Segment]:
    """A pair as the parts of a text: its strings with the pair's rate, all else as it is."""
    free = settings["compress"] and settings["rate"] != 1
    parts = [Segment(f"{json.dumps(key, ensure_ascii=False)}: ", None, compress=False)]
    for text, is_string in _pieces(value):
        parts.append(Segment(text, float(settings["rate"]), compress=bool(is_string and free)))
    return parts


def _pieces(value: Any) -> Iterator[tuple[str, bool]]:
    """The text of a value in pieces; true for those that are strings of it."""
    if isinstance(value, str):
        yield '"', False
        yield value, True
        yield '"', False
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield f" {json.dumps(key, ensure_ascii=False)}: ", False
            yield from _pieces(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield " ", False
            yield from _pieces(inner)
    else:
        yield json.dumps(value), False


def rebuilt(value: Any, texts: Iterator[str]) -> Any:
    """The same value with the next of `texts` in place of each string; tuples are arrays in JSON."""
    if isinstance(value, str):
        left = next(texts)
        return left.strip() if value == value.strip() else left
    if isinstance(value, Mapping):
        return {key: rebuilt(inner, texts) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [rebuilt(inner, texts) for inner in value]
    return value

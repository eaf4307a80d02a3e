"""Reads configurations: default < preset < base file (`inherits:`) < file < profiles < `--set`, checked by the schema.

One rule merges all levels, the defaults among them: mappings merge key by key, anything else replaces. A reward term
of the defaults is therefore turned off with a weight of 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rlcompress.config import keys
from rlcompress.config.dialect import read_yaml, write_yaml
from rlcompress.config.families import AnyRun, family_of
from rlcompress.config.merging import merge as merge
from rlcompress.config.presets import PRESETS
from rlcompress.config.profiles import profile_file
from rlcompress.config.running import Run
from rlcompress.config.schema import RunConfig
from rlcompress.config.secrets import is_secret_name, redacted
from rlcompress.errors import UserError

Layer = tuple[str, dict[str, Any]]  # where it comes from (for messages), what it says


def load_config(
    path: str | Path | None = None, overrides: Sequence[str] = (), profiles: Sequence[str] = ()
) -> RunConfig:
    """The configuration of a masking run; see `load_run`.

    Raises:
        UserError: as `load_run`, or the run is of another family.
    """
    config = load_run(path, overrides, profiles)
    if not isinstance(config, RunConfig):
        raise UserError(f"{path or '--set'}: env.name is {config.env.name}, and this is for TokenMasking alone")
    return config


def load_run(path: str | Path | None = None, overrides: Sequence[str] = (), profiles: Sequence[str] = ()) -> AnyRun:
    """Merge defaults, a file with what it inherits from, profiles and `key=value` overrides into one configuration.

    The environment that it names, `env.name`, decides which keys there are.

    Args:
        path: a YAML or JSON file; none takes the defaults.
        overrides: e.g. `["learner.lr=1e-4", "evaluate.rates=[0.5,0.33]"]`; values are read as YAML.
        profiles: names of `tune_configs/profiles/`, e.g. `["cuda", "quick"]`; a later one wins.

    Raises:
        UserError: an unknown key, a wrong value, a secret, an unreadable file. Names key and file, one line a fault.
    """
    layers = _read_with_bases(Path(path), ()) if path is not None else []
    for name in profiles:
        layers += _read_with_bases(profile_file(name), ())
    schema = family_of([*layers, *map(_named_environment, overrides)])
    layers += [_read_override(override, schema) for override in overrides]
    for layer in layers:
        _refuse_secrets(layer)
        _refuse_unknown(layer, schema)
    merged = merge(schema().model_dump(mode="json"), _preset(layers))
    for _, values in layers:
        merged = merge(merged, values)
    try:
        # Strict, and through JSON: "5" is no number there, while a list may still become a tuple.
        return schema.model_validate_json(json.dumps(merged, default=str), strict=True)
    except ValidationError as error:
        raise UserError("\n".join(_faults(error, layers))) from None


def _preset(layers: Sequence[Layer]) -> dict[str, Any]:
    """What the preset that is named last fills in: it lies over the defaults and under everything that is written."""
    sections = [values.get("reward") for _, values in layers]
    named = [section["preset"] for section in sections if isinstance(section, Mapping) and "preset" in section]
    known = named and isinstance(named[-1], str) and named[-1] in PRESETS
    return {"reward": PRESETS[named[-1]]} if known else {}


def dump_yaml(config: Run) -> str:
    """The whole configuration as YAML that `load_run` reads back; strings that look like secrets are hidden."""
    return write_yaml(redacted(config.model_dump(mode="json")))


def _read_with_bases(path: Path, children: tuple[Path, ...]) -> list[Layer]:
    path = path.resolve() if children else path
    if path.resolve() in children:
        chain = " -> ".join(str(child) for child in (*children, path.resolve()))
        raise UserError(f"inherits goes in a circle: {chain}")
    values = _read_file(path, children)
    parent = values.pop("inherits", None)
    if parent is None:
        return [(str(path), values)]
    if not isinstance(parent, str):
        raise UserError(f"{path}: inherits names one file, e.g. `inherits: base.yaml`; got {parent!r}")
    return [*_read_with_bases(path.parent / parent, (*children, path.resolve())), (str(path), values)]


def _read_file(path: Path, children: tuple[Path, ...]) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        named = f" (inherited by {children[-1]})" if children else ""
        raise UserError(f"cannot read the configuration {path}{named}: {reason}") from None
    values = _parse_json(path, text) if path.suffix == ".json" else read_yaml(str(path), text)
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{path}: a configuration is a mapping of keys to values, this is a {type(values).__name__}")
    return values


def _parse_json(path: Path, text: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen = dict(pairs)
        if len(seen) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise UserError(f"{path}: the key {twice} stands twice")
        return seen

    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: not valid JSON: {error.msg}") from None


def _named_environment(override: str) -> Layer:
    """What an override says of `env.name`, which is known before any other key can be."""
    key, _, value = override.partition("=")
    return ("--set", {"env": {"name": read_yaml("--set env.name", value)}} if key.strip() == "env.name" else {})


def _read_override(override: str, schema: type[AnyRun]) -> Layer:
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise UserError(f"--set takes key=value, e.g. learner.lr=1e-4; got {override!r}")
    value: Any = read_yaml(f"--set {dotted}", text)
    for name in reversed(keys.split_key(schema, dotted.strip())):
        value = {name: value}
    return "--set", value


def _refuse_secrets(layer: Layer) -> None:
    where, values = layer
    for path in _paths(values, ()):
        if is_secret_name(path[-1]):
            raise UserError(f"{where}: {'.'.join(path)} looks like a secret: remove it and use the environment")


def _paths(values: Mapping[str, Any], prefix: keys.Path) -> Iterable[keys.Path]:
    for name, value in values.items():
        yield (*prefix, str(name))
        if isinstance(value, Mapping):
            yield from _paths(value, (*prefix, str(name)))


def _refuse_unknown(layer: Layer, schema: type[AnyRun]) -> None:
    where, values = layer
    faults = []
    for path in keys.unknown(schema, values):
        near = keys.nearest(schema, path)
        mend = f"did you mean {near}?" if near else "`rlcompress config show` lists all keys"
        faults.append(f"{where}: unknown key {'.'.join(path)}: {mend}")
    if faults:
        raise UserError("\n".join(faults))


def _faults(error: ValidationError, layers: Sequence[Layer]) -> Iterable[str]:
    for fault in error.errors(include_url=False):
        path = tuple(str(part) for part in fault["loc"])
        where = _origin(layers, path)
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "value_error":  # a rule across several keys: its message names them
            yield f"{where}: {message}"
        else:
            value = redacted(fault["input"])
            yield f"{where}: {'.'.join(path)} is {value!r}: {message[0].lower()}{message[1:]}"


def _origin(layers: Sequence[Layer], path: keys.Path) -> str:
    """The last layer that says something about the key or, for a rule across keys, about one of its section."""
    for where, values in reversed(layers):
        here: Any = values
        for name in path:
            if not isinstance(here, Mapping) or name not in here:
                break
            here = here[name]
        else:
            return where
        if not isinstance(here, Mapping) and here is not values:
            return where  # inside a list or a replaced section
    return "configuration"

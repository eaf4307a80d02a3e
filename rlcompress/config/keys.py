"""Which dotted keys the schema knows, and the nearest one to a key that it does not."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel

Path = tuple[str, ...]


def section_in(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The section class behind a field, also of one that may be left out, or None where the field holds a value."""
    annotation = model.model_fields[name].annotation
    for found in (annotation, *get_args(annotation)):
        if isinstance(found, type) and issubclass(found, BaseModel):
            return found
    return None


def is_open(model: type[BaseModel], name: str) -> bool:
    """True for fields such as `reward.terms` whose keys are the user's own and may contain dots."""
    return get_origin(model.model_fields[name].annotation) is dict


def leaves(model: type[BaseModel], prefix: Path = ()) -> Iterator[Path]:
    """Every key that holds a value, in the order of the schema."""
    for name in model.model_fields:
        section = section_in(model, name)
        if section is None:
            yield (*prefix, name)
        else:
            yield from leaves(section, (*prefix, name))


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys, lists as text."""
    if isinstance(values, Mapping) and values:
        return {key: value for name, inner in values.items() for key, value in flat(inner, f"{prefix}{name}.").items()}
    text = ", ".join(map(str, values)) if isinstance(values, list) else values
    return {prefix[:-1]: text} if prefix else {}


def split_key(model: type[BaseModel], dotted: str) -> Path:
    """`learner.lr` as ("learner", "lr"); below an open field the rest stays one key, dots and all."""
    parts = dotted.split(".")
    section: type[BaseModel] | None = model
    for depth, name in enumerate(parts):
        if section is None or name not in section.model_fields:
            break
        if is_open(section, name):
            rest = ".".join(parts[depth + 1 :])
            return (*parts[: depth + 1], rest) if rest else tuple(parts)
        section = section_in(section, name)
    return tuple(parts)


def unknown(model: type[BaseModel], values: Mapping[str, Any], prefix: Path = ()) -> Iterator[Path]:
    """Keys in `values` that the schema does not have."""
    for name, value in values.items():
        if name not in model.model_fields:
            yield (*prefix, str(name))
        elif (section := section_in(model, name)) is not None and isinstance(value, Mapping):
            yield from unknown(section, value, (*prefix, name))


def nearest(model: type[BaseModel], path: Sequence[str]) -> str | None:
    """The valid dotted key that was probably meant: first a sibling, then the same name elsewhere, then any."""
    known = {".".join(leaf[:depth]) for leaf in leaves(model) for depth in range(1, len(leaf) + 1)}
    parent, name = ".".join(path[:-1]), path[-1]
    siblings = {key.rpartition(".")[2]: key for key in sorted(known) if key.rpartition(".")[0] == parent}
    if close := difflib.get_close_matches(name, siblings, n=1):
        return siblings[close[0]]
    elsewhere = [key for key in sorted(known) if key.rpartition(".")[2] == name]
    close = elsewhere or difflib.get_close_matches(".".join(path), sorted(known), n=1)
    return close[0] if close else None

"""The YAML that configurations are written in: YAML 1.1, but `1e-4` is a number and a repeated key an error."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from rlcompress.errors import UserError

_FLOAT = "tag:yaml.org,2002:float"
_EXPONENT = re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)[eE][-+]?[0-9]+$")  # PyYAML wants a dot and a sign


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value} stands twice", problem_mark=key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Knows the same numbers as the loader, so that the string "1e5" is written with quotes."""


_Loader.add_implicit_resolver(_FLOAT, _EXPONENT, list("-+.0123456789"))
_Dumper.add_implicit_resolver(_FLOAT, _EXPONENT, list("-+.0123456789"))


def read_yaml(where: str, text: str) -> Any:
    """The value that the text holds; `where` names it in the UserError that invalid YAML raises."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{where}{line}: not valid YAML: {getattr(error, 'problem', error)}") from None


def write_yaml(value: Any) -> str:
    """A JSON-like value as YAML, one key a line, in the order given."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False)


def write_inline(value: Any) -> str:
    """A JSON-like value as YAML on one line, without a line end."""
    if isinstance(value, str) and len(value.splitlines()) > 1:
        return json.dumps(value)  # YAML's own quotes would go over several lines
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=True, width=10**6)
    return text.removesuffix("\n").removesuffix("...").removesuffix("\n")

"""JSON in, JSON out: long texts in it become shorter; keys, numbers, short strings, order and layout stay as they were.

JSON text is not written anew: the literals of the strings that became shorter are replaced where they stand, and every
other byte stays, so that `1.0E+2`, a key that comes twice and the indentation survive.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from rlcompress.errors import UserError

MIN_TOKENS = 32  # of a string value: shorter ones are names, states and dates
Path = tuple[str | int, ...]
Shorten = Callable[[list[str]], list[str]]  # texts -> as many, in order
J = TypeVar("J")

_LEXEME = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{},:]', re.DOTALL)  # of text that is known to be JSON


def compress_json(document: J, shorten: Shorten, keys: Sequence[str] | None = None, skip: Sequence[str] = ()) -> J:
    """The same document with shorter texts: JSON text gives JSON text, any other value a value of its shape.

    Args:
        document: JSON text, or what `json.loads` makes of some; it is not changed.
        shorten: is given the texts that may become shorter; a string that holds JSON itself is treated as JSON.
        keys: patterns of the paths that may become shorter, e.g. `["body", "items.*.text"]`; None for all.
        skip: patterns of the paths that stay as they are; they win over `keys`.

    A pattern is compared (as file names are: `*`, `?`, `[ab]`) with the last key of a path and with the whole of it
    joined by dots; what matches a path matches everything under it. Strings without any white space (identifiers,
    addresses, base64) stay whole unless they hold other letters than ASCII's: some scripts have no spaces.

    Raises:
        UserError: text that is no JSON, nested too deeply, or patterns that are no list.
    """
    for name, patterns in (("keys", keys), ("skip", skip)):
        if isinstance(patterns, str):
            raise UserError(f'{name} takes a list of patterns: write ["{patterns}"]')
    rule = _Rule(shorten, keys, tuple(skip))
    try:
        result: J = rule.text(document, ()) if isinstance(document, str) else rule.value(document)
        return result
    except RecursionError as error:
        raise UserError("the JSON is nested too deeply: compress its parts") from error


def is_json(text: str) -> bool:
    """Whether a text is one JSON object or array."""
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


class _Rule:
    """Which strings become shorter, and how."""

    def __init__(self, shorten: Shorten, keys: Sequence[str] | None, skip: Sequence[str]) -> None:
        self.shorten, self.keys, self.skip = shorten, keys, skip

    def text(self, text: str, root: Path) -> Any:
        try:
            json.loads(text)
        except ValueError as error:
            raise UserError(f"this text is no JSON ({error}): give JSON text, or a value") from None
        literals = list(_literals(text, root))
        before = [json.loads(text[a:b]) for _, a, b in literals]
        after = self.shortened([path for path, _, _ in literals], before)
        written, end = [], 0
        for (_, a, b), old, new in zip(literals, before, after, strict=True):
            if new != old:
                written += [text[end:a], _literal(new, like=text[a:b])]
                end = b
        return "".join([*written, text[end:]])

    def value(self, document: Any) -> Any:
        paths: list[Path] = []
        texts: list[str] = []

        def note(path: Path, text: str) -> str:
            paths.append(path)
            texts.append(text)
            return text

        _map(document, (), note)
        new = iter(self.shortened(paths, texts))
        return _map(document, (), lambda path, text: next(new))

    def shortened(self, paths: Sequence[Path], texts: Sequence[str]) -> list[str]:
        result, plain = list(texts), []
        for i, (path, text) in enumerate(zip(paths, texts, strict=True)):
            if not self.chosen(path):
                continue
            if is_json(text):
                result[i] = self.text(text, path)
            elif not text.isascii() or len(text.split(maxsplit=1)) > 1:
                plain.append(i)
        for i, text in zip(plain, self.shorten([texts[i] for i in plain]) if plain else (), strict=True):
            result[i] = text
        return result

    def chosen(self, path: Path) -> bool:
        return (self.keys is None or _matches(path, self.keys)) and not _matches(path, self.skip)


def _matches(path: Path, patterns: Sequence[str]) -> bool:
    names = [str(part) for part in path]
    above = {name for n in range(1, len(names) + 1) for name in (names[n - 1], ".".join(names[:n]))}
    return any(fnmatchcase(name, pattern) for name in above for pattern in patterns)


def _map(value: Any, path: Path, visit: Callable[[Path, str], str]) -> Any:
    """A copy of a value with each string value replaced, in order."""
    if isinstance(value, str):
        return visit(path, value)
    if isinstance(value, dict):
        return {key: _map(one, (*path, str(key)), visit) for key, one in value.items()}
    if isinstance(value, list):
        return [_map(one, (*path, i), visit) for i, one in enumerate(value)]
    return value


def _literals(text: str, root: Path) -> Iterator[tuple[Path, int, int]]:
    """Path and place, quotes included, of each string value of JSON text, in order."""
    path: list[str | int | None] = []  # below the root; None waits for the key of an object's next member
    for found in _LEXEME.finditer(text):
        mark = found.group()
        if mark == "[":
            path.append(0)
        elif mark == "{":
            path.append(None)
        elif mark in ("]", "}"):
            path.pop()
        elif mark == ",":
            last = path[-1]
            path[-1] = last + 1 if isinstance(last, int) else None
        elif mark != ":":
            if path and path[-1] is None:
                path[-1] = json.loads(mark)
            else:
                yield (*root, *(part for part in path if part is not None)), *found.span()


def _literal(text: str, like: str) -> str:
    """JSON for a string, with escapes where the literal that it replaces had nothing but ASCII."""
    lone = any("\ud800" <= character <= "\udfff" for character in text)  # cannot be written as UTF-8
    return json.dumps(text, ensure_ascii=lone or like.isascii())

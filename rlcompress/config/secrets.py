"""Keeps secrets out of configuration files and out of everything a run writes down."""

from __future__ import annotations

import re
from typing import Any

_SECRET_NAMES = frozenset({"key", "apikey", "token", "password", "passwd", "secret", "credential", "credentials"})
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORDS = re.compile(r"[^A-Za-z0-9]+")

_HIDDEN = "***"
_PATTERNS = (
    (re.compile(r"(?<=://)[^/\s@]+(?=@)"), _HIDDEN),  # https://user:password@host
    (
        re.compile(r"(?i)((?:^|[?&;\s_.-])(?:api[_-]?)?(?:key|token|password|passwd|secret)=)[^&;\s]+"),
        rf"\g<1>{_HIDDEN}",
    ),  # ?token=..., api_key=...
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}"), rf"\g<1>{_HIDDEN}"),
    (
        re.compile(
            r"\b(?:[spr]k-[\w-]{16,}|hf_\w{16,}|gh[pousr]_\w{16,}|github_pat_\w{20,}"
            r"|AKIA[0-9A-Z]{12,}|xox[abpr]-[\w-]{10,}|AIza[\w-]{30,})"
        ),
        _HIDDEN,
    ),  # the shapes that well-known services give their keys
)


def is_secret_name(key: str) -> bool:
    """True for `api_key`, `hfToken`, `password`; not for `max_tokens`, `tokenizer` or `key_field`."""
    words = [word for word in _WORDS.split(_CAMEL.sub("_", key)) if word]
    return bool(words) and words[-1].lower() in _SECRET_NAMES


def redact(text: str) -> str:
    """The text with credentials in URLs and strings shaped like keys replaced by `***`."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def redacted(value: Any) -> Any:
    """A copy of a JSON-like value with every string redacted."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return value

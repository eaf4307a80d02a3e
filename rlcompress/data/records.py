"""One record of a table (a JSON object, a Parquet or hub row) to one `Example`: which fields, which group."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rlcompress.config.schema import DataConfig
from rlcompress.data.dataset import text_hash
from rlcompress.errors import UserError
from rlcompress.words import Example

Record = Mapping[str, Any]
_TITLE = re.compile(r"^\s*= (?!=)(.*\S) =\s*$")  # " = Title = ", not " = = Section = = "
_SECTION = re.compile(r"^\s*(= ){2,}.*\S( =){2,}\s*$")


class Documents:
    """Follows WikiText headings: which document a line belongs to, and which lines are headings."""

    def __init__(self) -> None:
        self.current = ""
        self._opened = 0

    def is_heading(self, line: str) -> bool:
        """Whether `line` is a heading; that of a document opens a new one, even under a title seen before."""
        if _SECTION.match(line):
            return True
        title = _TITLE.match(line)
        if title:
            self._opened += 1
            self.current = f"{title[1]} #{self._opened}"
        return title is not None


def examples(records: Iterable[tuple[str, Record]], name: str, config: DataConfig) -> Iterator[Example]:
    """Examples of (place, record) pairs, e.g. ("rows.jsonl:3", {...}); ids are `name#1`, `name#2`, ...

    The group is `config.group_field`; else the document opened by the last heading, for tables that hold WikiText
    line by line; else the text itself, so that all questions on one context stay together.

    Raises:
        UserError: a field is missing or of a wrong type; the message names the place and the fields present.
    """
    documents = Documents()
    for number, (place, record) in enumerate(records, 1):
        if not isinstance(record, Mapping):
            raise UserError(f"{place}: holds {type(record).__name__}, expected an object with a text field")
        field = _text_field(record, place, config)
        text = _string(record, field, place)
        question = None if field == config.question_field else _question(record, place, config)
        if config.group_field is not None:
            group = _group(record, place, config.group_field)
        elif question is None and documents.is_heading(text):
            continue
        else:
            group = documents.current or text_hash(text)
        answer = _answer(record, place, config)
        yield Example(f"{name}#{number}", text, question, answer, group)


def _text_field(record: Record, place: str, config: DataConfig) -> str:
    wanted = [config.text_field] if config.text_field else ["text", "context", config.question_field]
    for field in wanted:
        if field in record:
            return field
    raise UserError(
        f"{place}: no field {' or '.join(map(repr, wanted))} among {_names(record)}: "
        "set data.text_field to the field with the text"
    )


def _question(record: Record, place: str, config: DataConfig) -> str | None:
    field = _optional_field(record, place, "question_field", config)
    return None if field is None or record[field] is None else _string(record, field, place)


def _optional_field(record: Record, place: str, key: str, config: DataConfig) -> str | None:
    """The field that `data.<key>` names; a field that only the default names may be absent."""
    field: str = getattr(config, key)
    if field in record:
        return field
    if field != DataConfig.model_fields[key].default:
        raise UserError(f"{place}: no field {field!r} among {_names(record)}: change data.{key}")
    return "answers" if key == "answer_field" and "answers" in record else None  # SQuAD's name


def _group(record: Record, place: str, field: str) -> str:
    if record.get(field) is None:
        raise UserError(f"{place}: no field {field!r} among {_names(record)}: change data.group_field")
    return str(record[field])


def _answer(record: Record, place: str, config: DataConfig) -> str | None:
    """A string; the first of a list; the first of SQuAD's `{"text": [...]}`; none where there is none."""
    field = _optional_field(record, place, "answer_field", config)
    if field is None:
        return None
    value = record[field]
    if isinstance(value, Mapping) and "text" in value:
        value = value["text"]
    if isinstance(value, list | tuple):
        value = value[0] if len(value) else None
    if value is None or isinstance(value, str):
        return value if value is None else encodable(value, field, place)
    if isinstance(value, int | float):
        return str(value)
    raise UserError(
        f"{place}: field {field!r} holds {type(value).__name__}, expected a string or a list of strings: "
        "change data.answer_field"
    )


def _string(record: Record, field: str, place: str) -> str:
    value = record[field]
    if not isinstance(value, str):
        raise UserError(f"{place}: field {field!r} holds {type(value).__name__}, expected a string: name another field")
    return encodable(value, field, place)


def encodable(value: str, field: str, place: str) -> str:
    """The value itself; a UserError that names place and field where it is no Unicode text."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{place}: field {field!r} holds half a surrogate pair: write the file as valid UTF-8"
        ) from None
    return value


def _names(record: Record) -> str:
    return ", ".join(map(repr, record)) or "no fields"

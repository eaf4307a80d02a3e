"""Every method and argument of the original 0.2.2 is in our tables and has its place in our signatures."""

from __future__ import annotations

import inspect
from dataclasses import fields
from importlib.metadata import version
from typing import Any

import llmlingua
import pytest

from rlcompress.llmlingua import PromptCompressor
from rlcompress.llmlingua.arguments import (
    ARGUMENTS,
    CONSTRUCTOR,
    JSON_ARGUMENTS,
    OTHER_ARGUMENTS,
    REFUSED_METHODS,
    Kind,
)
from rlcompress.llmlingua.request import Request

METHODS = {
    name: method
    for name, method in vars(llmlingua.PromptCompressor).items()
    if callable(method) and not name.startswith("_")
}
OFFERED = sorted(set(METHODS) - set(REFUSED_METHODS))
KNOWN = set(ARGUMENTS) | set(JSON_ARGUMENTS) | set(OTHER_ARGUMENTS)


def parameters(method: Any) -> dict[str, Any]:
    found = inspect.signature(method).parameters.values()
    return {p.name: p.default for p in found if p.name != "self"}


def plain(value: Any) -> Any:
    return list(value or ()) if value is None or isinstance(value, (list, tuple)) else value


def test_it_is_the_version_that_the_tables_describe() -> None:
    assert version("llmlingua") == "0.2.2"


def test_every_method_is_offered_or_refused_by_name() -> None:
    assert {"compress_prompt", "structured_compress_prompt", "compress_json", "recover"} <= set(METHODS)
    assert [name for name in METHODS if name not in REFUSED_METHODS and name not in vars(PromptCompressor)] == []
    assert [name for name in REFUSED_METHODS if name not in METHODS] == []
    assert callable(PromptCompressor.__call__)


@pytest.mark.parametrize("name", OFFERED)
def test_arguments_their_order_and_defaults(name: str) -> None:
    """Positional calls mean the same. What the original demands we may default, never the other way round."""
    theirs, ours = parameters(METHODS[name]), parameters(getattr(PromptCompressor, name))
    assert list(theirs) == list(ours)
    assert set(theirs) <= KNOWN
    for argument, default in theirs.items():
        if default is not inspect.Parameter.empty:
            assert plain(ours[argument]) == plain(default), argument


def test_the_constructor() -> None:
    theirs, ours = (parameters(kind.__init__) for kind in (llmlingua.PromptCompressor, PromptCompressor))
    assert list(ours)[: len(theirs)] == list(theirs)
    assert set(theirs) <= set(CONSTRUCTOR) == {name for name in ours if name not in ("reader", "compat")}
    # a model is named, and the best device is taken: all other defaults are the original's
    differ = {name for name, default in theirs.items() if ours[name] != default}
    assert differ == {"model_name", "device_map"}


def test_the_table_is_that_of_one_call() -> None:
    assert list(ARGUMENTS) == [field.name for field in fields(Request)] == list(parameters(METHODS["compress_prompt"]))
    for treatment in ARGUMENTS.values():
        assert treatment.how
        assert treatment.honoured_by
    assert {name for name, treatment in ARGUMENTS.items() if Kind.EXACT in treatment.honoured_by} == set(
        parameters(METHODS["compress_prompt_llmlingua2"])
    ), "exact honours what LLMLingua-2's own method takes"

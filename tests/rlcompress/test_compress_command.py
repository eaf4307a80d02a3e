"""`compress --form`: chat messages and JSON on standard input, in the same shape on standard output."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rlcompress import __main__ as cli
from rlcompress.artifact import save_artifact
from rlcompress.compressor import Compressor
from rlcompress.models.tokenizer import TextTokenizer
from tests.rlcompress.small_models import TEXTS, small_scorer
from tests.rlcompress.test_artifact import manifest

LONG = " ".join([*TEXTS, *TEXTS])
MESSAGES = [{"role": "system", "content": LONG}, {"role": "user", "content": LONG}]


@pytest.fixture
def folder(bpe: TextTokenizer, tmp_path: Path) -> Path:
    save_artifact(tmp_path / "artifact", manifest(protect=()), small_scorer(bpe).network, bpe)
    return tmp_path / "artifact"


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def run(given: object, *words: str) -> int:
        text = given if isinstance(given, str) else json.dumps(given)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        return cli.main(["compress", str(folder), *words])

    return run


def test_messages(folder: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    expected = Compressor.from_pretrained(folder).compress_messages(MESSAGES, 0.4, question="Who?")
    assert expected.tokens_after < expected.tokens_before
    assert command(MESSAGES, "--form", "messages", "--rate", "0.4", "--question", "Who?") == 0
    assert json.loads(capsys.readouterr().out) == expected.messages
    assert command(MESSAGES, "--form", "messages", "--rate", "0.4", "--question", "Who?", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["messages"] == expected.messages
    assert [one["texts"][0]["status"] for one in shown["account"]] == ["role", "ok"]


def test_json(folder: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    text = json.dumps({"n": 1.5, "body": LONG}, indent=2)
    expected = Compressor.from_pretrained(folder).compress_json(text, 0.4, protect=["numbers"])
    assert command(text, "--form", "json", "--rate", "0.4", "--protect", "numbers") == 0
    assert capsys.readouterr().out == expected != text


@pytest.mark.parametrize(
    ("given", "words", "message"),
    [
        ("{", ["--form", "messages"], "holds no JSON"),
        ({}, ["--form", "messages"], "holds no list"),
        ([1], ["--form", "messages"], "messages[0] is no message"),
        ("words", ["--form", "json"], "is no JSON"),
        ([], ["--form", "json", "--target-tokens", "9"], "--form json takes --rate"),
    ],
)
def test_mistakes(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str], given: object, words: list[str], message: str
) -> None:
    assert command(given, *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1

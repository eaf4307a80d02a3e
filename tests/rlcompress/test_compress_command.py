"""`compress`: chat messages and JSON in, the same shape out; artifacts in a folder and on a hub."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from rlcompress import __main__ as cli
from rlcompress.artifact import save_artifact
from rlcompress.compressor import Compressor
from rlcompress.config.generating import DecodingConfig
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.rewriter_artifact import rewriter_manifest, save_rewriter
from tests.rlcompress.hub_server import hub
from tests.rlcompress.language_models import small_language
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
    def run(given: object, *words: str, target: str = str(folder)) -> int:
        text = given if isinstance(given, str) else json.dumps(given)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        return cli.main(["compress", target, *words])

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


def test_a_hub_id(
    folder: Path,
    command: Callable[..., int],
    capsysbinary: pytest.CaptureFixture[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fetched with `--download` alone, and from then on served from the local cache without a request."""
    cache = str(tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", cache)
    local = Compressor.from_pretrained(folder)
    expected = local.compress(LONG, 0.4).text.encode()
    with hub() as (address, _, requests):

        def download(name: str) -> subprocess.CompletedProcess[bytes]:
            """In a process of its own: the hub's address is read from the environment once."""
            words = [sys.executable, "-m", "rlcompress", "compress", name, "--rate", "0.4", "--download"]
            environment = os.environ | {"HF_ENDPOINT": address, "HF_HUB_CACHE": cache, "HF_HUB_OFFLINE": "0"}
            return subprocess.run(words, input=LONG.encode(), env=environment, capture_output=True, check=False)

        local.push_to_hub("me/tiny", api=HfApi(endpoint=address, token="hf_mine"))
        asked = len(requests)
        assert command(LONG, target="me/tiny") == 2
        assert b"hub's local cache: give a run, an artifact folder, or" in (error := capsysbinary.readouterr().err)
        assert error.count(b"\n") == 1
        assert len(requests) == asked
        fetched = download("me/tiny")
        assert (fetched.returncode, fetched.stdout) == (0, expected), fetched.stderr
        asked = len(requests)
        assert command(LONG, "--rate", "0.4", target="me/tiny") == 0
        assert capsysbinary.readouterr().out == expected
        assert len(requests) == asked
        absent = download("me/absent")
        assert absent.returncode == 2
        assert b"check the id and the network" in absent.stderr


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


@pytest.fixture
def rewriting(bpe: TextTokenizer, tmp_path: Path) -> Path:
    """A policy with random weights that may write three tokens: none of its outputs ends."""
    language = small_language(tmp_path / "model", "llama", window=100)
    settings = {"name": "r", "created_by": "0", "rates": (0.5,), "seed": 0, "iteration": 0, "stage": "base", "data": {}}
    decoding = DecodingConfig(temperature=0.0, max_new_tokens=3)
    save_rewriter(tmp_path / "run/artifact", rewriter_manifest(language, decoding=decoding, **settings), language, bpe)
    return tmp_path / "run"


def test_a_rewriting_policy(rewriting: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    source = "Tom has 12 cups.\r\n\u2028 How many?\n"
    assert command(source, target=str(rewriting)) == 0
    assert capsys.readouterr().out == source
    assert command(source, "--rate", "0.3", "--json", target=str(rewriting)) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown.pop("original_tokens") == shown.pop("compressed_tokens") > 0
    assert shown == {"text": source, "source": source, "status": "unfinished", "rate": 0.3, "achieved_rate": 1.0}


@pytest.mark.parametrize(
    "words",
    [
        ("--question", "Who?"),
        ("--protect", "numbers"),
        ("--form", "messages"),
        ("--form", "json"),
        ("--target-tokens", "9"),
    ],
)
def test_what_a_rewriting_policy_does_not_take(
    rewriting: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str], words: tuple[str, str]
) -> None:
    assert command("[]", *words, target=str(rewriting)) == 2
    error = capsys.readouterr().err
    named = " ".join(words) if words[0] == "--form" else words[0]
    assert error.startswith("error: ")
    assert f"holds a rewriting policy, which takes no {named}: give --rate alone" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("words", "says"), [(("--rate", "0"), "rate must be above 0"), ((), "holds no text")])
def test_what_no_policy_takes(
    rewriting: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    assert command("text" if words else " \n", *words, target=str(rewriting)) == 2
    assert says in capsys.readouterr().err

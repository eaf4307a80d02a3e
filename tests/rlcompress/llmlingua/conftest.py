"""One folder with a small model of each kind, and the drop-in with each, for all tests here."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlcompress.llmlingua import PromptCompressor
from tests.rlcompress.llmlingua.checkpoints import KINDS, SAVED, load


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: save(root) for name, save in SAVED.items()}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def compressor(kind: str, models: dict[str, Path]) -> PromptCompressor:
    return load(kind, models)


@pytest.fixture
def policy(models: dict[str, Path]) -> PromptCompressor:
    return load("policy", models)

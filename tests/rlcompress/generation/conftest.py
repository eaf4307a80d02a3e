"""One small model of each architecture, loaded from its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlcompress.generation.language import LanguageModel
from tests.rlcompress.language_models import ARCHITECTURES, save_language, small_language


@pytest.fixture(scope="session", params=ARCHITECTURES)
def language(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return small_language(tmp_path_factory.mktemp(request.param), request.param, chunk=4)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return small_language(tmp_path_factory.mktemp("llama"), "llama", chunk=4)


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_language(tmp_path_factory.mktemp("folder"), "llama")

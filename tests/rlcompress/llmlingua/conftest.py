"""One folder with a small model of each kind, for all tests here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rlcompress.llmlingua.checkpoints import SAVED


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: save(root) for name, save in SAVED.items()}

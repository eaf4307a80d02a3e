"""Algorithms on the planted task, stopped whatever happens, and one torch thread so that sums do not reorder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from policies.grpo import GRPO
from tests.policies import planted, writing
from tests.rlcompress.language_models import save_language

Build = Callable[..., GRPO]


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted.write_start(tmp_path_factory.mktemp("start"))


@pytest.fixture
def build(ray_cluster: None, start: Path) -> Iterator[Build]:
    """`planted.build`; what it built is stopped after the test."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with contextlib.ExitStack() as stack:

        def build_and_remember(**settings: object) -> GRPO:
            algorithm = planted.build(start, **settings)  # type: ignore[arg-type]
            stack.callback(algorithm.stop)
            return algorithm

        yield build_and_remember
    torch.set_num_threads(threads)


Weights = dict[str, Any]


def same_weights(a: Weights, b: Weights, within: float = 0.0) -> bool:
    """Equal names, and values that differ by at most `within` (0: bit by bit)."""
    return a.keys() == b.keys() and all(np.abs(a[k] - b[k]).max() <= within for k in a)


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny language model with random weights."""
    return save_language(tmp_path_factory.mktemp("llama"), "llama")


@pytest.fixture(scope="session")
def llama_start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny language model that ends most of what it writes."""
    return writing.write_start(tmp_path_factory.mktemp("start"), "llama")

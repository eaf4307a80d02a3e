"""What all tests share: real text, where this machine has some."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from rlcompress.models.tokenizer import TextTokenizer

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests are small: more threads of torch only wait for each other
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # nor do they spin while others work, as on the command line
# A busy core is no failure. In CI the examples are the same each time; at a desk chance goes on looking for new ones.
settings.register_profile("shared machine", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("shared machine")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real text; tests that need it are skipped visibly without one."""
    folder = os.environ.get("RLCOMPRESS_TEST_DATA")
    if not folder:
        pytest.skip("real text: set RLCOMPRESS_TEST_DATA")
    assert Path(folder).is_dir(), f"RLCOMPRESS_TEST_DATA={folder} is no folder"
    return Path(folder)


@pytest.fixture(scope="session")
def bpe() -> TextTokenizer:
    """A real byte-level BPE, trained here on a little English with CJK and an emoji in it."""
    from rlcompress.models.tokenizer import train_tokenizer

    texts = [
        "The assertion is extraordinary: the old man, who was well-known, paid 1,234.50 of it.",
        "Words that come again and again become one token; others take several.",
        "日本語のテキスト。👍🏽 naïve café 한국어",
    ]
    return train_tokenizer(texts * 3, vocabulary=420)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One small Ray for all tests that need one; its CPUs are logical, so they may outnumber the machine's."""
    import ray

    from cluster.session import NAMESPACE

    ray.init(num_cpus=4, num_gpus=0, include_dashboard=False, log_to_driver=False, namespace=NAMESPACE)
    yield
    ray.shutdown()

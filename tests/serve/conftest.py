"""A small artifact, made here: an untrained scorer ranks by rarity alone, which is enough to serve."""

from __future__ import annotations

import pytest
import torch

from rlcompress import __version__
from rlcompress.artifact import Manifest, save_artifact
from rlcompress.compressor import Compressor
from rlcompress.config.schema import PolicyConfig
from rlcompress.models.scorer import build_scorer


@pytest.fixture(scope="session")
def artifact(bpe, tmp_path_factory):
    policy = PolicyConfig(width=16, layers=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network, _ = build_scorer(policy.model_dump(), bpe)
        network.fit_prior(torch.arange(bpe.vocabulary, dtype=torch.float64))
    manifest = Manifest(
        name="tiny",
        created_by=__version__,
        policy=policy,
        granularity="word",
        rates=(0.5,),
        seed=0,
        iteration=0,
        stage="prior",
        data={},
    )
    folder = tmp_path_factory.mktemp("tiny") / "artifact"
    save_artifact(folder, manifest, network, bpe)
    return folder


@pytest.fixture
def compressor(artifact):
    return Compressor.from_pretrained(artifact, device="cpu")

"""Any Hugging Face encoder as the policy: the same interface, no dropout, one line when it cannot be had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rlcompress.errors import UserError
from rlcompress.models.scorer import TextScorer
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.text.segment import Segmenter
from tests.rlcompress.small_models import TEXTS, save_bert, small_scorer

ENGLISH = [text for text in TEXTS if text.isascii()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("encoder"), masked=False)


@pytest.fixture(scope="module")
def scorer(bpe: TextTokenizer, folder: Path) -> TextScorer:
    return small_scorer(bpe, encoder=str(folder))


def test_own_tokenizer_and_special_tokens(bpe: TextTokenizer, scorer: TextScorer) -> None:
    assert scorer.features.tokenizer.version != bpe.version
    features = scorer.features([Segmenter(bpe)("The old man")], ["who"])
    ids, layout = features["ids_PWT"][0, 0].tolist(), scorer.features.layout
    assert (layout.begin, layout.middle, layout.end) == ((2,), (3,), (3,))
    assert (ids[0], ids[2], ids[-1]) == (2, 3, 3)
    assert scorer.features.tokenizer.decode(np.array(ids[1:2])) == "who"


def test_company_and_padding_change_nothing(bpe: TextTokenizer, scorer: TextScorer) -> None:
    units = [Segmenter(bpe)(text) for text in [*TEXTS, "", " ".join(ENGLISH * 3)]]
    together = scorer.scores(units, [None] * len(units))
    for one, scores in zip(units, together, strict=True):
        np.testing.assert_allclose(scorer.scores([one], [None])[0], scores, atol=1e-5)
        assert len(scores) == len(one)
    assert together[-1].std() > 0.1


def test_training_mode_brings_no_dropout(bpe: TextTokenizer, scorer: TextScorer) -> None:
    units = [Segmenter(bpe)(ENGLISH[0])]
    before = scorer.scores(units, [None])[0]
    scorer.network.train()
    assert scorer.network.training
    during = scorer.scores(units, [None])[0]
    scorer.network.eval()
    assert (before == during).all()


def test_gradients_reach_the_encoder(bpe: TextTokenizer, scorer: TextScorer) -> None:
    features = scorer.features([Segmenter(bpe)(ENGLISH[1])], ["who paid"])
    scorer.network.zero_grad()
    scorer.network({k: torch.from_numpy(v) for k, v in features.items()}).square().sum().backward()
    gradient = scorer.network.encoder.get_parameter("model.embeddings.word_embeddings.weight").grad
    assert gradient is not None
    assert gradient.abs().sum() > 0
    assert gradient.isfinite().all()


def test_half_precision_weights_become_float32(bpe: TextTokenizer, tmp_path: Path) -> None:
    scorer = small_scorer(bpe, encoder=str(save_bert(tmp_path, masked=False, dtype=torch.bfloat16)))
    assert {p.dtype for p in scorer.network.parameters()} == {torch.float32}
    assert np.isfinite(scorer.scores([Segmenter(bpe)(ENGLISH[0])], [None])[0]).all()


def test_mistakes(bpe: TextTokenizer, tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UserError, match=r"policy\.encoder .*cannot be loaded"):
        small_scorer(bpe, encoder=str(tmp_path / "missing"))
    with pytest.raises(UserError, match=r"policy\.window \(256\) is more than .* reads \(200\)"):
        small_scorer(bpe, encoder=str(folder), window=256)


def test_recomputed_activations_change_no_gradient(bpe: TextTokenizer, folder: Path) -> None:
    """Each layer runs again in the backward pass, without dropout; served scores and the default run it once."""
    features = small_scorer(bpe, encoder=str(folder)).features(
        [Segmenter(bpe)(text) for text in ENGLISH], [None] * len(ENGLISH)
    )
    tensors = {k: torch.from_numpy(v) for k, v in features.items()}
    gradients, forwards = [], []
    for recompute in (False, True):
        network = small_scorer(bpe, encoder=str(folder)).network
        if recompute:
            network.encoder.recompute_activations()
        network.train()
        calls: list[int] = []
        layers = network.encoder.get_submodule("model.encoder.layer")
        for layer in layers.children():
            layer.get_submodule("attention").register_forward_hook(lambda *_, calls=calls: calls.append(1))
        network(tensors).square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
        forwards.append(len(calls))
        network.eval()
        calls.clear()
        network(tensors)
        assert len(calls) == len(layers), "nothing is computed twice where nothing is learned"
    assert forwards[1] == 2 * forwards[0] > 0
    assert torch.equal(*gradients)


def test_a_model_that_cannot_recompute_is_refused(bpe: TextTokenizer, folder: Path) -> None:
    encoder = small_scorer(bpe, encoder=str(folder)).network.encoder
    encoder.model = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match=r"learner\.gradient_checkpointing: Linear cannot recompute.*set it to false"):
        encoder.recompute_activations()

"""Rewriters made of rankings: made of the prompt's words, as long as asked for, and each for itself."""

from __future__ import annotations

import numpy as np
import pytest

from rlcompress.artifact import save_artifact
from rlcompress.baselines.rewriting import WORD_METHODS, Rewriter, nearest, word_rewriters
from rlcompress.compressor import Compressor, CompressorMethod
from rlcompress.models.tokenizer import TextTokenizer, train_tokenizer
from rlcompress.problems.generated import generated_problems
from rlcompress.selection import select
from rlcompress.text.segment import Segmenter
from tests.rlcompress.small_models import small_scorer
from tests.rlcompress.test_artifact import manifest

TEXTS = [problem.text for problem in generated_problems(12)]
TRAIN = [problem.text for problem in generated_problems(40, seed=1)]


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return train_tokenizer(TRAIN, 600)


@pytest.fixture(scope="module")
def rewriters(tokenizer: TextTokenizer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rewriter]:
    """All that keep words, a masking artifact among them."""
    folder = tmp_path_factory.mktemp("masking")
    save_artifact(folder, manifest(protect=()), small_scorer(tokenizer).network, tokenizer)
    masking = CompressorMethod(Compressor.from_pretrained(folder), "masking")
    return word_rewriters(Segmenter(tokenizer), TRAIN, {"masking": masking})


def test_the_table_is_whole(rewriters):
    assert set(rewriters) == {*WORD_METHODS, "masking"}
    assert len({rewrite(TEXTS[:1], [0.5])[0] for rewrite in rewriters.values()}) == len(rewriters)
    assert rewriters["identity"](TEXTS, [0.5] * len(TEXTS)) == TEXTS


@pytest.mark.parametrize("name", [*WORD_METHODS[1:], "masking"])
def test_lengths_meet_their_own_targets(name, rewriters, tokenizer):
    """Each prompt has a target of its own, and no rewrite is further from it than the longest word's tokens."""
    rates = np.random.default_rng(0).uniform(0.2, 0.9, len(TEXTS)).tolist()
    for text, rate, short in zip(TEXTS, rates, rewriters[name](TEXTS, rates), strict=True):
        longest = int(Segmenter(tokenizer)(text).costs_N.max())
        assert abs(len(tokenizer.encode(short)[0]) - rate * len(tokenizer.encode(text)[0])) <= longest
        words = iter(text.split())
        assert all(any(kept in word for word in words) for kept in short.split()), "in the prompt's order"


@pytest.mark.parametrize("name", [*WORD_METHODS, "masking"])
def test_company_changes_nothing(name, rewriters):
    rates = [0.4, 0.6] * (len(TEXTS) // 2)
    together = rewriters[name](TEXTS, rates)
    assert together[::-1] == rewriters[name](TEXTS[::-1], rates[::-1])
    assert [rewriters[name]([text], [rate])[0] for text, rate in zip(TEXTS, rates, strict=True)] == together


@pytest.mark.parametrize("seed", range(4))
def test_nothing_that_select_keeps_is_nearer(seed, tokenizer):
    def count(text: str) -> int:
        return len(tokenizer.encode(text)[0])

    units = Segmenter(tokenizer)(TEXTS[seed])
    priorities_N = np.random.default_rng(seed).random(len(units))
    found = nearest(units, priorities_N, 0.45, count)
    every = [select(units, priorities_N, rate).text.strip() for rate in np.linspace(0, 1, 400)]
    errors = [abs(count(text) - 0.45 * count(units.text)) for text in every]
    assert abs(count(found) - 0.45 * count(units.text)) == min(errors)

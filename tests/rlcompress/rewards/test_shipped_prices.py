"""No shipped price makes it best to keep everything or nothing: on real text, some mask in between pays more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from rlcompress.baselines import build_methods
from rlcompress.config.files import load_config
from rlcompress.config.schema import DataConfig, JudgeConfig, ReaderConfig, RewardConfig, RunConfig
from rlcompress.data.corpus import mini_rows
from rlcompress.data.dataset import load_split
from rlcompress.data.prepare import prepare
from rlcompress.judges.build import load_judge, train_judge
from rlcompress.judges.ngram import default_ngram_judge
from rlcompress.models.tokenizer import TextTokenizer, load_tokenizer, train_tokenizer
from rlcompress.rewards.reward import Reward
from rlcompress.rewards.terms import RewardInput
from rlcompress.selection import select
from rlcompress.text.segment import Segmenter
from rlcompress.words import Example, Judge, JudgeRequest

ROOT = Path(__file__).resolve().parents[3]
RATES = (0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0)


def shipped_rewards() -> dict[str, RewardConfig]:
    """The rewards of all shipped runs that choose their length; where a price moves, one for each of its ends."""
    found = {}
    for path in sorted((ROOT / "tune_configs" / "masking").rglob("*.yaml")):
        config = load_config(path)
        if config.env.sampler == "bernoulli":
            for end in {config.reward.beta.start, config.reward.beta.end}:
                found[f"{path.stem} at {end:g}"] = config.reward.model_copy(
                    update={"beta": config.reward.beta.model_copy(update={"start": end})}
                )
    return found


def mean_rewards(
    config: RewardConfig, judge: Judge, tokenizer: TextTokenizer, examples: Sequence[Example]
) -> dict[tuple[str, float], float]:
    """Mean reward of simple masks at several kept fractions: dropping at random, and keeping rare words."""
    reward, segmenter = Reward(config), Segmenter(tokenizer)
    units = [segmenter(example.text) for example in examples]
    means = {}
    for method in build_methods(["random", "rare"], tokenizer=tokenizer, train_texts=[e.text for e in examples]):
        for rate in RATES:
            priorities = method.priorities(units, examples, rate, 0)
            kept = [select(u, p, rate) for u, p in zip(units, priorities, strict=True)]
            requests = [JudgeRequest.of(c, e) for c, e in zip(kept, examples, strict=True)]
            verdicts = judge.judge([*requests, *(request.emptied() for request in requests)])
            pairs = zip(examples, kept, verdicts[: len(kept)], verdicts[len(kept) :], strict=True)
            items = [RewardInput(e, c, v, empty, price=config.beta.start) for e, c, v, empty in pairs]
            means[method.name, rate] = float(np.mean([reward.score(item).total for item in items]))
    return means


def assert_the_middle_pays(means: dict[tuple[str, float], float], by: float) -> None:
    extremes = max(value for (_, rate), value in means.items() if rate in (0.0, 1.0))
    best = max(means, key=means.__getitem__)
    assert 0.0 < best[1] < 1.0, means
    assert means[best] > extremes + by, means


def test_there_are_shipped_prices() -> None:
    assert {name.partition(" at ")[0] for name in shipped_rewards()} >= {"rate_distortion", "target_rate"}


@pytest.mark.parametrize("name", sorted(shipped_rewards()))
def test_neither_end_is_best_by_an_ngram_judge(name: str) -> None:
    texts = [text for _, text in mini_rows(64)]
    examples = [Example(str(i), text) for i, text in enumerate(texts)]
    config = shipped_rewards()[name]
    assert_the_middle_pays(mean_rewards(config, default_ngram_judge(), train_tokenizer(texts, 1024), examples), by=0.04)


@pytest.mark.learning
def test_neither_end_is_best_by_a_trained_judge(tmp_path: Path) -> None:
    """A masked language model of the demo's kind, trained for a few hundred steps, on texts that it has not seen."""
    config = RunConfig(data=DataConfig(source="builtin:docs-mini-1000"), reader=ReaderConfig(vocabulary=1024))
    prepare(config, tmp_path / "data")
    train_judge(JudgeConfig(steps=300, width=64), tmp_path / "data", tmp_path / "judge")
    tokenizer = load_tokenizer(str(tmp_path / "data" / "tokenizer"))
    unseen, judge = load_split(tmp_path / "data", "validation")[:48], load_judge(tmp_path / "judge")
    for reward in shipped_rewards().values():
        assert_the_middle_pays(mean_rewards(reward, judge, tokenizer, unseen), by=0.02)


def test_prices_outside_make_an_end_the_best() -> None:
    """The test above can fail: a price near nothing keeps all, one that no word is worth keeps none."""
    texts = [text for _, text in mini_rows(24)]
    examples = [Example(str(i), text) for i, text in enumerate(texts)]
    for price, end in ((0.05, 1.0), (8.0, 0.0)):
        config = RewardConfig.model_validate({"terms": {"rate_distortion": 1.0}, "beta": {"start": price}})
        means = mean_rewards(config, default_ngram_judge(), train_tokenizer(texts, 512), examples)
        assert max(means, key=means.__getitem__)[1] == end

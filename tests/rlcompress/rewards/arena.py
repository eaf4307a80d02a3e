"""What cheats and honest outputs are paid: real units, the n-gram judge and the overlap reader, any reward."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from rlcompress.config.schema import RewardConfig
from rlcompress.judges.ngram import default_ngram_judge
from rlcompress.judges.overlap import OverlapReader
from rlcompress.models.tokenizer import TextTokenizer, train_tokenizer
from rlcompress.rewards.importance import Importance, count_words
from rlcompress.rewards.reward import Reward
from rlcompress.rewards.terms import RewardInput
from rlcompress.selection import select
from rlcompress.text.bare import bare_words
from rlcompress.text.segment import Segmenter
from rlcompress.text.stop_words import STOP_WORDS
from rlcompress.text.units import unit_starts
from rlcompress.words import BoolArray, Compression, Example, FloatArray, Judgement, JudgeRequest, Units
from tests.rlcompress.rewards.cheats import is_stop, word_of

RATE = 0.5
READER = OverlapReader()


@functools.cache
def tokenizer(texts: tuple[str, ...]) -> TextTokenizer:
    return train_tokenizer(texts, 1024)


class Arena:
    """Mean pay over some examples, each cut into units of their own tokenizer."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = list(examples)
        texts = tuple(example.text for example in examples)
        segmenter = Segmenter(tokenizer(texts))
        self.units = [segmenter(text) for text in texts]
        self.judge = default_ngram_judge()
        self.counts = count_words(texts)
        self.rarity = Importance("rarity", self.counts)

    def telling(self, units: Units, example: Example) -> FloatArray:
        """Honest where any word may be asked for: rare words first, function words last."""
        rarity_N = self.rarity(units)
        assert rarity_N is not None
        return rarity_N - 4.0 * np.asarray([is_stop(unit.strip()) for unit in units.words()])

    def asked_for(self, units: Units, example: Example) -> FloatArray:
        """Honest where a question is known: the sentences that share its words, and in them content words first."""
        content = {word for word in bare_words(example.question or "") if word not in STOP_WORDS}
        words = units.words()
        sentence_N = np.searchsorted(unit_starts(units.text, "sentence"), units.starts_N, side="right")
        shared_N = np.zeros(len(units))
        for sentence in np.unique(sentence_N):
            at = np.flatnonzero(sentence_N == sentence)
            shared_N[at] = len({word_of(words[u]) for u in at} & content)
        return shared_N * 10.0 - np.asarray([is_stop(unit.strip()) for unit in words]) - 1e-3 * np.arange(len(units))

    def pay(
        self,
        config: RewardConfig,
        masks: Callable[[Units, Example], BoolArray],
        written: Callable[[Example, str], str] | None = None,
    ) -> float:
        """Mean reward of a mask policy, or of what a writer makes of its masks."""
        reward = Reward(config, self.counts)
        return float(np.mean([self._one(reward, u, e, masks(u, e), written) for u, e in self.pairs]))

    @property
    def pairs(self) -> list[tuple[Units, Example]]:
        return list(zip(self.units, self.examples, strict=True))

    def _one(
        self,
        reward: Reward,
        units: Units,
        example: Example,
        kept_N: BoolArray,
        written: Callable[[Example, str], str] | None,
    ) -> float:
        compression = Compression(units, np.asarray(kept_N, np.bool_), RATE)
        text = None if written is None else written(example, compression.text)
        request = JudgeRequest.of(compression, example)
        verdict, empty = self.judge.judge([request, request.emptied()])
        read, original = (self._read(t, example) for t in (compression.text if text is None else text, example.text))
        item = RewardInput(
            example,
            compression,
            verdict,
            empty,
            reward.importance(units),
            written=text,
            read=read,
            read_original=original,
        )
        total = reward.score(item).total
        assert np.isfinite(total), (example.id, text)
        return total

    @staticmethod
    @functools.cache
    def _read(text: str, example: Example) -> Judgement:
        return READER.read(text, example.question or "", example.answer or "")


def exactly(priorities: Callable[[Units, Example], FloatArray], rate: float = RATE) -> Callable[..., BoolArray]:
    """The masks that an exact budget leaves of these priorities."""
    return lambda units, example: select(units, priorities(units, example), rate).kept_N

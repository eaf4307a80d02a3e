"""What cheats and honest outputs are paid: real units, the n-gram judge and the overlap reader, any reward."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from rlcompress.config.schema import RewardConfig
from rlcompress.judges.ngram import default_ngram_judge
from rlcompress.judges.overlap import OverlapReader
from rlcompress.models.tokenizer import TextTokenizer, train_tokenizer
from rlcompress.rewards.importance import count_words
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
        self._judged: dict[tuple[int, bytes, str | None], RewardInput] = {}

    def telling(self, units: Units, example: Example) -> FloatArray:
        """Honest where any word may be asked for: what is hardest to guess, bit for token."""
        request = JudgeRequest.of(Compression(units, np.zeros(len(units), np.bool_), 0.0), example)
        bits_N = self.judge.judge([request])[0].per_unit_N
        assert bits_N is not None
        return bits_N / np.maximum(units.costs_N, 1)

    def with_the_answer(self, units: Units, example: Example) -> FloatArray:
        """Honest as a perfect finder of evidence is: as `asked_for`, the sentences with the answer's words first."""
        answer = set(bare_words(example.answer or ""))
        words = units.words()
        sentence_N = np.searchsorted(unit_starts(units.text, "sentence"), units.starts_N, side="right")
        found_N = np.zeros(len(units))
        for sentence in np.unique(sentence_N):
            at = np.flatnonzero(sentence_N == sentence)
            found_N[at] = answer <= {word for u in at for word in bare_words(words[u])}
        return self.asked_for(units, example) + 1e3 * found_N

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
        made = [self._made(i, masks(u, e), written) for i, (u, e) in enumerate(self.pairs)]
        totals = [reward.score(replace(item, importance_N=reward.importance(item.compression.units))) for item in made]
        assert all(np.isfinite(found.total) for found in totals)
        return float(np.mean([found.total for found in totals]))

    @property
    def pairs(self) -> list[tuple[Units, Example]]:
        return list(zip(self.units, self.examples, strict=True))

    def _made(self, i: int, kept_N: BoolArray, written: Callable[[Example, str], str] | None) -> RewardInput:
        """One output with all verdicts; each output is judged and read once, whatever the rewards are."""
        units, example = self.units[i], self.examples[i]
        compression = Compression(units, np.asarray(kept_N, np.bool_), RATE)
        text = None if written is None else written(example, compression.text)
        key = (i, compression.kept_N.tobytes(), text)
        if key not in self._judged:
            request = JudgeRequest.of(compression, example)
            verdict, empty = self.judge.judge([request, request.emptied()])
            read, original = (
                self._read(t, example) for t in (compression.text if text is None else text, example.text)
            )
            self._judged[key] = RewardInput(example, compression, verdict, empty, None, text, 1.0, read, original)
        return self._judged[key]

    @staticmethod
    @functools.cache
    def _read(text: str, example: Example) -> Judgement:
        return READER.read(text, example.question or "", example.answer or "")


def exactly(priorities: Callable[[Units, Example], FloatArray], rate: float = RATE) -> Callable[..., BoolArray]:
    """The masks that an exact budget leaves of these priorities."""
    return lambda units, example: select(units, priorities(units, example), rate).kept_N

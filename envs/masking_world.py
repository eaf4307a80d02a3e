"""What one masking environment and a vector of them share: texts, judge, reward, and the step as pure functions.

In the spirit of Gymnasium's functional environments: a state goes in, an observation or an outcome comes out, and the
world itself never changes. An episode is one step: all priorities at once, then the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from envs.text_space import UnicodeText
from rlcompress.config.schema import RewardConfig
from rlcompress.data.corpus import mini_rows
from rlcompress.errors import JudgeUnavailable, UserError
from rlcompress.models.tokenizer import train_tokenizer
from rlcompress.rewards.reward import Reward, RewardBreakdown
from rlcompress.rewards.terms import RewardInput
from rlcompress.selection import select
from rlcompress.text.segment import Segmenter
from rlcompress.words import Compression, Example, FloatArray, Judge, Judgement, JudgeRequest, Units

_BUILTIN_TEXTS = 64
_BUILTIN_VOCABULARY = 1024

Observation = dict[str, Any]
Priorities = FloatArray | Sequence[float]


@dataclass(frozen=True, slots=True)
class State:
    """Which example is to be compressed, and to what fraction of its reader tokens."""

    index: int
    rate: float


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of one action."""

    compression: Compression
    judgement: Judgement
    breakdown: RewardBreakdown


class Passage:
    """Deals every example once before any twice, in orders drawn from the environment's own generator."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._left: list[int] = []

    def restart(self) -> None:
        self._left = []

    def deal(self, rng: np.random.Generator) -> int:
        if not self._left:
            self._left = rng.permutation(self._size).tolist()
        return self._left.pop()


class MaskingWorld:
    """Examples cut into units, with the judge and the reward that price a compression.

    Args:
        examples: `Example`s or mappings with their fields; None takes 64 paragraphs of Python's documentation.
        segmenter: text -> `Units`; None trains a small BPE tokenizer on the examples. It carries protected patterns.
        judge: a name in `JUDGES` or any `Judge`.
        reward: a `Reward`, or a `RewardConfig` or mapping to build one from.
        rates: kept fractions of reader tokens that episodes draw from.
        n_max: length of the action; None takes the longest example's number of units.
        form: "single": one step an episode.

    Raises:
        UserError: no examples, an example longer than n_max or without what the reward needs, an unknown name, a rate
            outside (0, 1], a floor gate that no exact budget could open.
    """

    def __init__(
        self,
        examples: Sequence[Example | Mapping[str, Any]] | None = None,
        segmenter: Callable[[str], Units] | None = None,
        judge: str | Judge = "ngram",
        reward: Reward | RewardConfig | Mapping[str, Any] | None = None,
        rates: Sequence[float] = (0.33, 0.5),
        n_max: int | None = None,
        form: str = "single",
    ) -> None:
        if form != "single":
            raise UserError(f"env.form {form!r} is unknown: use single")
        self.examples = _examples(examples)
        segmenter = segmenter or _segmenter([example.text for example in self.examples])
        self.units = [segmenter(example.text) for example in self.examples]
        self.judge = _judge(judge)
        self.reward = reward if isinstance(reward, Reward) else Reward(RewardConfig.model_validate(reward or {}))
        self.reward.check(self.examples)
        self.rates = _rates(rates, self.reward.config.gates.floor)
        self.n_max = n_max if n_max is not None else max(1, *map(len, self.units))
        for example, units in zip(self.examples, self.units, strict=True):
            if len(units) > self.n_max:
                raise UserError(
                    f"example {example.id!r} has {len(units)} units, more than n_max {self.n_max}: "
                    "raise n_max or split the text"
                )
        self._importance = [self.reward.importance(units) for units in self.units]

    def observation_space(self) -> spaces.Dict:
        # float64, so that a policy computes the same budget from the rate as `select` does
        rate = spaces.Box(0.0, 1.0, (1,), np.float64)
        return spaces.Dict({"text": UnicodeText(), "question": UnicodeText(), "rate": rate})

    def action_space(self) -> spaces.Box:
        return spaces.Box(-np.inf, np.inf, (self.n_max,), np.float32)

    def initial(
        self, rng: np.random.Generator, passage: Passage, index: int | None = None, rate: float | None = None
    ) -> State:
        """The start of an episode; what is not given is drawn.

        Raises:
            UserError: no such example, or a rate outside [0, 1].
        """
        if index is None:
            index = passage.deal(rng)
        if rate is None:
            rate = self.rates[int(rng.integers(len(self.rates)))]
        if not 0 <= index < len(self.examples):
            raise UserError(f"reset option index {index}: there are {len(self.examples)} examples, counted from 0")
        if not 0.0 <= rate <= 1.0:
            raise UserError(f"reset option rate {rate}: give a number from 0 to 1")
        return State(int(index), float(rate))

    def observation(self, state: State) -> Observation:
        """What a policy may see; never the answer."""
        example = self.examples[state.index]
        return {"text": example.text, "question": example.question or "", "rate": np.asarray([state.rate])}

    def outcomes(self, states: Sequence[State], actions: Sequence[Priorities]) -> list[Outcome]:
        """Select, judge and reward each action, with ONE judge call for all of them.

        The call asks for every compression and, once for each distinct example, for D(∅).
        """
        compressions = [self._select(state, action) for state, action in zip(states, actions, strict=True)]
        requests = [
            JudgeRequest.of(compression, self.examples[state.index])
            for state, compression in zip(states, compressions, strict=True)
        ]
        emptied = {state.index: request.emptied() for state, request in zip(states, requests, strict=True)}
        verdicts = self._ask([*requests, *emptied.values()])
        empties = dict(zip(emptied, verdicts[len(requests) :], strict=True))
        return [
            self._outcome(state, compression, verdict, empties[state.index])
            for state, compression, verdict in zip(states, compressions, verdicts[: len(requests)], strict=True)
        ]

    def _select(self, state: State, action: Priorities) -> Compression:
        units = self.units[state.index]
        return select(units, np.asarray(action, np.float64)[: len(units)], state.rate)

    def _ask(self, requests: list[JudgeRequest]) -> list[Judgement]:
        try:
            verdicts = self.judge.judge(requests)
        except JudgeUnavailable as error:
            return [Judgement.failed(str(error)) for _ in requests]
        if len(verdicts) != len(requests):
            raise ValueError(f"{len(requests)} requests need as many verdicts, the judge gave {len(verdicts)}")
        return verdicts

    def _outcome(self, state: State, compression: Compression, verdict: Judgement, empty: Judgement) -> Outcome:
        example, importance_N = self.examples[state.index], self._importance[state.index]
        breakdown = self.reward.score(RewardInput(example, compression, verdict, empty, importance_N))
        return Outcome(compression, verdict, breakdown)


def _examples(rows: Sequence[Example | Mapping[str, Any]] | None) -> list[Example]:
    if rows is None:
        topics = mini_rows(_BUILTIN_TEXTS)
        return [Example(f"{topic}#{n}", text, group=topic) for n, (topic, text) in enumerate(topics, 1)]
    if not rows:
        raise UserError("env.examples is empty: give at least one text")
    return [row if isinstance(row, Example) else Example(**row) for row in rows]


def _segmenter(texts: list[str]) -> Segmenter:
    return Segmenter(train_tokenizer(texts, _BUILTIN_VOCABULARY))


def _rates(rates: Sequence[float], floor: float) -> tuple[float, ...]:
    values = tuple(float(rate) for rate in rates)
    if not values or not all(0.0 < rate <= 1.0 for rate in values):
        raise UserError(f"env.rates {list(rates)}: give one or more numbers above 0 and at most 1")
    if floor >= min(values):
        raise UserError(f"reward.gates.floor {floor:g} closes at env.rates {min(values):g}: set it below every rate")
    return values


def _ngram() -> Judge:
    from rlcompress.judges.ngram import default_ngram_judge

    return default_ngram_judge()


JUDGES: dict[str, Callable[[], Judge]] = {"ngram": _ngram}


def _judge(judge: str | Judge) -> Judge:
    if not isinstance(judge, str):
        return judge
    if judge not in JUDGES:
        raise UserError(f"judge {judge!r} is unknown: use {', '.join(JUDGES)} or hand in a judge")
    return JUDGES[judge]()

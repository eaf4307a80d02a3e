"""What one masking environment and a vector of them share: texts, judge, reward, and the step as pure functions.

In the spirit of Gymnasium's functional environments: a state goes in, an observation or an outcome comes out, and the
world itself never changes. A `single` episode is one step: all priorities at once, then the verdict. A `progressive`
one has K steps: step t chooses among the units that are left, down to the budget at rate^(t/K), and pays what the
reward changed by; so at discount 1 its return is the reward of `single` on the final text.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.dealing import Passage, ask
from envs.text_space import UnicodeText
from rlcompress.config.schema import RewardConfig
from rlcompress.data.corpus import mini_rows
from rlcompress.errors import UserError
from rlcompress.models.tokenizer import train_tokenizer
from rlcompress.rewards.reward import Reward, RewardBreakdown
from rlcompress.rewards.terms import RewardInput
from rlcompress.selection import budget_tokens, pass_rate, select, threshold
from rlcompress.text.segment import Segmenter
from rlcompress.words import (
    BoolArray,
    Compression,
    Example,
    FloatArray,
    Judge,
    Judgement,
    JudgeRequest,
    Status,
    Units,
)

_BUILTIN_TEXTS = 64
_BUILTIN_VOCABULARY = 1024

Observation = dict[str, Any]
Priorities = FloatArray | Sequence[float]
Readings = tuple[Judgement | None, Judgement | None]  # of an output and of its original; None where nobody reads


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """Which example is to be compressed, to what fraction of its reader tokens, and how far that has come."""

    index: int
    rate: float
    alive_N: BoolArray  # units that no step has dropped
    price: float = 1.0  # of the tokens, for rewards that weigh them against the bits
    t: int = 0  # steps done
    paid: float = 0.0  # sum of the rewards so far: the reward of the text as it is; NaN where it is not known
    status: Status = Status.OK  # the first that was not OK stays


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of one action; `reward` is that of the step, `breakdown` explains that of the text after it."""

    compression: Compression
    judgement: Judgement
    breakdown: RewardBreakdown
    reward: float
    state: State

    @property
    def status(self) -> Status:
        return self.state.status


class MaskingWorld:
    """Examples cut into units, with the judge and the reward that price a compression.

    Args:
        examples: `Example`s or mappings with their fields; None takes 64 paragraphs of Python's documentation.
        segmenter: text -> `Units`; None trains a small BPE tokenizer on the examples. It carries protected patterns.
        judge: a name in `JUDGES` or any `Judge`.
        reader: answers questions from the texts, where a term of the reward needs that: a name in `READERS` or a
            `Judge` that finds out what `reward.reads` names.
        reward: a `Reward`, or a `RewardConfig` or mapping to build one from.
        rates: kept fractions of reader tokens that episodes draw from.
        n_max: length of the action; None takes the longest example's number of units.
        form: "single": one step an episode; "progressive": `passes` steps.
        passes: steps of a progressive episode.
        sampler: "exact": the best units within the rate stay; "bernoulli": those with a priority >= 0, whatever comes
            of the rate.

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
        sampler: str = "exact",
        passes: int = 4,
        reader: str | Judge = "overlap",
    ) -> None:
        if form not in FORMS:
            raise UserError(f"env.form {form!r} is unknown: use {' or '.join(FORMS)}")
        if not 1 <= passes <= MOST_PASSES:
            raise UserError(f"env.passes {passes}: give a number from 1 to {MOST_PASSES}")
        self.progressive = form == "progressive"
        self.passes = passes if self.progressive else 1
        self.examples = _examples(examples)
        segmenter = segmenter or _segmenter([example.text for example in self.examples])
        self.units = [segmenter(example.text) for example in self.examples]
        self.judge = _judge(judge)
        self.reward = reward if isinstance(reward, Reward) else Reward(RewardConfig.model_validate(reward or {}))
        self.reward.check(self.examples)
        self.reader = _reader(reader, self.reward.reads) if self.reward.reads else None
        self._originals: dict[int, Judgement] = {}  # what the frozen reader made of whole texts
        self.keep = _rule(sampler, form)
        self.rates = _rates(rates, self.reward.config.gates.floor if sampler == "exact" else 0.0)
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
        seen: dict[str, spaces.Space[Any]] = {"text": UnicodeText(), "question": UnicodeText(), "rate": rate}
        if self.progressive:
            seen["alive"] = seen["protected"] = spaces.MultiBinary(self.n_max)
            seen["progress"] = spaces.Box(0.0, 1.0, (1,), np.float64)
            seen["budget_left"] = spaces.Box(-1.0, 1.0, (1,), np.float64)
        return spaces.Dict(seen)

    def action_space(self) -> spaces.Box:
        return spaces.Box(-np.inf, np.inf, (self.n_max,), np.float32)

    def initial(
        self,
        rng: np.random.Generator,
        passage: Passage,
        index: int | None = None,
        rate: float | None = None,
        price: float | None = None,
    ) -> State:
        """The start of an episode; what is not given is drawn, and the price is 1.

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
        alive_N = np.ones(len(self.units[index]), np.bool_)
        return State(int(index), float(rate), alive_N, 1.0 if price is None else float(price))

    def observation(self, state: State) -> Observation:
        """What a policy may see; never the answer."""
        example, units = self.examples[state.index], self.units[state.index]
        seen = {"text": example.text, "question": example.question or "", "rate": np.asarray([state.rate])}
        if self.progressive:
            left = int(units.costs_N[state.alive_N].sum()) - budget_tokens(units, state.rate)
            seen["alive"] = self._padded(state.alive_N)
            seen["protected"] = self._padded(units.protected_N)
            seen["progress"] = np.asarray([state.t / self.passes])
            seen["budget_left"] = np.asarray([left / max(1, units.total_cost)])
        return seen

    def over(self, state: State) -> bool:
        """Whether an episode ends here. It ends by its own rule, always at the same step, so it is never truncated."""
        return state.t == self.passes

    def outcomes(self, states: Sequence[State], actions: Sequence[Priorities]) -> list[Outcome]:
        """Select, judge and reward each action, with ONE judge call for all of them, and one of the reader if asked.

        The call asks for every compression and, once for each distinct example, for D(∅).
        """
        compressions = [self._select(state, action) for state, action in zip(states, actions, strict=True)]
        requests = [
            JudgeRequest.of(compression, self.examples[state.index])
            for state, compression in zip(states, compressions, strict=True)
        ]
        emptied = {state.index: request.emptied() for state, request in zip(states, requests, strict=True)}
        verdicts = ask(self.judge, [*requests, *emptied.values()])
        empties = dict(zip(emptied, verdicts[len(requests) :], strict=True))
        readings = self._read([state.index for state in states], requests)
        return [
            self._outcome(state, compression, verdict, empties[state.index], reading)
            for state, compression, verdict, reading in zip(
                states, compressions, verdicts[: len(requests)], readings, strict=True
            )
        ]

    def _read(self, indices: list[int], requests: list[JudgeRequest]) -> list[Readings]:
        """The reader's verdicts on each compression and on its original; those on originals are kept."""
        if self.reader is None:
            return [(None, None)] * len(requests)
        new = {i: request.whole() for i, request in zip(indices, requests, strict=True) if i not in self._originals}
        read = ask(self.reader, [*requests, *new.values()])
        found = dict(zip(new, read[len(requests) :], strict=True))
        self._originals.update({i: verdict for i, verdict in found.items() if verdict.status is Status.OK})
        originals = {**self._originals, **found}
        return [(verdict, originals[i]) for i, verdict in zip(indices, read[: len(requests)], strict=True)]

    def _padded(self, flags_N: BoolArray) -> NDArray[np.int8]:
        padded = np.zeros(self.n_max, np.int8)
        padded[: len(flags_N)] = flags_N
        return padded

    def _select(self, state: State, action: Priorities) -> Compression:
        units = self.units[state.index]
        priorities_N = np.asarray(action, np.float64)[: len(units)]
        return self.keep(units, priorities_N, pass_rate(state.rate, state.t + 1, self.passes), state.alive_N)

    def _outcome(
        self,
        state: State,
        compression: Compression,
        verdict: Judgement,
        empty: Judgement,
        reading: Readings,
    ) -> Outcome:
        example, importance_N = self.examples[state.index], self._importance[state.index]
        read, original = reading
        item = RewardInput(
            example,
            compression,
            verdict,
            empty,
            importance_N,
            price=state.price,
            read=read,
            read_original=original,
        )
        breakdown = self.reward.score(item)
        status = breakdown.status if state.status is Status.OK else state.status
        after = replace(state, alive_N=compression.kept_N, t=state.t + 1, paid=breakdown.total, status=status)
        return Outcome(compression, verdict, breakdown, breakdown.total - state.paid, after)


FORMS = ("single", "progressive")
MOST_PASSES = 20

Keep = Callable[[Units, FloatArray, float, BoolArray], Compression]


def _exact(units: Units, priorities_N: FloatArray, rate: float, alive_N: BoolArray) -> Compression:
    return select(units, priorities_N, rate, alive_N=alive_N)


def _bernoulli(units: Units, priorities_N: FloatArray, rate: float, alive_N: BoolArray) -> Compression:
    return threshold(units, priorities_N)


KEEP: dict[str, Keep] = {"exact": _exact, "bernoulli": _bernoulli}


def _rule(sampler: str, form: str) -> Keep:
    if sampler not in KEEP:
        raise UserError(f"env.sampler {sampler!r} is unknown: use {' or '.join(KEEP)}")
    if sampler == "bernoulli" and form != "single":
        raise UserError(f"env.sampler bernoulli decides once: set env.form to single, not {form}")
    return KEEP[sampler]


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


def _overlap(measures: Collection[str]) -> Judge:
    from rlcompress.judges.overlap import OverlapReader

    return OverlapReader(sorted(measures))


READERS: dict[str, Callable[[Collection[str]], Judge]] = {"overlap": _overlap}


def _reader(reader: str | Judge, measures: Collection[str]) -> Judge:
    if not isinstance(reader, str):
        return reader
    if reader not in READERS:
        raise UserError(f"reader {reader!r} is unknown: use {', '.join(READERS)} or hand in a reader")
    return READERS[reader](measures)

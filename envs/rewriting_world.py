"""What one rewriting environment and a vector of them share: problems, evaluator, reward, the step as pure functions.

A `single` episode is one rewrite. An `iterative` one has K, each of the original with the latest rewrite at hand; the
last one counts: step t pays what the reward of the latest rewrite changed by, so at discount 1 the return is the reward
of the last, and an intermediate one is credited for what it brought.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium import spaces

from envs.dealing import Passage, ask
from envs.text_space import UnicodeText
from rlcompress.config.rewriting import RewriteRewardConfig
from rlcompress.errors import UserError
from rlcompress.models.tokenizer import train_tokenizer
from rlcompress.problems.calculator import plain
from rlcompress.problems.generated import generated_problems
from rlcompress.problems.problem import WordProblem, problem_of
from rlcompress.rewards.reward import RewardBreakdown
from rlcompress.rewards.rewriting import REWRITE_GATES, Rewrite
from rlcompress.rewards.rewritten import JudgedRewrite, RewriteReward
from rlcompress.words import Example, Judgement, PromptJudge, Solve, Status, Tokenizer, Unfinished

_BUILTIN_PROBLEMS = 64
_BUILTIN_VOCABULARY = 1024
_CUT_OFF = Judgement.failed("the rewrite has no end")

Observation = dict[str, Any]
FORMS = ("single", "iterative")
MOST_REWRITES = 10


@dataclass(frozen=True, slots=True)
class State:
    """Which problem is to be rewritten, to what fraction of its tokens, and how far that has come."""

    index: int
    rate: float
    text: str  # the latest rewrite that was whole; the original before there is one
    t: int = 0  # steps done
    paid: float = 0.0  # sum of the rewards so far: that of the latest rewrite; NaN where it is not known
    status: Status = Status.OK  # the first that was not OK stays


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of one action; `reward` is that of the step, `breakdown` explains that of the rewrite."""

    text: str
    tokens: int  # of the rewrite, counted by the evaluator's tokenizer
    achieved_rate: float
    judgement: Judgement
    original: Judgement
    breakdown: RewardBreakdown
    gates: dict[str, bool]  # every gate there is, whether the reward heeds it or not; True: open
    reward: float
    state: State


class RewritingWorld:
    """Word problems with the evaluator and the reward that price a rewrite.

    Args:
        examples: `WordProblem`s, or `Example`s or mappings with their fields, whose answer is a solution or a number;
            None makes 64 of the built-in problems.
        evaluator: a name in `EVALUATORS` or any `PromptJudge`; frozen, for verdicts on originals are kept.
        tokenizer: the evaluator's, which counts all lengths; None trains a small BPE on the problems.
        reward: a `RewriteRewardConfig` or a mapping to build one from.
        rates: kept fractions of the evaluator's tokens that episodes draw from.
        form: "single": one rewrite an episode; "iterative": `rewrites` of them.
        rewrites: steps of an iterative episode, at most ten.

    Raises:
        UserError: no problems, a row without an answer, an unknown name, a rate outside (0, 1].
    """

    def __init__(
        self,
        examples: Sequence[WordProblem | Example | Mapping[str, Any]] | None = None,
        evaluator: str | PromptJudge = "clauses",
        tokenizer: Tokenizer | None = None,
        reward: RewriteRewardConfig | Mapping[str, Any] | None = None,
        rates: Sequence[float] = (0.5, 0.7),
        form: str = "single",
        rewrites: int = 3,
    ) -> None:
        if form not in FORMS:
            raise UserError(f"env.form {form!r} is unknown: use {' or '.join(FORMS)}")
        if not 1 <= rewrites <= MOST_REWRITES:
            raise UserError(f"env.rewrites {rewrites}: give a number from 1 to {MOST_REWRITES}")
        self.iterative = form == "iterative"
        self.rewrites = rewrites if self.iterative else 1
        self.problems = _problems(examples)
        self.tokenizer = tokenizer or train_tokenizer([p.text for p in self.problems], _BUILTIN_VOCABULARY)
        self.evaluator = _evaluator(evaluator)
        self.config = RewriteRewardConfig.model_validate(reward or {})
        self.reward = RewriteReward.of(self.config)
        self.rates = _rates(rates)
        self.tokens = [self.count(problem.text) for problem in self.problems]
        self.calls = 0  # of the evaluator
        self._originals: dict[int, Judgement] = {}  # what the frozen evaluator made of them

    def count(self, text: str) -> int:
        """Tokens of a text as the evaluator reads it, without those of its template."""
        return len(self.tokenizer.encode(text)[0])

    def observation_space(self) -> spaces.Dict:
        seen: dict[str, spaces.Space[Any]] = {"text": UnicodeText(), "rate": spaces.Box(0.0, 1.0, (1,), np.float64)}
        if self.iterative:
            seen["rewrite"] = UnicodeText()
            seen["left"] = spaces.Box(0, self.rewrites, (1,), np.int64)
        return spaces.Dict(seen)

    def initial(
        self, rng: np.random.Generator, passage: Passage, index: int | None = None, rate: float | None = None
    ) -> State:
        """The start of an episode; what is not given is drawn.

        Raises:
            UserError: no such problem, or a rate outside [0, 1].
        """
        if index is None:
            index = passage.deal(rng)
        if rate is None:
            rate = self.rates[int(rng.integers(len(self.rates)))]
        if not 0 <= index < len(self.problems):
            raise UserError(f"reset option index {index}: there are {len(self.problems)} problems, counted from 0")
        if not 0.0 <= rate <= 1.0:
            raise UserError(f"reset option rate {rate}: give a number from 0 to 1")
        return State(int(index), float(rate), self.problems[index].text)

    def observation(self, state: State) -> Observation:
        """What a policy may see; never the answer."""
        seen: Observation = {"text": self.problems[state.index].text, "rate": np.asarray([state.rate])}
        if self.iterative:
            seen |= {"rewrite": state.text, "left": np.asarray([self.rewrites - state.t])}
        return seen

    def over(self, state: State) -> bool:
        """Whether an episode ends here: always at the same step, by its own rule, so it is never truncated."""
        return state.t == self.rewrites

    def outcomes(self, states: Sequence[State], texts: Sequence[str]) -> list[Outcome]:
        """Judge and reward each rewrite, with ONE call of the evaluator for all of them.

        The call asks for every rewrite that ended and, once in the life of a world, for each original. What did not end
        is no rewrite and nobody is asked.
        """
        pairs = list(zip(states, texts, strict=True))
        whole = [b for b, (_, text) in enumerate(pairs) if not isinstance(text, Unfinished)]
        new = list(dict.fromkeys(pairs[b][0].index for b in whole if pairs[b][0].index not in self._originals))
        requests = [
            *(self._request(pairs[b][0].index, pairs[b][1]) for b in whole),
            *(self._request(index, self.problems[index].text) for index in new),
        ]
        verdicts = ask(self.evaluator, requests) if requests else []
        self.calls += bool(requests)
        after = dict(zip(whole, verdicts[: len(whole)], strict=True))
        found = dict(zip(new, verdicts[len(whole) :], strict=True))
        self._originals.update({index: verdict for index, verdict in found.items() if verdict.status is Status.OK})
        before = {**self._originals, **found}
        return [
            self._outcome(state, text, after.get(b, _CUT_OFF), before.get(state.index, _CUT_OFF))
            for b, (state, text) in enumerate(pairs)
        ]

    def _request(self, index: int, text: str) -> Solve:
        gold = self.problems[index].answer
        return Solve(text, plain(gold) or str(gold))

    def _outcome(self, state: State, text: str, after: Judgement, before: Judgement) -> Outcome:
        problem = self.problems[state.index]
        rewrite = Rewrite.of(problem, str(text))
        tokens_in, tokens_out = self.tokens[state.index], self.count(text)
        item = JudgedRewrite(
            rewrite, problem.answer, after, before, tokens_in, tokens_out, state.rate, self.config.length
        )
        breakdown = self.reward.score(item)
        cut_off = isinstance(text, Unfinished)
        if cut_off:
            breakdown = replace(breakdown, status=Status.UNFINISHED)
        status = breakdown.status if state.status is Status.OK else state.status
        latest = state.text if cut_off else str(text)
        return Outcome(
            text=str(text),
            tokens=tokens_out,
            achieved_rate=item.rate,
            judgement=after,
            original=before,
            breakdown=breakdown,
            gates={name: name not in item.shut for name in REWRITE_GATES},
            reward=breakdown.total - state.paid,
            state=replace(state, text=latest, t=state.t + 1, paid=breakdown.total, status=status),
        )


def _problems(rows: Sequence[WordProblem | Example | Mapping[str, Any]] | None) -> list[WordProblem]:
    if rows is None:
        return generated_problems(_BUILTIN_PROBLEMS)
    if not rows:
        raise UserError("env.examples is empty: give at least one problem")
    return [_problem(row) for row in rows]


def _problem(row: WordProblem | Example | Mapping[str, Any]) -> WordProblem:
    if isinstance(row, WordProblem):
        return row
    return problem_of(row if isinstance(row, Example) else Example(**row))


def _rates(rates: Sequence[float]) -> tuple[float, ...]:
    values = tuple(float(rate) for rate in rates)
    if not values or not all(0.0 < rate <= 1.0 for rate in values):
        raise UserError(f"env.rates {list(rates)}: give one or more numbers above 0 and at most 1")
    return values


def _clauses() -> PromptJudge:
    from rlcompress.judges.clauses import ClauseEvaluator

    return ClauseEvaluator()


EVALUATORS = {"clauses": _clauses}


def _evaluator(evaluator: str | PromptJudge) -> PromptJudge:
    if not isinstance(evaluator, str):
        return evaluator
    if evaluator not in EVALUATORS:
        raise UserError(f"evaluator {evaluator!r} is unknown: use {', '.join(EVALUATORS)} or hand in an evaluator")
    return EVALUATORS[evaluator]()

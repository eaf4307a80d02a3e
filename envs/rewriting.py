"""`PromptRewriting`: write a shorter prompt that still gets the right answer. An action is the text written."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import gymnasium as gym

from envs.dealing import Passage
from envs.rewriting_world import Observation, RewritingWorld, State
from envs.text_space import UnicodeText


class PromptRewriting(gym.Env[Observation, str]):
    """Rewrite one word problem in a given fraction of its tokens, so that an evaluator still solves it.

    Takes the keyword arguments of `RewritingWorld`. Observation: `text` (the original), `rate` [1] (tokens out / tokens
    in that are asked for, counted by the evaluator's tokenizer). Action: the rewritten text; one that its writer did
    not end is an `Unfinished` text. `reset(options={"index": i, "rate": r})` picks; what is not picked is drawn from
    `np_random`, each problem once before any twice.

    With `form="iterative"` an episode has K = `rewrites` steps, and the last rewrite counts. The observation then also
    holds `rewrite`, the latest whole one (at first the original), and `left` [1], the steps to come. Each step pays by
    how much the reward rose or fell; the undiscounted return is the reward of the last rewrite. Every episode ends by
    itself at step K: there is no time limit that could cut it, so nothing is ever truncated in Gymnasium's sense.

    The reward is NaN, with `info["status"]` other than "ok", where the text was unfinished or the evaluator or a term
    gave no verdict: the sample must be masked out of the loss, as a zero would teach something false. A status that is
    not "ok" stays to the end of its episode.

    `reset` info: `index`, `id`, `rate`, `tokens`. `step` info: `status`, `reward_terms`, `reward_gates` (those that the
    reward heeds, and `cap`), `gates` (all, by name; True: open), `rate`, `achieved_rate`, `tokens`, `text`, `judgement`
    and `original` (the verdicts on rewrite and original, as plain data).
    """

    metadata: dict[str, Any] = {"render_modes": []}

    def __init__(self, *, render_mode: None = None, **world: Any) -> None:
        self.render_mode = render_mode
        self.world = RewritingWorld(**world)
        self.observation_space = self.world.observation_space()
        self.action_space = UnicodeText()
        self._passage = Passage(len(self.world.problems))
        self._state: State | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._passage.restart()
        picked = options or {}
        state = self.world.initial(self.np_random, self._passage, picked.get("index"), picked.get("rate"))
        self._state = state
        info = {
            "index": state.index,
            "id": self.world.problems[state.index].id,
            "rate": state.rate,
            "tokens": self.world.tokens[state.index],
        }
        return self.world.observation(state), info

    def step(self, action: str) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        if self._state is None:
            raise gym.error.ResetNeeded("the episode is over: call reset before step")
        [outcome] = self.world.outcomes([self._state], [action])
        over = self.world.over(outcome.state)
        self._state = None if over else outcome.state
        info = {
            "status": outcome.state.status,
            "reward_terms": outcome.breakdown.terms,
            "reward_gates": outcome.breakdown.gates,
            "gates": outcome.gates,
            "rate": outcome.state.rate,
            "achieved_rate": outcome.achieved_rate,
            "tokens": outcome.tokens,
            "text": outcome.text,
            "judgement": asdict(outcome.judgement),
            "original": asdict(outcome.original),
        }
        return self.world.observation(outcome.state), outcome.reward, over, False, info

"""`TokenMasking`: drop words of one text. An action is a priority for every unit; an episode is one of them, or K."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import gymnasium as gym

from envs.dealing import Passage
from envs.masking_world import MaskingWorld, Observation, Priorities, State
from rlcompress.words import Judgement


class TokenMasking(gym.Env[Observation, Any]):
    """Compress one text to a given fraction of its reader tokens.

    Takes the keyword arguments of `MaskingWorld`. Observation: `text`, `question` ("" if none), `rate` [1]. Action:
    priorities [n_max], one a unit in order; entries beyond the text's units are ignored, so any action is legal and
    the budget is met exactly by `select` (with `sampler="bernoulli"` the signs of the priorities decide instead).
    `reset(options={"index": i, "rate": r})` picks; what is not picked is drawn from `np_random`, each example once
    before any twice. Its option `price` is what tokens cost in rewards that weigh them (1 if not given).

    With `form="progressive"` an episode has K = `passes` steps. Step t chooses among the units left, down to the
    budget at rate^(t/K), and pays by how much the reward of the text rose or fell, so the undiscounted return is the
    reward of `form="single"` on the final text. The observation then also holds `alive` and `protected` [n_max] (0
    beyond the text's units), `progress` t/K [1] and `budget_left` [1]: tokens over the final budget, as a share of all.
    Every episode ends by itself at step K: there is no time limit that could cut it, so nothing is ever truncated.

    The reward is NaN, with `info["status"]` other than "ok", when the judge or a reward term gave no verdict: the
    sample must be masked out of the loss, as a zero would teach something false. A status of "over_budget" comes with
    a number and is masked out as well. A status that is not "ok" stays to the end of its episode.

    `reset` info: `index`, `id`, `rate`, `units`. `step` info: `status`, `reward_terms` (clipped, unweighted),
    `reward_gates` (True: open), `rate`, `achieved_rate`, `kept_tokens`, `text`, `judgement` (as plain data).
    """

    metadata: dict[str, Any] = {"render_modes": []}

    def __init__(self, *, render_mode: None = None, **world: Any) -> None:
        self.render_mode = render_mode
        self.world = MaskingWorld(**world)
        self.observation_space = self.world.observation_space()
        self.action_space = self.world.action_space()
        self._passage = Passage(len(self.world.examples))
        self._state: State | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._passage.restart()
        picked = options or {}
        asked = (picked.get(name) for name in ("index", "rate", "price"))
        state = self.world.initial(self.np_random, self._passage, *asked)
        self._state = state
        units, example = self.world.units[state.index], self.world.examples[state.index]
        info = {"index": state.index, "id": example.id, "rate": state.rate, "units": units}
        return self.world.observation(state), info

    def step(self, action: Priorities) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        if self._state is None:
            raise gym.error.ResetNeeded("the episode is over: call reset before step")
        [outcome] = self.world.outcomes([self._state], [action])
        state = outcome.state
        over = self.world.over(state)
        self._state = None if over else state
        info = {
            "status": outcome.status,
            "reward_terms": outcome.breakdown.terms,
            "reward_gates": outcome.breakdown.gates,
            "rate": state.rate,
            "achieved_rate": outcome.compression.achieved_rate,
            "kept_tokens": outcome.compression.kept_tokens,
            "text": outcome.compression.text,
            "judgement": _plain(outcome.judgement),
        }
        return self.world.observation(state), outcome.reward, over, False, info


def _plain(judgement: Judgement) -> dict[str, Any]:
    """Without arrays, whose lengths differ between texts: Gymnasium's vector environments could not stack them."""
    per_unit = None if judgement.per_unit_N is None else judgement.per_unit_N.tolist()
    return asdict(judgement) | {"per_unit_N": per_unit}

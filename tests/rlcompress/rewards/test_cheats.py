"""The contract of every reward that is shipped: no cheat is paid what an honest output is paid."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlcompress.config.files import load_run
from rlcompress.config.presets import PRESETS
from rlcompress.config.rewarding import UNPRICED
from rlcompress.config.schema import RewardConfig, RunConfig
from rlcompress.words import Example
from tests.rlcompress.rewards.arena import RATE, Arena, exactly
from tests.rlcompress.rewards.cheats import MASKS, WRITERS
from tests.rlcompress.rewards.passages import PASSAGES

ROOT = Path(__file__).resolve().parents[3]
BITS = {"distortion", "simple", "rate_distortion"}  # terms paid for bits, whatever is asked


def alone(term: str) -> RewardConfig:
    return RewardConfig(terms={term: 1.0})


def shipped() -> dict[str, tuple[RewardConfig, str]]:
    """Reward and sampler of every configuration that is shipped; where a price moves, at each of its ends."""
    found = {}
    for path in sorted((ROOT / "tune_configs").rglob("*.yaml")):
        config = load_run(path)
        if not isinstance(config, RunConfig):
            continue  # rewrites have cheats of their own
        for end in {config.reward.beta.start, config.reward.beta.end}:
            beta = config.reward.beta.model_copy(update={"start": end})
            found[f"{path.stem} at {end:g}"] = (config.reward.model_copy(update={"beta": beta}), config.env.sampler)
    return found


EXACT = {
    **{f"preset {name}": RewardConfig.model_validate({"preset": name}) for name in PRESETS},
    **{f"term {name}": alone(name) for name in UNPRICED if name != "similarity"},
    **{name: reward for name, (reward, sampler) in shipped().items() if sampler == "exact"},
}
FREE = {
    **{f"preset {name}": RewardConfig.model_validate({"preset": name, "length": {"target": RATE}}) for name in PRESETS},
    **{f"term {name}": alone(name) for name in ("simple", "rate_distortion")},
    **{name: reward for name, (reward, sampler) in shipped().items() if sampler == "bernoulli"},
}
WRITTEN = {f"preset {name}": RewardConfig.model_validate({"preset": name}) for name in PRESETS}


@pytest.fixture(scope="module")
def arena() -> Arena:
    return Arena(PASSAGES)


def honest(arena: Arena, config: RewardConfig, answering="asked_for"):
    """Whatever is honest for what is paid: telling words, or those that the question asks for."""
    paid = {name for name, weight in config.terms.items() if weight}
    return exactly(arena.telling if paid <= BITS else getattr(arena, answering))


@pytest.mark.parametrize("cheat", MASKS)
@pytest.mark.parametrize("name", EXACT)
def test_under_an_exact_budget(arena, name, cheat):
    config = EXACT[name]
    assert arena.pay(config, exactly(MASKS[cheat].priorities)) < arena.pay(config, honest(arena, config)) - 0.01


@pytest.mark.parametrize("cheat", MASKS)
@pytest.mark.parametrize("name", FREE)
def test_where_the_length_is_free(arena, name, cheat):
    config = FREE[name]
    assert arena.pay(config, MASKS[cheat].free) < arena.pay(config, honest(arena, config)) - 0.01


@pytest.mark.parametrize("cheat", WRITERS)
@pytest.mark.parametrize("name", WRITTEN)
def test_written_outputs(arena, name, cheat):
    config = WRITTEN[name]
    masks = exactly(arena.asked_for)
    sincere = arena.pay(config, masks, lambda example, kept: kept)
    assert arena.pay(config, masks, WRITERS[cheat]) < sincere - 0.01


@pytest.fixture(scope="module")
def real_arena(real_data) -> Arena:
    rows = [json.loads(line) for line in (real_data / "context-qa" / "train.jsonl").read_text().splitlines()[::10]]
    short = [row for row in rows if len(row["context"]) < 1500][:60]
    return Arena([Example(str(i), row["context"], row["question"], row["answer"]) for i, row in enumerate(short)])


@pytest.mark.parametrize("name", EXACT)
def test_on_real_questions(real_arena, name):
    """Against a perfect finder of evidence. Where the reader's own answer is paid for, and a reader that is right one
    time in twenty gives it, honesty is worth little more than numbers and names alone: hence no margin.
    """
    config = EXACT[name]
    sincere = real_arena.pay(config, honest(real_arena, config, "with_the_answer"))
    paid = {cheat: real_arena.pay(config, exactly(mask.priorities)) for cheat, mask in MASKS.items()}
    assert max(paid.values()) < sincere, paid


def test_the_contract_can_fail():
    """Additive quality and length, as it was published: keeping everything wins, and the arena says so."""
    arena, mixed = Arena(PASSAGES), RewardConfig(terms={"distortion": 1.0, "rate": 0.3})
    assert arena.pay(mixed, MASKS["copy unchanged"].free) > arena.pay(mixed, exactly(arena.telling))
    leaky = RewardConfig.model_validate({"preset": "core_rag", "gates": {"bare": False, "floor": 0.0}})
    masks = exactly(arena.asked_for)
    assert arena.pay(leaky, masks, WRITERS["the answer alone"]) > arena.pay(leaky, masks, lambda example, kept: kept)

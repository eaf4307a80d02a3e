"""Training a built-in reconstructor: tables, masks, a planted rule that is learned, equal weights from equal seeds."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlcompress.config.schema import JudgeConfig
from rlcompress.models.reconstructor import MaskedReconstructor, weights_hash
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.models.training import (
    TokenTable,
    adapt_reconstructor,
    keep_range,
    learning_rate,
    random_kept,
    train_reconstructor,
)
from rlcompress.text.segment import Segmenter
from tests.rlcompress.small_models import TEXTS

COLOURS = ["red", "green", "blue", "black", "white", "brown", "grey", "pink"]
THINGS = ["rose", "leaf", "sky", "coal", "snow", "wood", "ash", "pig"]


def planted(bpe: TextTokenizer, n: int = 200, seed: int = 0) -> TokenTable:
    """Each colour comes with one thing: either gives the other away."""
    rng = np.random.default_rng(seed)
    pairs = rng.integers(8, size=(n, 3))
    texts = [" ".join(f"{COLOURS[i]} {THINGS[i]}" for i in row) for row in pairs]
    return TokenTable.of([Segmenter(bpe)(text) for text in texts], bpe, 48)


def new_model(bpe: TextTokenizer, table: TokenTable | None = None) -> MaskedReconstructor:
    assert bpe.mask_id is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MaskedReconstructor("attention", bpe.vocabulary, bpe.mask_id, width=32, layers=1)
    table = table or planted(bpe)
    model.start_from_unigrams(torch.bincount(table.ids_BT[table.valid_BT], minlength=bpe.vocabulary))
    return model


def recipe(steps: int, **settings: Any) -> JudgeConfig:
    return JudgeConfig.model_validate({"steps": steps, "learning_rate": 4e-3, **settings})


def train(bpe: TextTokenizer, steps: int, **settings: Any) -> tuple[MaskedReconstructor, list[float]]:
    model = new_model(bpe)
    return model, train_reconstructor(model, planted(bpe), recipe(steps, **settings))


def bits(model: MaskedReconstructor, table: TokenTable) -> float:
    kept = random_kept(table, 0.5, 0.5, torch.Generator().manual_seed(7))
    found, _ = model.dropped_bits(table.ids_BT, kept, table.valid_BT)
    return float(found.sum() / (table.valid_BT & ~kept).sum())


def test_a_planted_rule_is_learned(bpe: TextTokenizer) -> None:
    """Held-out rows, against the same model right after the unigrams."""
    steps: list[int] = []
    model = new_model(bpe)
    table, held_out = planted(bpe), planted(bpe, 50, seed=1)
    before = bits(model.eval(), held_out)
    losses = train_reconstructor(model, table, recipe(250), on_step=lambda step, loss: steps.append(step))
    assert steps == list(range(250))
    assert np.mean(losses[-20:]) < 0.7 * np.mean(losses[:20])
    assert bits(model, held_out) < 0.7 * before
    assert not model.training


def test_equal_seeds_give_equal_weights(bpe: TextTokenizer) -> None:
    torch.manual_seed(1)
    first, _ = train(bpe, 6)
    state = torch.random.get_rng_state()
    torch.manual_seed(2)
    second, _ = train(bpe, 6)
    other, _ = train(bpe, 6, seed=1)
    assert weights_hash(first) == weights_hash(second) != weights_hash(other)
    torch.manual_seed(1)
    assert torch.equal(state, torch.random.get_rng_state())  # the global generator is left as it was


def test_adapting_learns_the_given_masks(bpe: TextTokenizer) -> None:
    """Masks that hide every thing and show every colour."""
    model, _ = train(bpe, 60)
    table = planted(bpe, 120, seed=3)
    kept = table.units_BT % 2 == 0
    weights = weights_hash(model)

    def cost(one: MaskedReconstructor) -> float:
        found, _ = one.dropped_bits(table.ids_BT, kept, table.valid_BT)
        return float(found.sum())

    adapted, again = copy.deepcopy(model), copy.deepcopy(model)
    for one in (adapted, again):
        adapt_reconstructor(one, table, kept, steps=60, batch=16, seed=0)
    assert cost(adapted) < 0.9 * cost(model)
    assert weights_hash(adapted) == weights_hash(again)
    assert weights_hash(model) == weights


def test_token_table(bpe: TextTokenizer) -> None:
    texts = [Segmenter(bpe)(text) for text in [*TEXTS, ""]]
    table = TokenTable.of(texts, bpe, 20)
    assert table.ids_BT.shape == table.units_BT.shape == table.valid_BT.shape == (6, 20)
    for b, units in enumerate(texts):
        ids = bpe.encode(units.text)[0][:20]
        size = len(ids)
        assert table.ids_BT[b, :size].tolist() == ids.tolist()
        assert table.ids_BT[b, size:].tolist() == [bpe.pad_id] * (20 - size)
        assert table.valid_BT[b].tolist() == [True] * size + [False] * (20 - size)
        costs = np.bincount(table.units_BT[b, :size].numpy(), minlength=len(units))
        assert (costs <= units.costs_N).all()
    part = table.rows(torch.tensor([3, 3]))
    assert part.ids_BT.shape == (2, int(table.valid_BT[3].sum()))


def test_random_masks_keep_whole_units(bpe: TextTokenizer) -> None:
    table = TokenTable.of([Segmenter(bpe)(" ".join(TEXTS))] * 400, bpe, 200)
    kept = random_kept(table, 0.3, 0.6, torch.Generator().manual_seed(0))
    for b in range(20):
        for unit in set(table.units_BT[b].tolist()):
            assert len(set(kept[b, table.units_BT[b] == unit].tolist())) == 1
    share_B = kept.float().mean(1)
    assert float(share_B.mean()) == pytest.approx(0.45, abs=0.03)
    assert float(share_B.std()) > 0.07  # the rate is drawn per row


def test_gaps_grow_harder() -> None:
    ranges = [keep_range(p) for p in np.linspace(0, 1, 11)]
    assert all(0 < low < high < 1 for low, high in ranges)
    assert ranges[0][0] == pytest.approx(0.7)
    assert ranges[-1] == pytest.approx((0.2, 0.8))
    assert sorted(ranges, reverse=True) == ranges


def test_a_row_without_tokens_breaks_no_training(bpe: TextTokenizer) -> None:
    table = TokenTable.of([Segmenter(bpe)(text) for text in ["", "red rose", ""]], bpe, 48)
    model = new_model(bpe, table)
    losses = train_reconstructor(model, table, recipe(4, batch=8))
    assert np.isfinite(losses).any()
    assert all(p.isfinite().all() for p in model.parameters())


class Killed(BaseException):
    """Ends a training as a signal does: nothing after the step runs."""


@pytest.mark.parametrize("killed_after", [3, 4, 6, 7])
def test_a_killed_training_goes_on_to_the_same_bits(bpe: TextTokenizer, tmp_path: Path, killed_after: int) -> None:
    """At, before and after a state; the process that goes on has drawn other random numbers in the meantime."""
    whole, losses = train(bpe, 9, save_every=3)
    done: list[int] = []

    def die(step: int, loss: float) -> None:
        done.append(step)
        if len(done) == killed_after:
            raise Killed

    with pytest.raises(Killed):
        train_reconstructor(new_model(bpe), planted(bpe), recipe(9, save_every=3), state=tmp_path / "s", on_step=die)
    torch.manual_seed(killed_after)
    model = new_model(bpe)
    again = train_reconstructor(
        model, planted(bpe), recipe(9, save_every=3), state=tmp_path / "s", on_step=lambda step, loss: done.append(step)
    )
    assert done[killed_after:] == list(range(killed_after - killed_after % 3, 9))
    assert again == losses
    assert weights_hash(model) == weights_hash(whole)


def test_a_torn_state_is_not_believed(bpe: TextTokenizer, tmp_path: Path) -> None:
    train_reconstructor(new_model(bpe), planted(bpe), recipe(5, save_every=3), state=tmp_path / "s")
    file = tmp_path / "s" / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    model = new_model(bpe)
    steps: list[int] = []
    train_reconstructor(
        model, planted(bpe), recipe(5), state=tmp_path / "s", on_step=lambda step, loss: steps.append(step)
    )
    assert steps == [0, 1, 2, 3, 4]
    assert weights_hash(model) == weights_hash(train(bpe, 5)[0])


@pytest.mark.parametrize(
    ("schedule", "half"), [("power", 0.5**0.7), ("linear", 0.5), ("cosine", 0.5), ("constant", 1.0)]
)
def test_learning_rates(schedule: str, half: float) -> None:
    config = recipe(100, schedule=schedule, warmup=10)
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(4e-3 * 0.1 + 1e-5)
    assert rates[50] == pytest.approx(4e-3 * half + 1e-5)
    for step in range(100):
        share = {
            "power": (1 - step / 100) ** 0.7,
            "linear": 1 - step / 100,
            "cosine": math.cos(math.pi * step / 200) ** 2,
            "constant": 1.0,
        }[schedule]
        assert rates[step] == pytest.approx(4e-3 * share * min(1.0, (step + 1) / 10) + 1e-5)
    assert learning_rate(recipe(10, warmup=0, schedule="constant"), 0) == pytest.approx(4e-3 + 1e-5)
    assert learning_rate(recipe(10, learning_rate=5e-5, warmup=0), 9) < 5e-5 * 0.25


class Recording(MaskedReconstructor):
    """Remembers the share of each batch that it was asked for."""

    def __init__(self, *settings: Any, **named: Any) -> None:
        super().__init__(*settings, **named)
        self.dropped: list[float] = []

    def dropped_nll(self, ids_BT: torch.Tensor, kept_BT: torch.Tensor, valid_BT: torch.Tensor) -> torch.Tensor:
        self.dropped.append(float((valid_BT & ~kept_BT).sum() / valid_BT.sum()))
        return super().dropped_nll(ids_BT, kept_BT, valid_BT)


@pytest.mark.parametrize(("ratio", "low", "high"), [((0.85, 0.95), 0.8, 1.0), ((0.1, 0.1), 0.05, 0.15)])
def test_the_mask_ratio_is_the_dropped_share(
    bpe: TextTokenizer, ratio: tuple[float, float], low: float, high: float
) -> None:
    assert bpe.mask_id is not None
    model = Recording("attention", bpe.vocabulary, bpe.mask_id, width=16, layers=1)
    train_reconstructor(model, planted(bpe), recipe(12, mask_ratio=ratio, batch=64))
    assert low < np.mean(model.dropped[:3]) < high
    assert low < np.mean(model.dropped[-3:]) < high

"""Built-in reconstructors: bits of the dropped tokens against a naive computation, and weights on disk."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rlcompress.models.reconstructor import BLOCKS, MaskedReconstructor, weights_hash
from tests.rlcompress.small_models import randomise

V, MASK = 50, 0


def make(kind: str) -> MaskedReconstructor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MaskedReconstructor(kind, V, MASK, width=16, layers=2)
    randomise(model)
    return model.eval()


def rows(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, V, (4, 12), generator=generator)
    kept = torch.rand(4, 12, generator=generator) < 0.5
    kept[3] = True
    valid = torch.arange(12) < torch.tensor([12, 7, 1, 12])[:, None]
    return ids, kept, valid


@pytest.mark.parametrize("kind", sorted(BLOCKS))
def test_bits_equal_the_naive_computation(kind: str) -> None:
    """One row at a time, without padding: mask, run, log-softmax, look up."""
    model, (ids, kept, valid) = make(kind), rows()
    bits, hits = model.dropped_bits(ids, kept, valid)
    assert bits.shape == hits.shape == ids.shape
    for b in range(4):
        size = int(valid[b].sum())
        seen = [int(ids[b, t]) if kept[b, t] else MASK for t in range(size)]
        everything = torch.ones(1, size, dtype=torch.bool)
        with torch.no_grad():
            logits = model.head(model.hidden(torch.tensor([seen]), everything, everything))[0]
        for t in range(12):
            if t >= size or kept[b, t]:
                assert float(bits[b, t]) == 0.0
                assert not hits[b, t]
            else:
                expected = -float(logits[t].log_softmax(-1)[ids[b, t]]) / math.log(2)
                assert float(bits[b, t]) == pytest.approx(expected, abs=1e-4)
                assert bool(hits[b, t]) == (int(logits[t].argmax()) == int(ids[b, t]))
    assert (bits >= 0).all()


@pytest.mark.parametrize("kind", sorted(BLOCKS))
def test_dropped_tokens_are_not_seen(kind: str) -> None:
    """What stands at a dropped or padded place reaches no other place."""
    model, (ids, kept, valid) = make(kind), rows()
    other = torch.where(kept & valid, ids, torch.randint(2, V, ids.shape))
    with torch.no_grad():
        assert torch.equal(model.hidden(ids, kept, valid)[valid], model.hidden(other, kept, valid)[valid])


@pytest.mark.parametrize("kind", sorted(BLOCKS))
def test_other_visible_tokens_change_the_bits(kind: str) -> None:
    model, (ids, kept, valid) = make(kind), rows()
    same, _ = model.dropped_bits(ids, kept, valid, ids)
    other, _ = model.dropped_bits(ids, kept, valid, ids.roll(1, 0))
    assert torch.equal(same, model.dropped_bits(ids, kept, valid)[0])
    assert (other != same)[valid & ~kept].float().mean() > 0.5
    assert not other[kept | ~valid].any()


@pytest.mark.parametrize("kind", sorted(BLOCKS))
def test_guesses_are_the_likeliest_tokens_in_the_gaps(kind: str) -> None:
    """Where a guess is the token itself is where `dropped_bits` says so; what was dropped does not reach a guess."""
    model, (ids, kept, valid) = make(kind), rows()
    dropped = valid & ~kept
    guesses, (_, hits) = model.guesses(ids, kept, valid), model.dropped_bits(ids, kept, valid)
    assert torch.equal(guesses[~dropped], ids[~dropped])
    assert torch.equal((guesses == ids) & dropped, hits)
    other = torch.where(kept & valid, ids, torch.randint(2, V, ids.shape))
    assert torch.equal(model.guesses(other, kept, valid)[dropped], guesses[dropped])
    for b in range(4):
        size = int(valid[b].sum())
        seen = torch.where(kept[b, :size], ids[b, :size], MASK)[None]
        with torch.no_grad():
            likeliest = model.head(model.hidden(seen, seen >= 0, seen >= 0))[0].argmax(-1)
        assert torch.equal(guesses[b, :size], torch.where(kept[b, :size], ids[b, :size], likeliest))
    assert torch.equal(model.guesses(ids, torch.ones_like(kept), valid), ids)


def test_nothing_dropped() -> None:
    ids, _, valid = rows()
    bits, hits = make("attention").dropped_bits(ids, torch.ones_like(valid), valid)
    assert not bits.any()
    assert not hits.any()


def test_nats_of_training_are_the_bits_of_judging() -> None:
    model, (ids, kept, valid) = make("attention"), rows()
    bits, _ = model.dropped_bits(ids, kept, valid)
    nats = model.dropped_nll(ids, kept, valid)
    assert nats.requires_grad
    torch.testing.assert_close(nats.detach() / math.log(2), bits[valid & ~kept])


def test_training_starts_from_unigrams() -> None:
    model = MaskedReconstructor("attention", V, MASK, width=16)
    counts = torch.arange(V)
    model.start_from_unigrams(counts)
    expected = ((counts + 0.5) / (counts + 0.5).sum()).log()
    torch.testing.assert_close(model.head.bias.detach(), expected)


@pytest.mark.parametrize("kind", sorted(BLOCKS))
def test_folder_round_trip(kind: str, tmp_path: Path) -> None:
    model, batch = make(kind), rows()
    model.save(tmp_path)
    loaded = MaskedReconstructor.load(tmp_path)
    assert torch.equal(loaded.dropped_bits(*batch)[0], model.dropped_bits(*batch)[0])
    assert weights_hash(loaded) == weights_hash(model)
    assert {file.name for file in tmp_path.iterdir()} == {"model.safetensors", "reconstructor.json"}
    before = (tmp_path / "model.safetensors").read_bytes()
    model.save(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_the_hash_names_the_weights() -> None:
    model = make("attention")
    before = weights_hash(model)
    assert weights_hash(make("attention")) == before
    with torch.no_grad():
        model.head.bias[3] += 1e-6
    assert weights_hash(model) != before
    assert weights_hash(model.to(torch.bfloat16)) != before

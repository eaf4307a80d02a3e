"""The reconstruction judge, with every kind of model: bits by hand, windows, caches, verdicts alike in any company."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlcompress.judges.build import judge_from_name
from rlcompress.judges.reconstruction import ReconstructionJudge
from rlcompress.models.reconstructor import MaskedReconstructor
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.text.segment import Segmenter
from rlcompress.text.units import token_units
from rlcompress.words import BoolArray, Judgement, JudgeRequest
from tests.rlcompress.small_models import TEXTS, randomise, save_bert, save_gpt2

KINDS = ["attention", "convolution", "bert", "gpt2"]
LONG = " ".join(TEXTS[i] for i in (0, 1, 4, 1, 0))
MakeJudge = Callable[[str], ReconstructionJudge]


@pytest.fixture(scope="module")
def make(bpe: TextTokenizer, tmp_path_factory: pytest.TempPathFactory) -> MakeJudge:
    """A judge with an empty cache; all of one kind share their weights."""
    folders = {"bert": save_bert(tmp_path_factory.mktemp("bert"), positions=64)}
    folders["gpt2"] = save_gpt2(tmp_path_factory.mktemp("gpt2"), bpe)
    models: dict[str, Any] = {}
    for kind in ("attention", "convolution"):
        assert bpe.mask_id is not None
        models[kind] = MaskedReconstructor(kind, bpe.vocabulary, bpe.mask_id, width=32, layers=1).eval()
        randomise(models[kind])
    tokenizers = {kind: bpe for kind in models}
    for kind, folder in folders.items():
        judge = load_small(folder, 48)
        models[kind], tokenizers[kind] = judge.model, judge.tokenizer
    return lambda kind: ReconstructionJudge(models[kind], tokenizers[kind], f"{kind}@1", window=40, chunk=8)


def load_small(folder: Path, window: int) -> ReconstructionJudge:
    """As `judge_from_name`, with a window that a small model can hold."""
    from rlcompress.config.schema import JudgeConfig
    from rlcompress.judges.build import _judge

    kind = "causal" if "gpt2" in folder.name else "masked"
    return _judge(JudgeConfig(model=str(folder), kind=kind, window=window), folder, None)


def request(bpe: TextTokenizer, text: str, kept_N: BoolArray | float, seed: int = 0) -> JudgeRequest:
    units = Segmenter(bpe)(text)
    if isinstance(kept_N, float):
        kept_N = np.random.default_rng(seed).random(len(units)) < kept_N
    return JudgeRequest(text, units.starts_N, kept_N)


def requests(bpe: TextTokenizer) -> list[JudgeRequest]:
    texts = [*TEXTS, LONG, LONG[:90], "One two three."]
    return [request(bpe, text, rate, seed) for seed, text in enumerate(texts) for rate in (0.2, 0.5, 0.8)]


def same(a: Judgement, b: Judgement) -> bool:
    assert a.per_unit_N is not None
    assert b.per_unit_N is not None
    counts = (a.tokens, a.dropped, a.hits, a.version) == (b.tokens, b.dropped, b.hits, b.version)
    return counts and a.score == b.score and bool((a.per_unit_N == b.per_unit_N).all())


@pytest.mark.parametrize("kind", KINDS)
def test_verdicts_equal_the_naive_computation(bpe: TextTokenizer, make: MakeJudge, kind: str) -> None:
    """One window at a time, nothing padded; bits add up over windows and units."""
    judge = make(kind)
    asked = requests(bpe)
    lengths = []
    for one, verdict in zip(asked, judge.judge(asked), strict=True):
        ids_T, spans_T2 = judge.tokenizer.encode(one.source)
        owner_T = token_units(one.source, one.unit_starts_N, spans_T2)
        bits_N, hits = np.zeros(len(one.kept_N)), 0
        for start in range(0, len(ids_T), judge.window):
            part = slice(start, start + judge.window)
            kept = one.kept_N[owner_T[part]]
            for t, cost, hit in naive(judge, ids_T[part].tolist(), kept.tolist()):
                assert cost >= 0
                bits_N[owner_T[start + t]] += cost
                hits += hit
        assert verdict.per_unit_N is not None
        assert verdict.per_unit_N.tolist() == pytest.approx(bits_N.tolist(), abs=2e-3, rel=1e-4)
        assert verdict.score == pytest.approx(bits_N.sum(), rel=1e-4, abs=2e-3)
        assert (verdict.tokens, verdict.hits) == (len(ids_T), hits)
        assert verdict.dropped == int((~one.kept_N[owner_T]).sum())
        assert verdict.version == f"{kind}@1"
        lengths.append(len(ids_T))
    assert max(lengths) > 2 * judge.window


def naive(judge: ReconstructionJudge, ids: list[int], kept: list[bool]) -> list[tuple[int, float, bool]]:
    """(place, bits, guessed) of each dropped token of one row."""
    model: Any = judge.model
    size = len(ids)
    with torch.no_grad():
        if isinstance(model, MaskedReconstructor):
            row = [token if keep else model.mask_id for token, keep in zip(ids, kept, strict=True)]
            everything = torch.ones(1, size, dtype=torch.bool)
            logits = model.head(model.hidden(torch.tensor([row]), everything, everything))[0]
        elif judge.tokenizer.mask_id is not None:
            row = [token if keep else judge.tokenizer.mask_id for token, keep in zip(ids, kept, strict=True)]
            logits = model.model(input_ids=torch.tensor([[2, *row, 3]])).logits[0, 1:-1]
        else:
            separator = judge.tokenizer.encode("\n\n")[0].tolist()
            prompt = [token for token, keep in zip(ids, kept, strict=True) if keep] + separator
            logits = model.model(input_ids=torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
    logp = logits.log_softmax(-1)
    return [
        (t, -float(logp[t, ids[t]]) / math.log(2), int(logp[t].argmax()) == ids[t]) for t in range(size) if not kept[t]
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_company_and_order_change_no_bit(bpe: TextTokenizer, make: MakeJudge, kind: str) -> None:
    asked = requests(bpe)
    alone = [make(kind).judge([one])[0] for one in asked]
    rng = np.random.default_rng(0)
    for size in (len(asked), len(asked), len(asked) // 2, 5):
        chosen = rng.permutation(len(asked))[:size]
        together = make(kind).judge([asked[i] for i in chosen])
        assert all(same(alone[i], verdict) for i, verdict in zip(chosen, together, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_cached_verdict_is_the_computed_one(bpe: TextTokenizer, make: MakeJudge, kind: str) -> None:
    judge, asked = make(kind), requests(bpe)
    first = judge.judge(asked[:10])
    copies = [JudgeRequest(one.source, one.unit_starts_N.copy(), one.kept_N.copy()) for one in asked]
    again = judge.judge([*copies[:10][::-1], asked[11], copies[11]])
    assert all(same(a, b) for a, b in zip(first[::-1], again[:10], strict=True))
    assert same(again[10], again[11])
    distinct = len({one.key() for one in [*asked[:10], asked[11]]})
    assert (judge.asked, judge.computed) == (22, distinct)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_trained_on_is_what_is_judged(bpe: TextTokenizer, make: MakeJudge, kind: str) -> None:
    """Nats of the dropped tokens alone, with a gradient; padding, and what stands there, plays no part."""
    judge = make(kind)
    model: Any = judge.model
    texts = [judge.tokenizer.encode(text)[0][:20] for text in TEXTS]
    ids, valid = torch.full((len(texts), 26), 7), torch.zeros(len(texts), 26, dtype=torch.bool)
    for b, ids_T in enumerate(texts):
        ids[b, : len(ids_T)], valid[b, : len(ids_T)] = torch.from_numpy(ids_T), True
    kept = torch.rand(ids.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    bits, _ = model.dropped_bits(ids, kept, valid)
    nats = model.dropped_nll(ids, kept, valid)
    assert nats.requires_grad
    torch.testing.assert_close(nats.detach() / math.log(2), bits[valid & ~kept], atol=1e-4, rtol=1e-4)
    other = torch.where(valid, ids, 11)
    torch.testing.assert_close(model.dropped_nll(other, kept ^ ~valid, valid), nats)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_costs_nothing(bpe: TextTokenizer, make: MakeJudge, kind: str) -> None:
    judge = make(kind)
    n = len(Segmenter(bpe)(LONG))
    full, none, most = judge.judge(
        [request(bpe, LONG, np.full(n, k)) for k in (True, False)] + [request(bpe, LONG, 0.9)]
    )
    assert (full.score, full.dropped, full.hits) == (0.0, 0, 0)
    assert none.dropped == none.tokens == full.tokens
    assert none.score > most.score > 0
    for verdict, kept in [(none, np.zeros(n, bool)), (most, request(bpe, LONG, 0.9).kept_N)]:
        assert verdict.per_unit_N is not None
        assert (verdict.per_unit_N >= 0).all()
        assert not verdict.per_unit_N[kept].any()
        assert verdict.per_unit_N.sum() == pytest.approx(verdict.score)
        assert 0 <= verdict.hits <= verdict.dropped


def test_nothing_to_judge(bpe: TextTokenizer, make: MakeJudge) -> None:
    judge = make("attention")
    assert judge.judge([]) == []
    empty, blank = judge.judge([request(bpe, "", np.zeros(0, bool)), request(bpe, " \n ", np.zeros(1, bool))])
    assert (empty.score, empty.tokens) == (0.0, 0)
    assert empty.per_unit_N is not None
    assert len(empty.per_unit_N) == 0
    assert empty.per_unit_N.dtype.kind == "f"
    assert blank.tokens == blank.dropped > 0
    assert blank.score > 0


# ------------------------------------------------------------------------------------------------ texts


@pytest.mark.parametrize("kind", KINDS)
def test_reconstructions_equal_the_naive_ones(bpe: TextTokenizer, make: MakeJudge, kind: str) -> None:
    """One window at a time, nothing padded: kept tokens as they are, the likeliest token in each gap."""
    judge = make(kind)
    asked = requests(bpe)
    changed = 0
    for one, (original, filled) in zip(asked, judge.reconstruct(asked), strict=True):
        ids_T, spans_T2 = judge.tokenizer.encode(one.source)
        kept_T = one.kept_N[token_units(one.source, one.unit_starts_N, spans_T2)]
        expected: list[int] = []
        for start in range(0, len(ids_T), judge.window):
            part = slice(start, start + judge.window)
            expected += naive_guesses(judge, ids_T[part].tolist(), kept_T[part].tolist())
        assert filled == judge.tokenizer.decode(np.asarray(expected))
        assert original == judge.tokenizer.decode(ids_T)
        assert kind == "bert" or original == one.source
        changed += filled != original
    assert changed > len(asked) / 2


def naive_guesses(judge: ReconstructionJudge, ids: list[int], kept: list[bool]) -> list[int]:
    model: Any = judge.model
    causal = judge.tokenizer.mask_id is None or not hasattr(model, "mask_id")
    mask = 0 if causal else model.mask_id
    seen = [token if keep else mask for token, keep in zip(ids, kept, strict=True)]
    with torch.no_grad():
        if isinstance(model, MaskedReconstructor):
            everything = torch.ones(1, len(ids), dtype=torch.bool)
            guesses = model.head(model.hidden(torch.tensor([seen]), everything, everything))[0].argmax(-1).tolist()
        elif not causal:
            guesses = model.model(input_ids=torch.tensor([[2, *seen, 3]])).logits[0, 1:-1].argmax(-1).tolist()
        else:  # word by word, the whole row again for each
            row = [token for token, keep in zip(ids, kept, strict=True) if keep]
            row += judge.tokenizer.encode("\n\n")[0].tolist()
            guesses = []
            for token, keep in zip(ids, kept, strict=True):
                likeliest = int(model.model(input_ids=torch.tensor([row])).logits[0, -1].argmax())
                guesses.append(likeliest)
                row.append(token if keep else likeliest)
    return [token if keep else guess for token, keep, guess in zip(ids, kept, guesses, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_dropped_does_not_reach_a_reconstruction(bpe: TextTokenizer, make: MakeJudge, kind: str) -> None:
    model: Any = make(kind).model
    ids = torch.randint(10, 60, (3, 20), generator=torch.Generator().manual_seed(1))
    kept = torch.rand(ids.shape, generator=torch.Generator().manual_seed(2)) < 0.6
    valid = torch.arange(20) < torch.tensor([20, 13, 6])[:, None]
    dropped = valid & ~kept
    other = torch.where(kept & valid, ids, torch.randint(10, 60, ids.shape))
    assert torch.equal(model.guesses(ids, kept, valid)[dropped], model.guesses(other, kept, valid)[dropped])
    assert torch.equal(model.guesses(ids, kept, valid)[kept & valid], ids[kept & valid])


@pytest.mark.parametrize("kind", KINDS)
def test_company_changes_no_reconstruction(bpe: TextTokenizer, make: MakeJudge, kind: str) -> None:
    judge, asked = make(kind), requests(bpe)[:9]
    assert judge.reconstruct(asked) == [judge.reconstruct([one])[0] for one in asked]
    whole = judge.reconstruct([one.whole() for one in asked])
    assert all(filled == original for original, filled in whole)
    assert judge.reconstruct([]) == []


def test_hits_are_counted(bpe: TextTokenizer) -> None:
    """A model that always guesses one token."""
    text = "a b a c a a b a"
    ids_T = bpe.encode(text)[0]
    guess = int(np.bincount(ids_T).argmax())

    class Constant:
        def dropped_bits(self, ids: torch.Tensor, kept: torch.Tensor, valid: torch.Tensor, _: Any = None) -> Any:
            dropped = valid & ~kept
            return dropped.float() * 2.5, dropped & (ids == guess)

    judge = ReconstructionJudge(Constant(), bpe, "constant", window=7, chunk=2)
    verdict = judge.judge([request(bpe, text, np.zeros(8, bool))])[0]
    assert verdict.score == 2.5 * len(ids_T)
    assert verdict.hits == (ids_T == guess).sum() > 1


def test_the_real_loader_agrees(bpe: TextTokenizer, tmp_path: Path) -> None:
    folder = save_gpt2(tmp_path / "gpt2", bpe)
    asked = requests(bpe)[:6]
    a, b = judge_from_name(str(folder)), load_small(folder, 128)
    assert a.version == b.version != f"{folder}@hub"
    assert all(same(x, y) for x, y in zip(a.judge(asked), b.judge(asked), strict=True))

"""Batched sampling against one token at a time, in any company, for each architecture."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from rlcompress.config.generating import DecodingConfig, LanguageConfig
from rlcompress.generation.decoding import next_token
from rlcompress.generation.language import LanguageModel
from rlcompress.generation.loading import load_language
from rlcompress.generation.prompting import Prompt
from rlcompress.generation.teacher_forcing import given_logp, sequence_logp
from rlcompress.generation.writing import Ending, Written, write

PROMPTS = [
    "One",
    "The old man, who was well-known, paid 1,234.50 of it.",
    "日本語",
    "zq and qz " * 6,
    "Tom has 80",
]
SAMPLED = DecodingConfig(max_new_tokens=24, temperature=0.8, top_p=0.95)
GREEDY = DecodingConfig(max_new_tokens=12, temperature=0)


def ids_of(language: LanguageModel, texts: Sequence[str] = PROMPTS) -> list[list[int]]:
    return [language.prompt_ids(Prompt("", text, "\n")) for text in texts]


@torch.no_grad()
def slow(language: LanguageModel, prompt: list[int], decoding: DecodingConfig, seed: int) -> tuple[list[int], list]:
    """One whole forward a token, without padding, mask, positions or cache."""
    uniform = np.random.default_rng(seed).random(decoding.max_new_tokens)
    ids: list[int] = []
    logps = []
    for t in range(decoding.max_new_tokens):
        logits = language.model(torch.tensor([[*prompt, *ids]])).logits[:, -1]
        drawn, *logp = next_token(logits, decoding, torch.tensor(uniform[t : t + 1]))
        ids.append(int(drawn))
        logps.append([float(x) for x in logp])
        if ids[-1] in language.end_ids:
            break
    return ids, logps


def same(one: Written, other: Written) -> bool:
    return one.ids == other.ids and one.logp_T.tolist() == other.logp_T.tolist() and one.ending == other.ending


@pytest.mark.parametrize("decoding", [SAMPLED, GREEDY], ids=["sampled", "greedy"])
def test_it_writes_what_the_slow_twin_writes(language: LanguageModel, decoding: DecodingConfig) -> None:
    prompts = ids_of(language)
    for seed, (prompt, found) in enumerate(zip(prompts, write(language, prompts, decoding), strict=True)):
        ids, logps = slow(language, prompt, decoding, seed)
        assert found.ids == ids
        assert found.logp_T.tolist() == pytest.approx([x for x, _ in logps], abs=1e-4)
        assert found.sampling_logp_T.tolist() == pytest.approx([x for _, x in logps], abs=1e-4)
        assert found.text == language.decode([i for i in ids if i not in language.end_ids])


def test_company_changes_no_bit(language: LanguageModel) -> None:
    prompts = ids_of(language)
    prompts += [prompts[1][:16], prompts[1][:15]]  # a bucket's whole width and one less
    seeds = [[7, i] for i in range(len(prompts))]
    together = write(language, prompts, SAMPLED, seeds=seeds)
    for i, prompt in enumerate(prompts):
        assert same(write(language, [prompt], SAMPLED, seeds=[seeds[i]])[0], together[i])
    whole = [prompts[3][i : i + 16] for i in range(4)]  # a chunk of nothing but whole rows
    for seed, found in enumerate(write(language, whole, SAMPLED)):
        assert same(write(language, [whole[seed]], SAMPLED, seeds=[seed])[0], found)
    backwards = write(language, prompts[::-1], SAMPLED, seeds=seeds[::-1])[::-1]
    assert all(map(same, backwards, together))
    assert len({tuple(w.ids) for w in write(language, prompts[:1] * 3, SAMPLED)}) == 3, "a seed is a sample"


def test_the_learner_computes_what_was_recorded(language: LanguageModel) -> None:
    prompts = [*ids_of(language), ids_of(language)[0]]
    outputs = write(language, prompts, DecodingConfig(max_new_tokens=40))
    outputs[-1] = write(language, prompts[-1:], DecodingConfig(max_new_tokens=2))[0]
    logp_BO, output_BO = sequence_logp(language, prompts, [w.ids for w in outputs])
    assert logp_BO.requires_grad
    assert output_BO.sum(1).tolist() == [len(w.ids) for w in outputs]
    assert (logp_BO[~output_BO] == 0).all()
    for b, found in enumerate(outputs):
        ratio = np.exp(logp_BO[b, output_BO[b]].detach().numpy() - found.logp_T)
        assert ratio == pytest.approx(np.ones(len(found.ids)), abs=1e-4)
    given = given_logp(language, prompts, [w.ids for w in outputs])
    for i, found in enumerate(outputs):
        assert given[i] == pytest.approx(found.logp_T, abs=1e-4)
        assert given_logp(language, [prompts[i]], [found.ids])[0].tolist() == given[i].tolist()


def test_saved_and_loaded_again_it_writes_the_same(language: LanguageModel, tmp_path: Path) -> None:
    language.save(tmp_path)
    again = load_language(LanguageConfig(model=str(tmp_path), chunk=language.chunk))
    prompts = ids_of(language)
    assert ids_of(again) == prompts
    assert all(map(same, write(again, prompts, SAMPLED), write(language, prompts, SAMPLED)))


def test_a_tempered_distribution_has_its_own_log_probabilities(llama: LanguageModel) -> None:
    found = write(llama, ids_of(llama), DecodingConfig(max_new_tokens=10, temperature=0.5))
    logp_BO, _ = sequence_logp(llama, ids_of(llama), [w.ids for w in found], temperature=0.5)
    for b, w in enumerate(found):
        assert logp_BO[b, : len(w.ids)].tolist() == pytest.approx(w.sampling_logp_T.tolist(), abs=1e-4)
        assert np.abs(w.sampling_logp_T - w.logp_T).max() > 1e-2


class Calculator:
    """Says 190 after the third token and nothing else."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, text: str) -> str | None:
        self.asked.append(text)
        return "190>>" if len(self.asked) == 3 else None


def test_what_is_inserted_stands_there_and_is_not_learned_from(language: LanguageModel) -> None:
    prompts = ids_of(language)[1:2]
    endless = copy.copy(language)
    endless.end_ids = frozenset()
    calculator = Calculator()
    plain = write(endless, prompts, SAMPLED)[0]
    found = write(endless, prompts, SAMPLED, insert=calculator)[0]
    inserted = np.flatnonzero(~found.sampled_T).tolist()
    assert inserted == list(range(3, 3 + len(language.following_ids("190>>"))))
    assert found.ids[:3] == plain.ids[:3]
    assert found.text.startswith(calculator.asked[2] + "190>>")
    assert found.logp_T[inserted].tolist() == found.sampling_logp_T[inserted].tolist() == [0.0] * len(inserted)
    logp_BO, output_BO = sequence_logp(language, [*prompts, *ids_of(language)[:1]], [found.ids, plain.ids[:2]])
    ratio = np.exp(logp_BO[0, output_BO[0]].detach().numpy() - found.logp_T)[found.sampled_T]
    assert ratio == pytest.approx(np.ones(len(ratio)), abs=1e-4)
    others = write(endless, prompts * 2, SAMPLED, seeds=[0, 0], insert=lambda text: None)
    assert same(others[0], plain)
    assert same(others[1], plain)


def test_how_an_output_ends(llama: LanguageModel) -> None:
    prompts = ids_of(llama)
    cut, ended = (write(llama, prompts[:1], DecodingConfig(max_new_tokens=n))[0] for n in (3, 3))
    assert (cut.ending, len(cut.ids)) == (Ending.TRUNCATED, 3)
    stopping = copy.copy(llama)
    stopping.end_ids = frozenset(cut.ids[1:2])
    ended = write(stopping, prompts[:1], DecodingConfig(max_new_tokens=3))[0]
    assert (ended.ending, ended.ids, ended.text) == (Ending.ENDED, cut.ids[:2], llama.decode(cut.ids[:1]))
    room = llama.window - len(prompts[0])
    long = write(llama, [prompts[0], prompts[0]], DecodingConfig(max_new_tokens=room + 1))
    assert [(w.ending, w.ids, w.text) for w in long] == [(Ending.TOO_LONG, [], "")] * 2
    assert len(write(llama, prompts[:1], DecodingConfig(max_new_tokens=room, temperature=0))[0].ids) > 0
    assert write(llama, [], SAMPLED) == []


def test_a_model_that_breaks_is_a_status(llama: LanguageModel) -> None:
    broken = copy.copy(llama)
    broken.model = copy.deepcopy(llama.model)
    with torch.no_grad():
        broken.model.lm_head.weight[5] = float("nan")
    found = write(broken, ids_of(llama), SAMPLED)
    assert {w.ending for w in found} == {Ending.FAILED}

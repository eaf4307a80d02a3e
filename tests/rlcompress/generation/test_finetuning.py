"""Fine-tuning: the loss against numpy, what learns, when it ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import rlcompress.generation.finetuning as finetuning
from rlcompress.config.generating import DecodingConfig, FineTuningConfig, LanguageConfig, LoraConfig
from rlcompress.errors import UserError
from rlcompress.generation.finetuning import CompletionModel, Pair, encoded, fine_tune, learning_rate, loss_of
from rlcompress.generation.language import LanguageModel
from rlcompress.generation.loading import load_language
from rlcompress.generation.lora import add_adapter, learned_state
from rlcompress.generation.prompting import Prompt, RewritingTemplate
from rlcompress.generation.writing import write
from rlcompress.models.reconstructor import weights_hash
from rlcompress.problems.calculator import insertion

WORDS = ["tom has 80 apples", "the old man paid", "again and again it came", "one token", "others of it paid 1,234.50"]
QUICK = FineTuningConfig(steps=12, batch=4, learning_rate=1e-2, warmup=2, validate_every=4, patience=9)


@pytest.fixture
def language(llama_folder: Path) -> LanguageModel:
    return load_language(LanguageConfig(model=str(llama_folder), chunk=4))


def pairs_of(language: LanguageModel, words: list[str] = WORDS) -> list[Pair]:
    template = RewritingTemplate()
    return encoded(language, [(template.prompt(f"please, {w}", 0.5), template.completion(w)) for w in words])


@torch.no_grad()
def slow_losses(language: LanguageModel, pairs: list[Pair]) -> list[float]:
    """−log p of each token of each completion by one unpadded forward a row and a softmax in numpy."""
    found = []
    for prompt, completion, inserted in pairs:
        logits = language.model(torch.tensor([[*prompt, *completion]])).logits[0].numpy().astype(np.float64)
        for t, token in enumerate(completion, len(prompt)):
            row = logits[t - 1]
            nll = float(np.log(np.exp(row - row.max()).sum()) + row.max() - row[token])
            found += [nll] if t - len(prompt) not in inserted else []
    return found


def test_the_loss_is_of_completions_alone(language: LanguageModel) -> None:
    pairs = pairs_of(language)
    slow = slow_losses(language, pairs)
    nll = CompletionModel(language.model).dropped_nll(*finetuning._tensors(language, pairs))
    assert sorted(nll.tolist()) == pytest.approx(sorted(slow), abs=1e-4)
    assert loss_of(language, pairs) == pytest.approx(np.mean(slow), abs=1e-5)
    first = fine_tune(language, pairs, [], FineTuningConfig(steps=1, batch=len(pairs))).losses
    assert first == pytest.approx([np.mean(slow)], abs=1e-4)


def test_gradients_do_not_depend_on_micro_batches(language: LanguageModel, llama_folder: Path) -> None:
    other = load_language(LanguageConfig(model=str(llama_folder), chunk=4))
    whole = FineTuningConfig(steps=3, batch=5, learning_rate=1e-3, warmup=0)
    one = fine_tune(language, pairs_of(language), [], whole)
    two = fine_tune(other, pairs_of(other), [], whole.model_copy(update={"micro_batch": 2}))
    assert one.losses == pytest.approx(two.losses, abs=1e-4)


def test_what_was_learned_is_written(language: LanguageModel) -> None:
    pairs = pairs_of(language)
    done = fine_tune(language, pairs, pairs, FineTuningConfig(steps=100, batch=5, learning_rate=1e-2))
    assert done.validation[-1][1] < 0.05 * done.validation[0][1]
    assert not language.model.training
    greedy = DecodingConfig(max_new_tokens=40, temperature=0)
    assert [w.text for w in write(language, [pair.prompt for pair in pairs], greedy)] == WORDS


def test_a_model_learns_to_leave_the_calculator_its_part(language: LanguageModel) -> None:
    told = [(3, "He has <<80+110=190>>190 apples. #### 190"), (4, "<<7*8=56>>56 and <<56+1=57>>57 #### 57")]
    prompts = [Prompt("", f"problem {number}", "\n") for number, _ in told]
    pairs = encoded(language, list(zip(prompts, [text for _, text in told], strict=True)), insertion)
    plain = encoded(language, list(zip(prompts, [text for _, text in told], strict=True)))
    assert [p.length for p in pairs] != [p.length for p in plain], "tokens would have reached over the mark"
    assert [language.decode(pair.completion[:-1]) for pair in pairs] == [text for _, text in told]
    assert [language.decode([ids[i] for i in sorted(told)]) for _, ids, told in pairs] == ["190>>", "56>>57>>"]
    assert not any(pair.inserted for pair in plain)
    slow = slow_losses(language, pairs)
    nll = CompletionModel(language.model).dropped_nll(*finetuning._tensors(language, pairs))
    assert sorted(nll.tolist()) == pytest.approx(sorted(slow), abs=1e-4)
    assert loss_of(language, pairs) == pytest.approx(np.mean(slow), abs=1e-5)
    fine_tune(language, pairs, [], FineTuningConfig(steps=120, batch=2, learning_rate=1e-2))
    greedy = DecodingConfig(max_new_tokens=60, temperature=0)
    found = write(language, [pair.prompt for pair in pairs], greedy, insert=insertion)
    assert [w.text for w in found] == [text for _, text in told]
    assert [w.ids for w in found] == [list(pair.completion) for pair in pairs]
    assert language.decode([i for i, s in zip(found[0].ids, found[0].sampled_T, strict=True) if not s]) == "190>>"
    lying = write(language, [pairs[0].prompt], greedy, insert=lambda text: "7>>" if text.endswith("0=") else None)
    assert "<<80+110=7>>" in lying[0].text


def test_adapters_learn_the_base_stays(language: LanguageModel) -> None:
    before = {name: p.clone() for name, p in language.model.named_parameters()}
    adapted = add_adapter(language, LoraConfig(rank=8))
    pairs = pairs_of(adapted)
    done = fine_tune(adapted, pairs, pairs, QUICK.model_copy(update={"steps": 40, "validate_every": 20}))
    assert done.validation[-1][1] < 0.6 * done.validation[0][1]
    for name, p in adapted.model.get_base_model().named_parameters():
        if "lora_" not in name:
            assert torch.equal(p, before[name.replace(".base_layer", "")])


def test_the_weights_of_the_validation_optimum_stay(language: LanguageModel) -> None:
    pairs, other = pairs_of(language), pairs_of(language, ["extraordinary: several become others again"])
    seen: dict[int, str] = {0: weights_hash(language.model)}
    settings = FineTuningConfig(steps=60, batch=4, learning_rate=2e-2, warmup=0, validate_every=2, patience=3)
    done = fine_tune(
        language, pairs, other, settings, lambda step, loss: seen.update({step + 1: weights_hash(language.model)})
    )
    best = min(done.validation, key=lambda at: at[1])
    assert done.best == best[0]
    assert weights_hash(language.model) == seen[best[0]]
    assert loss_of(language, other) == best[1]
    assert len(done.losses) == best[0] + 3 * 2 < 60, "three validations without a new best end it"


def test_it_is_repeated_to_the_bit(language: LanguageModel, llama_folder: Path) -> None:
    other = load_language(LanguageConfig(model=str(llama_folder), chunk=4))
    results = [fine_tune(model, pairs_of(model), pairs_of(model), QUICK) for model in (language, other)]
    assert results[0] == results[1]
    assert weights_hash(language.model) == weights_hash(other.model)


def test_memory_runs_out(language: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    real, sizes = finetuning.output_logp, []

    def small(model: object, ids_BT: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        sizes.append(len(ids_BT))
        if len(ids_BT) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return real(model, ids_BT, *more)

    monkeypatch.setattr(finetuning, "output_logp", small)
    assert np.isfinite(fine_tune(language, pairs_of(language), [], FineTuningConfig(steps=1, batch=5)).losses[0])
    assert sizes == [5, 2, 2, 1]


def test_batches_hold_like_lengths_and_each_pair_once_an_epoch() -> None:
    pairs = [Pair([0] * (1 + i % 10), [i]) for i in range(64)]
    batches = finetuning._batches(pairs, FineTuningConfig(batch=8))
    epoch = [next(batches) for _ in range(8)]
    assert sorted(c[0] for batch in epoch for _, c, _ in batch) == list(range(64))
    assert (
        max(max(map(len, prompts)) - min(map(len, prompts)) for prompts in ([p for p, _, _ in b] for b in epoch)) <= 2
    )
    second = [next(batches) for _ in range(8)]
    assert sorted(c[0] for batch in second for _, c, _ in batch) == list(range(64))
    assert second != epoch


def test_the_rate_rises_and_falls() -> None:
    config = FineTuningConfig(steps=100, warmup=10, learning_rate=1.0)
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert np.argmax(rates) == 9
    assert rates[50] == pytest.approx(0.5)
    assert rates[99] < 1e-3


def test_mistakes_are_named(language: LanguageModel) -> None:
    with pytest.raises(UserError, match="no pairs to fine-tune on"):
        encoded(language, [])
    with pytest.raises(UserError, match=r"pair 2 is \d+ tokens and .* reads 160"):
        pairs_of(language, ["one", "again and again 日本語 " * 20])
    assert learned_state(language.model).keys() == dict(language.model.named_parameters()).keys()

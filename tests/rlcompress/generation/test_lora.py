"""Adapters: only they learn, travel and are saved; reloaded and merged they say the same."""

from __future__ import annotations

import importlib.util
import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rlcompress.config.generating import DecodingConfig, LanguageConfig, LoraConfig
from rlcompress.errors import UserError
from rlcompress.generation.language import LanguageModel
from rlcompress.generation.loading import load_language
from rlcompress.generation.lora import add_adapter, export_merged, learned_state, save_adapter, set_learned_state
from rlcompress.generation.prompting import Prompt
from rlcompress.generation.teacher_forcing import sequence_logp
from rlcompress.generation.writing import write
from rlcompress.models.reconstructor import weights_hash
from tests.rlcompress.language_models import ARCHITECTURES, TEXTS, save_language

GREEDY = DecodingConfig(max_new_tokens=8, temperature=0)
SMALL = LoraConfig(rank=2, alpha=4)


def shake(language: LanguageModel) -> None:
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in language.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))


def said(language: LanguageModel) -> tuple[list[str], torch.Tensor]:
    prompts = [language.prompt_ids(Prompt("", text, "\n")) for text in TEXTS[:3]]
    logp_BO, _ = sequence_logp(language, prompts, [language.output_ids(text) for text in TEXTS[2:]])
    return [w.text for w in write(language, prompts, GREEDY)], logp_BO.detach()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_saved_reloaded_merged(architecture: str, tmp_path: Path) -> None:
    folder = save_language(tmp_path / "base", architecture)
    plain = load_language(LanguageConfig(model=str(folder)))
    adapted = add_adapter(load_language(LanguageConfig(model=str(folder))), SMALL)
    assert torch.equal(said(adapted)[1], said(plain)[1]), "a new adapter changes nothing"
    shake(adapted)
    texts, logp = said(adapted)
    assert (logp - said(plain)[1]).abs().max() > 0.1

    save_adapter(adapted, tmp_path / "adapter")
    saved = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    learned = learned_state(adapted.model)
    assert len(saved) == len(learned)
    assert all("lora_" in name for name in (*saved, *learned))
    again = load_language(LanguageConfig(model=str(tmp_path / "adapter")))
    assert said(again)[0] == texts
    assert torch.equal(said(again)[1], logp)
    assert not learned_state(again.model), "loaded to be used, not to be learned"
    assert learned_state(load_language(LanguageConfig(model=str(tmp_path / "adapter")), learn=True).model).keys()

    export_merged(tmp_path / "adapter", tmp_path / "merged")
    merged = load_language(LanguageConfig(model=str(tmp_path / "merged")))
    assert type(merged.model) is type(plain.model)
    assert said(merged)[0] == texts
    assert said(merged)[1].numpy() == pytest.approx(logp.numpy(), abs=1e-5)


def test_what_travels_is_the_adapter_alone(llama_folder: Path) -> None:
    one, other = (add_adapter(load_language(LanguageConfig(model=str(llama_folder))), SMALL) for _ in range(2))
    assert weights_hash(one.model) == weights_hash(other.model), "a seed is an adapter"
    shake(one)
    state = pickle.loads(pickle.dumps(learned_state(one.model)))
    whole = sum(p.numel() for p in one.model.parameters())
    assert sum(x.numel() for x in state.values()) < whole / 3
    set_learned_state(other.model, state)
    assert weights_hash(one.model) == weights_hash(other.model)
    with pytest.raises(ValueError, match="the state of another model"):
        set_learned_state(other.model, dict(list(state.items())[1:]))


def test_chosen_layers_and_rank(llama_folder: Path) -> None:
    chosen = LoraConfig(rank=3, targets=("q_proj",))
    state = learned_state(add_adapter(load_language(LanguageConfig(model=str(llama_folder))), chosen).model)
    assert {name.partition(".self_attn.")[2].partition(".")[0] for name in state} == {"q_proj"}
    assert {min(x.shape) for x in state.values()} == {3}


def test_mistakes_are_named(llama_folder: Path, tmp_path: Path) -> None:
    plain = LanguageConfig(model=str(llama_folder))
    with pytest.raises(UserError, match=r"lora.targets \['attention'\] cannot be adapted .* use down_proj, "):
        add_adapter(load_language(plain), LoraConfig(targets=("attention",)))
    adapted = add_adapter(load_language(plain), SMALL)
    with pytest.raises(UserError, match="has adapters already"):
        add_adapter(adapted, SMALL)
    save_adapter(adapted, tmp_path / "a")
    (tmp_path / "a" / "adapter_model.safetensors").rename(tmp_path / "a" / "adapter_model.bin")
    with pytest.raises(UserError, match=r"has no adapter_model\.safetensors"):
        load_language(LanguageConfig(model=str(tmp_path / "a")))
    with pytest.raises(UserError, match="quantise 4bit needs a CUDA device and this is cpu"):
        load_language(LanguageConfig(model=str(llama_folder), quantise="4bit"))


def test_bitsandbytes_is_asked_for_by_name(llama_folder: Path) -> None:
    if importlib.util.find_spec("bitsandbytes") is not None:
        pytest.skip("bitsandbytes is installed")
    with pytest.raises(UserError, match="quantise 8bit needs bitsandbytes: pip install bitsandbytes"):
        load_language(LanguageConfig(model=str(llama_folder), quantise="8bit"), torch.device("cuda"))


def test_another_base_is_refused(tmp_path: Path) -> None:
    folder = save_language(tmp_path / "base", "gpt2")
    save_adapter(add_adapter(load_language(LanguageConfig(model=str(folder))), SMALL), tmp_path / "a")
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"resid_pdrop": 0.3}))
    with pytest.raises(UserError, match="was learned on other files"):
        load_language(LanguageConfig(model=str(tmp_path / "a")))

"""Prompts as text and as ids: what a user writes never becomes a token that ends a turn."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rlcompress.config.generating import EvaluatorConfig, LanguageConfig, RewritingTemplateConfig
from rlcompress.errors import UserError
from rlcompress.generation.language import LanguageModel, load_base
from rlcompress.generation.prompting import Prompt, RewritingTemplate
from rlcompress.problems.calculator import insertion
from tests.rlcompress.language_models import POSITIONS, TEXTS, save_language, small_language

TEMPLATE = RewritingTemplate()


@pytest.fixture(scope="module")
def phi3(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return small_language(tmp_path_factory.mktemp("phi3"), "phi3")


def test_the_template_holds_rate_and_text() -> None:
    prompt = TEMPLATE.prompt("  Tom {percent} has {text} 80 apples.\n", 0.666)
    assert prompt.content == "Tom {percent} has {text} 80 apples."
    assert "Rewrite in 67 % of" in prompt.before
    assert prompt.text == prompt.before + prompt.content + "\nRewritten:\n"
    assert TEMPLATE.rewritten("\n" + TEMPLATE.completion(" 80 apples\n")) == "80 apples"


def test_a_chat_model_reads_a_turn_and_ends_its_own(phi3: LanguageModel) -> None:
    prompt = TEMPLATE.prompt("Tom has 80.", 0.5, phi3.tokenizer)
    assert prompt.text.startswith("<|user|>\nRewrite in 50 % of")
    assert prompt.text.endswith("Tom has 80.\nRewritten:\n<|end|>\n<|assistant|>\n")
    ids = phi3.prompt_ids(prompt)
    turn = phi3.tokenizer.convert_tokens_to_ids(["<|user|>", "<|end|>", "<|assistant|>"])
    assert [i for i in ids if i in turn] == turn
    assert phi3.output_ids("80")[-1] == turn[1]
    assert {turn[1], phi3.tokenizer.eos_token_id} <= phi3.end_ids
    plain = RewritingTemplate(RewritingTemplateConfig(chat=False)).prompt("Tom", 0.5, phi3.tokenizer)
    assert "<|user|>" not in plain.text


def test_special_tokens_in_a_text_are_text(language: LanguageModel) -> None:
    special = set(language.tokenizer.added_tokens_decoder)
    honest = language.prompt_ids(TEMPLATE.prompt("Tom has 80.", 0.5, language.tokenizer))
    for token in map(str, language.tokenizer.added_tokens_decoder.values()):
        text = f"Tom {token} has 80."
        ids = language.prompt_ids(TEMPLATE.prompt(text, 0.5, language.tokenizer))
        assert [i for i in ids if i in special] == [i for i in honest if i in special]
        assert not special & set(language.encode(text))
        assert language.decode(language.encode(text)).strip() == text


@given(text=st.text())
def test_an_output_comes_back(text: str, llama: LanguageModel) -> None:
    completion = TEMPLATE.completion(text)
    ids = llama.output_ids(completion)
    assert ids[-1] == llama.end_id
    assert llama.decode(ids[:-1]) == completion.encode("utf-8", "replace").decode()


def test_a_start_token_and_never_nothing(llama: LanguageModel, tmp_path: Path) -> None:
    assert llama.prompt_ids(Prompt("", "a", ""))[0] == llama.tokenizer.bos_token_id
    assert llama.prompt_ids(Prompt("", "a", "", marked=True))[0] != llama.tokenizer.bos_token_id
    gpt2 = small_language(tmp_path, "gpt2")
    assert gpt2.prompt_ids(Prompt("", "", "")) == [gpt2.end_id]


def test_a_text_in_the_middle_of_another(language: LanguageModel) -> None:
    for text in ("190>>", " and", "7"):
        whole = [*language.encode("<<80+110="), *language.following_ids(text)]
        assert language.decode(whole) == "<<80+110=" + text


@given(parts=st.lists(st.sampled_from(["<<7+8=15>>", "15", " = ", "an apple ", "<<1/0=3>>", "日本", "<<2*3=7>>"])))
def test_an_output_with_a_calculator_comes_back(parts: list[str], llama: LanguageModel) -> None:
    text = "".join(parts).strip()
    assert llama.decode(llama.output_ids(text, insertion)[:-1]) == text
    if "<<7+8=15>>" not in parts:
        assert llama.output_ids(text, insertion) == llama.output_ids(text), "nothing was calculated"


def test_it_crosses_processes(language: LanguageModel) -> None:
    again = pickle.loads(pickle.dumps(language))
    assert again.prompt_ids(Prompt("", TEXTS[0], "")) == language.prompt_ids(Prompt("", TEXTS[0], ""))


def test_mistakes_are_named(llama_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"language model .*nowhere.* cannot be loaded"):
        load_base(LanguageConfig(model=str(tmp_path / "nowhere")))
    with pytest.raises(UserError, match=f"reads {POSITIONS} tokens and window is {POSITIONS + 1}: lower the window"):
        load_base(LanguageConfig(model=str(llama_folder), window=POSITIONS + 1))
    with pytest.raises(ValidationError, match=r"must hold \{text\} once"):
        RewritingTemplateConfig(text="Shorten")
    with pytest.raises(ValidationError, match=r"must hold \{answer\} once"):
        EvaluatorConfig(model="m", answer="{answer} or {answer}")


def test_scaled_positions_end_where_scaling_begins(tmp_path: Path) -> None:
    folder = save_language(tmp_path, "phi3")
    settings = json.loads((folder / "config.json").read_text())
    factors = [1.0, 1.0]
    scaled = {"rope_type": "longrope", "short_factor": factors, "long_factor": factors, "rope_theta": 10000.0}
    settings |= {"rope_parameters": scaled | {"original_max_position_embeddings": 64}}
    settings |= {"original_max_position_embeddings": 64}
    (folder / "config.json").write_text(json.dumps(settings))
    assert load_base(LanguageConfig(model=str(folder))).window == 64

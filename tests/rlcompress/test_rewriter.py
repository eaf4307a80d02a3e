"""A rewriting policy's artifact and what is served of it: the same texts after a round trip, never half a text."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from rlcompress import PromptRewriter
from rlcompress.artifact import read_manifest
from rlcompress.compressor import Compressor
from rlcompress.config.generating import (
    DecodingConfig,
    FineTuningConfig,
    LanguageConfig,
    LoraConfig,
    RewritingTemplateConfig,
    ScratchConfig,
)
from rlcompress.errors import UserError
from rlcompress.generation.builtin import from_scratch
from rlcompress.generation.finetuning import encoded, fine_tune
from rlcompress.generation.language import LanguageModel, load_base
from rlcompress.generation.lora import add_adapter, learned_state
from rlcompress.generation.prompting import RewritingTemplate
from rlcompress.judges.clauses import ClauseEvaluator
from rlcompress.measuring.results import write_results
from rlcompress.measuring.rewriting_results import evaluate_rewriters
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.problems.generated import generated_problems
from rlcompress.rewriter_artifact import (
    RewriterManifest,
    load_rewriter,
    read_rewriter_manifest,
    rewriter_manifest,
    save_rewriter,
)
from rlcompress.words import Unfinished
from tests.rlcompress.language_models import ARCHITECTURES, save_language, small_language

TEMPLATE = RewritingTemplateConfig(text="{percent} {text} =>")
# What the small policy learns by heart: each becomes shorter, longer, nothing, or has no end in sight.
LESSONS = {
    "Tom has 12 red apples and he eats 5 of them.": "Tom 12 apples, eats 5.",
    "Ann has 3.": "Ann has 3 cups and a saucer.",
    "Good morning.": "",
    "Bob counts.": "1 2 3 4 5 6 7 8 9 " * 3,
}
TOM, ANN, GOOD, BOB = LESSONS


def manifest_of(language: LanguageModel, **changes: object) -> RewriterManifest:
    fields: dict[str, object] = {
        "name": "test",
        "created_by": "0",
        "template": TEMPLATE,
        "decoding": DecodingConfig(temperature=0.0, max_new_tokens=24),
        "rates": (0.5, 0.7),
        "seed": 0,
        "iteration": 3,
        "stage": "rl",
        "data": {"source": "builtin:problems", "hash": "ab12"},
        "trained_rows": ("ab", "cd"),
    }
    return rewriter_manifest(language, **(fields | changes))


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    folder = tmp_path_factory.mktemp("learned")
    from_scratch(folder, [*LESSONS, *LESSONS.values()], ScratchConfig(width=32, layers=1, vocabulary=300, window=128))
    language = load_base(LanguageConfig(model=str(folder), chunk=2))
    template = RewritingTemplate(TEMPLATE)
    lessons = [(template.prompt(text, 0.5), said.strip()) for text, said in LESSONS.items()]
    learning = FineTuningConfig(steps=150, batch=4, learning_rate=1e-2, warmup=5)
    fine_tune(language, encoded(language, lessons), [], learning)
    return language


@pytest.fixture(scope="session")
def artifact(learned: LanguageModel, bpe: TextTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "artifact"
    save_rewriter(folder, manifest_of(learned), learned, bpe)
    return folder


@pytest.fixture
def copied(artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(artifact, tmp_path / "copy"))


@pytest.mark.parametrize("which", ["folder", "run"])
def test_accounts_of_all_that_can_happen(artifact: Path, bpe: TextTokenizer, which: str) -> None:
    rewriter = PromptRewriter.from_pretrained(artifact if which == "folder" else artifact.parent, device="cpu")
    tom, ann, good, bob = rewriter.rewrite(list(LESSONS), 0.5)
    assert (tom.text, tom.source, tom.status) == (LESSONS[TOM], TOM, "ok")
    before, after = (len(bpe.encode(text)[0]) for text in (TOM, LESSONS[TOM]))
    assert (tom.original_tokens, tom.compressed_tokens, tom.rate) == (before, after, 0.5)
    assert tom.achieved_rate == after / before < 1
    for one, text, status in ((ann, ANN, "unchanged"), (good, GOOD, "unchanged"), (bob, BOB, "unfinished")):
        assert (one.text, one.source, one.status, one.achieved_rate) == (text, text, status, 1.0)
        assert one.original_tokens == one.compressed_tokens == len(bpe.encode(text)[0])
        assert not isinstance(one.text, Unfinished)
    assert str(tom) == tom.text


def test_no_room_in_the_window_gives_the_original_back(artifact: Path) -> None:
    long = " \n" + TOM * 20
    [one] = PromptRewriter.from_pretrained(artifact, device="cpu").rewrite([long], 0.5)
    assert (one.text, one.status) == (long, "unfinished")


def test_company_and_place_change_nothing(artifact: Path) -> None:
    rewriter = PromptRewriter.from_pretrained(artifact, device="cpu")
    texts = [*LESSONS, TOM, " "]
    together = rewriter.rewrite(texts, [0.5, 0.5, 0.5, 0.5, 0.3, 1.0])
    assert [one.rate for one in together] == [0.5, 0.5, 0.5, 0.5, 0.3, 1.0]
    for i, one in enumerate(together):
        assert rewriter.rewrite(texts[i : i + 1], one.rate) == [one]
    assert rewriter.rewrite([], 0.5) == []
    assert (together[-1].text, together[-1].achieved_rate) == (" ", 1.0)


def test_as_a_method_it_says_what_was_written(artifact: Path) -> None:
    written = PromptRewriter.from_pretrained(artifact, device="cpu").as_method()(list(LESSONS), [0.5] * 4)
    assert written[:3] == [said.strip() for said in LESSONS.values()][:3]
    served = PromptRewriter.from_pretrained(artifact, device="cpu").rewrite(list(LESSONS), 0.5)
    assert [isinstance(text, Unfinished) for text in written] == [one.status != "ok" for one in served]
    assert {one.status for one in served} == {"ok", "unchanged", "unfinished"}


@pytest.mark.parametrize("rate", [0.0, 1.1, float("nan"), [0.5, 0.5], [0.5, -1.0, 0.5, 0.5]])
def test_rates_that_cannot_be(artifact: Path, rate: float) -> None:
    with pytest.raises(UserError, match="rate "):
        PromptRewriter.from_pretrained(artifact, device="cpu").rewrite(list(LESSONS), rate)


@pytest.mark.parametrize("adapted", [False, True], ids=["whole", "adapter"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_round_trip(architecture: str, adapted: bool, bpe: TextTokenizer, tmp_path: Path) -> None:
    language = small_language(tmp_path / "base", architecture, chunk=3, window=100)
    if adapted:
        pytest.importorskip("peft")
        language = add_adapter(language, LoraConfig(rank=2))
        _shake(language)
    manifest = manifest_of(language)
    folder = tmp_path / "artifact"
    save_rewriter(folder, manifest, language, bpe)
    loaded, again, reader = load_rewriter(folder, torch.device("cpu"), learn=True)
    assert loaded == manifest == read_rewriter_manifest(folder)
    assert (again.window, again.chunk, reader.version) == (100, 3, bpe.version)
    assert (manifest.base is not None) == adapted == (folder / "model" / "adapter_model.safetensors").is_file()
    assert (folder / "model" / "model.safetensors").is_file() != adapted
    one, other = PromptRewriter(manifest, language, bpe), PromptRewriter(loaded, again, reader)
    assert one.as_method()(list(LESSONS), [0.5] * 4) == other.as_method()(list(LESSONS), [0.5] * 4)
    names = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert names <= {".json", ".safetensors", ".md", ".jinja", ".txt", ".model"}
    before, after = learned_state(language.model), learned_state(again.model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def _shake(language: LanguageModel) -> None:
    """Adapters that change what is written."""
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for parameter in language.model.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.from_numpy(rng.normal(0, 0.3, parameter.shape)))


def test_either_kind_says_who_loads_it(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds a rewriting policy: load it with rlcompress\.PromptRewriter"):
        Compressor.from_pretrained(artifact)
    with pytest.raises(UserError, match=r"rewriting policy"):
        read_manifest(artifact)
    masking = tmp_path / "masking"
    masking.mkdir()
    (masking / "manifest.json").write_text('{"format": 1, "policy": {}}')
    with pytest.raises(UserError, match=r"holds a masking policy: load it with rlcompress\.Compressor"):
        PromptRewriter.from_pretrained(masking)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "no artifact"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "manifest.json").write_text('{"format": 9, "kind": "rewriting"}'), "has format 9"),
        (lambda folder: (folder / "manifest.json").write_text('{"format": 1, "kind": "rewriting"}'), "name"),
        (lambda folder: (folder / "model/model.safetensors").rename(folder / "model/pytorch_model.bin"), "safetensors"),
        (lambda folder: (folder / "model/tokenizer.json").unlink(), "cannot be loaded"),
        (lambda folder: (folder / "model/config.json").unlink(), "cannot be loaded"),
        (lambda folder: shutil.rmtree(folder / "reader"), "reader has no tokenizer.json"),
    ],
)
def test_a_damaged_artifact_is_one_line(copied: Path, spoil, says: str) -> None:
    spoil(copied)
    with pytest.raises(UserError, match=says) as raised:
        PromptRewriter.from_pretrained(copied)
    assert "\n" not in str(raised.value)


def test_the_card_says_what_is_known(artifact: Path, tmp_path: Path) -> None:
    """Saved from a run with an evaluation, whole or not at all, without paths of this machine."""
    card = (artifact / "README.md").read_text("utf-8")
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["library_name"] == "rlcompress"
    assert "nothing is known of its quality" in card
    assert "builtin:problems (hash `ab12`)" in card
    run = tmp_path / "run"
    shutil.copytree(artifact, run / "artifact")
    rewriter = PromptRewriter.from_pretrained(run, device="cpu")
    problems = generated_problems(4, "test_problems")
    methods = {"rl": rewriter.as_method()}
    done = evaluate_rewriters(problems, methods, [0.5], ClauseEvaluator(), rewriter.count, bootstrap=20)
    write_results(done, run / "evaluation")
    rewriter.save_pretrained(tmp_path / "saved", license="mit")
    card = (tmp_path / "saved" / "README.md").read_text("utf-8")
    front = yaml.safe_load(card.split("---\n")[1])
    metrics = {metric["type"]: metric["value"] for metric in front["model-index"][0]["results"][0]["metrics"]}
    assert metrics["accuracy"] == 1.0
    assert "at the same requested rates" in card
    assert str(tmp_path) not in card
    again = PromptRewriter.from_pretrained(tmp_path / "saved", device="cpu")
    assert again.rewrite(list(LESSONS), 0.5) == rewriter.rewrite(list(LESSONS), 0.5)
    with pytest.raises(UserError, match="overwrite=True"):
        again.save_pretrained(tmp_path / "saved")
    again.save_pretrained(tmp_path / "saved", overwrite=True)
    assert (tmp_path / "saved" / "README.md").read_text("utf-8").partition("## Licence")[0] in card.replace(
        "license: mit\n", ""
    )
    with pytest.raises(UserError, match="holds no artifact"):
        again.save_pretrained(run, overwrite=True)


def test_paths_of_this_machine_stay_here(learned: LanguageModel, bpe: TextTokenizer, tmp_path: Path) -> None:
    manifest = manifest_of(learned, data={"source": str(tmp_path / "rows.jsonl"), "hash": "x"})
    PromptRewriter(manifest, learned, bpe).save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "manifest.json").read_text())["data"]["source"] == "rows.jsonl"


def test_an_adapter_needs_the_base_that_it_was_learned_on(bpe: TextTokenizer, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    base = save_language(tmp_path / "base", "llama")
    language = add_adapter(load_base(LanguageConfig(model=str(base))), LoraConfig(rank=2))
    save_rewriter(tmp_path / "artifact", manifest_of(language), language, bpe)
    assert "adapters on base" in (tmp_path / "artifact" / "README.md").read_text("utf-8")
    shutil.rmtree(base)
    with pytest.raises(UserError, match="base"):
        PromptRewriter.from_pretrained(tmp_path / "artifact")

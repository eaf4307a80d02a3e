"""Which schema a configuration follows, and what both of them hold to."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from rlcompress.config.families import FAMILIES
from rlcompress.config.files import dump_yaml, load_config, load_run
from rlcompress.config.keys import leaves
from rlcompress.config.rewriting_run import RewritingRun
from rlcompress.config.schema import RunConfig
from rlcompress.config.secrets import is_secret_name
from rlcompress.config.show import commented_yaml
from rlcompress.errors import UserError

REWRITING = "env.name=PromptRewriting"


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_environment_that_is_named_last_decides(tmp_path: Path) -> None:
    base = written(tmp_path, "base.yaml", "env: {name: PromptRewriting}\npolicy: {chunk: 3}\n")
    over = written(tmp_path, "over.yaml", "inherits: base.yaml\nseed: 4\n")
    assert type(load_run()) is RunConfig
    assert type(load_run(base)) is type(load_run(over)) is type(load_run(None, [REWRITING])) is RewritingRun
    assert load_run(over).policy.chunk == 3


@pytest.mark.parametrize("name", ["Masking", "3", "[TokenMasking]"])
def test_an_environment_that_there_is_not(name: str) -> None:
    with pytest.raises(UserError, match=r"--set: env\.name is .*: use TokenMasking or PromptRewriting"):
        load_run(None, [f"env.name={name}"])


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_printed_is_read_back(family: str, tmp_path: Path) -> None:
    config = load_run(None, [f"env.name={family}"])
    for number, text in enumerate((commented_yaml(config), dump_yaml(config))):
        assert load_run(written(tmp_path, f"{number}.yaml", text)) == config
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize("family", FAMILIES)
def test_no_key_is_a_secret_and_every_description_is_short(family: str) -> None:
    assert [leaf for leaf in leaves(FAMILIES[family]) if any(is_secret_name(part) for part in leaf)] == []


def test_a_section_that_may_be_left_out(tmp_path: Path) -> None:
    assert load_run(None, [REWRITING]).policy.lora is None
    config = load_run(None, [REWRITING, "policy.lora={rank: 8}", "policy.lora.alpha=3.0"])
    assert (config.policy.lora.rank, config.policy.lora.alpha, config.policy.lora.dropout) == (8, 3.0, 0.0)
    with pytest.raises(UserError, match=r"unknown key policy\.lora\.rnak: did you mean policy\.lora\.rank"):
        load_run(None, [REWRITING, "policy.lora.rnak=1"])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("judges.gate=0.1", "unknown key judges"),
        ("learner.algorithm=ppo", r"learner\.algorithm ppo is not for rewriting: use grpo"),
        ("learner.average=0.9", r"learner\.average is of masking policies alone"),
        ("sft.pairs=teacher", r"sft\.pairs teacher and sft\.teacher go together"),
        ("policy.template.text=short", r"must hold \{text\} once"),
        ("env.rates=[0]", r"env\.rates"),
    ],
)
def test_mistakes_in_a_rewriting_run(override: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_run(None, [REWRITING, override])


def test_what_is_of_masking_alone_refuses_another_run(tmp_path: Path) -> None:
    file = written(tmp_path, "run.yaml", "env: {name: PromptRewriting}\n")
    with pytest.raises(UserError, match=r"run\.yaml: env\.name is PromptRewriting, and this is for TokenMasking"):
        load_config(file)

import json
from pathlib import Path

import pytest

from rlcompress.config.files import dump_yaml, load_config, merge
from rlcompress.config.schema import RunConfig
from rlcompress.errors import UserError


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_no_file_gives_the_defaults():
    assert load_config() == RunConfig()


def test_precedence_default_base_file_command(tmp_path):
    write(tmp_path, "root.yaml", "seed: 1\nname: root\nlearner: {lr: 0.1, epochs: 2, warmup_steps: 3}\n")
    write(tmp_path, "sub/middle.yaml", "inherits: ../root.yaml\nname: middle\nlearner: {lr: 0.2, epochs: 4}\n")
    leaf = write(tmp_path, "leaf.yaml", "inherits: sub/middle.yaml\nname: leaf\nlearner:\n  lr: 0.3\n")
    config = load_config(leaf, ["name=cli"])
    assert (config.name, config.learner.lr, config.learner.epochs, config.learner.warmup_steps) == ("cli", 0.3, 4, 3)
    assert config.seed == 1
    assert config.learner.clip_low == RunConfig().learner.clip_low


def test_defaults_inside_a_section_survive_a_partial_file(tmp_path):
    config = load_config(write(tmp_path, "c.yaml", "judges: {heldout: {steps: 7}}"))
    assert config.judges.heldout.steps == 7
    assert config.judges.heldout.model == RunConfig().judges.heldout.model


def test_json_and_yaml_read_alike(tmp_path):
    values = {"learner": {"lr": 1e-4}, "evaluate": {"rates": [0.9]}}
    as_json = write(tmp_path, "c.json", json.dumps(values))
    as_yaml = write(tmp_path, "c.yaml", "learner: {lr: 1e-4}\nevaluate:\n  rates:\n  - 0.9\n")
    assert load_config(as_json) == load_config(as_yaml)


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.0e-4", "1.e-4", ".1e-3", "+1e-4", "0.0001"])
def test_yaml_exponents_are_floats(tmp_path, text):
    assert load_config(write(tmp_path, "c.yaml", f"learner:\n  lr: {text}\n")).learner.lr == 1e-4
    assert load_config(None, [f"learner.lr={text}"]).learner.lr == 1e-4


def test_words_with_an_e_stay_words():
    assert load_config(None, ["name=1e-4x"]).name == "1e-4x"


def test_overrides_of_nested_lists_and_open_keys():
    config = load_config(
        None,
        [
            "evaluate.rates=[0.5,0.25]",
            "reward.terms.my.module:length=0.5",
            "reward.terms.distortion=2",
            "learner.micro_batch=null",
            "learner={epochs: 3}",
            "tune.space.learner.lr={loguniform: [1e-4, 1e-2]}",
        ],
    )
    assert config.evaluate.rates == (0.5, 0.25)
    assert config.reward.terms == {"distortion": 2.0, "my.module:length": 0.5}
    assert config.learner.epochs == 3
    assert config.tune.space == {"learner.lr": {"loguniform": [1e-4, 1e-2]}}


@pytest.mark.parametrize(
    ("override", "near"),
    [
        ("learner.lrr=1", "learner.lr"),
        ("lr=1", "learner.lr"),
        ("lerner.lr=1", "learner"),
        ("reward.gates.flor=0.1", "reward.gates.floor"),
    ],
)
def test_unknown_keys_name_the_nearest(override, near):
    with pytest.raises(UserError) as caught:
        load_config(None, [override])
    key, said = override.partition("=")[0], str(caught.value)
    assert said.endswith(f": did you mean {near}?")
    assert key.startswith(said.removeprefix("--set: unknown key ").partition(":")[0])


def test_unknown_keys_in_a_base_name_that_file(tmp_path):
    write(tmp_path, "base.yaml", "learner: {iteration: 3}")
    leaf = write(tmp_path, "leaf.yaml", "inherits: base.yaml")
    with pytest.raises(UserError, match=r"base\.yaml: unknown key learner\.iteration: .* learner\.iterations"):
        load_config(leaf)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("learner.lr=fast", "learner.lr is 'fast': input should be a valid number"),
        ('learner.iterations="5"', "learner.iterations is '5'"),
        ("learner.iterations=0", "learner.iterations is 0: input should be greater than or equal to 1"),
        ("learner.iterations=true", "learner.iterations is True"),
        ("learner.algorithm=gspo", "learner.algorithm is 'gspo': input should be 'grpo'"),
        ("evaluate.rates=[0.5,2]", "evaluate.rates.1 is 2"),
        ("learner=5", "learner is 5"),
        ("seed.x=5", "seed is {'x': 5}"),
        ("data.splits.train=0.5", "data.splits must sum to 1"),
        ("learner.micro_batch=99", "learner.micro_batch (99) must not exceed"),
        ("name=2024-01-01", "name is"),
    ],
)
def test_wrong_values_name_key_value_and_origin(override, said):
    if override.startswith("name="):
        assert load_config(None, [override]).name == "2024-01-01"
        return
    with pytest.raises(UserError) as caught:
        load_config(None, [override])
    assert said in str(caught.value)
    assert str(caught.value).startswith("--set: ")


def test_a_wrong_value_names_the_file_that_holds_it(tmp_path):
    write(tmp_path, "base.yaml", "learner: {lr: fast}")
    leaf = write(tmp_path, "leaf.yaml", "inherits: base.yaml\nlearner: {epochs: -1}\n")
    with pytest.raises(UserError) as caught:
        load_config(leaf)
    epochs, lr = sorted(str(caught.value).splitlines(), key=lambda line: "learner.lr" in line)
    assert "leaf.yaml: learner.epochs is -1" in epochs
    assert "base.yaml: learner.lr is 'fast'" in lr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "not valid YAML"),
        ("- 1", "a configuration is a mapping"),
        ("seed: 1\nseed: 2\n", "line 2.*seed stands twice"),
        ("inherits: [a.yaml, b.yaml]", "inherits names one file"),
        ("inherits: missing.yaml", r"missing\.yaml \(inherited by .*c\.yaml\)"),
        ("inherits: c.yaml", "inherits goes in a circle"),
    ],
)
def test_broken_files(tmp_path, text, said):
    with pytest.raises(UserError, match=said):
        load_config(write(tmp_path, "c.yaml", text))


def test_longer_circles_and_missing_files(tmp_path):
    write(tmp_path, "a.yaml", "inherits: b.yaml")
    write(tmp_path, "b.yaml", "inherits: a.yaml")
    with pytest.raises(UserError, match="circle"):
        load_config(tmp_path / "a.yaml")
    with pytest.raises(UserError, match="cannot read the configuration"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="JSON"):
        load_config(write(tmp_path, "c.json", "{'a': 1}"))
    with pytest.raises(UserError, match="seed stands twice"):
        load_config(write(tmp_path, "d.json", '{"seed": 1, "seed": 2}'))


def test_an_empty_file_is_the_defaults(tmp_path):
    assert load_config(write(tmp_path, "c.yaml", "# nothing\n")) == RunConfig()


@pytest.mark.parametrize("override", ["learner.lr", "=1", "conf.yaml"])
def test_an_override_needs_key_and_value(override):
    with pytest.raises(UserError, match="key=value"):
        load_config(None, [override])


@pytest.mark.parametrize("text", ["api_key: abc", "judges: {reward: {hfToken: abc}}", "password: x"])
def test_secrets_are_refused(tmp_path, text):
    with pytest.raises(UserError, match="looks like a secret: remove it and use the environment"):
        load_config(write(tmp_path, "c.yaml", text))


def test_dump_round_trips_and_hides_credentials(tmp_path):
    config = load_config(None, ["learner.lr=1e-7", "env.protect=['[0-9]+','ümlaut: \"x\"']", "name=abc"])
    assert load_config(write(tmp_path, "c.yaml", dump_yaml(config))) == config
    shown = dump_yaml(load_config(None, ["resources.address=ray://me:hunter2@head:10001"]))
    assert "hunter2" not in shown
    assert "ray://***@head:10001" in shown


def test_merge_leaves_its_arguments_alone():
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    over = {"a": {"c": [3]}, "e": {"f": 1}}
    assert merge(base, over) == {"a": {"b": 1, "c": [3]}, "d": 1, "e": {"f": 1}}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 1}

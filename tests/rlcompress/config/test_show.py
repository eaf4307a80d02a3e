from rlcompress.config.files import load_config
from rlcompress.config.keys import leaves
from rlcompress.config.schema import RunConfig
from rlcompress.config.show import commented_yaml, derived

OVERRIDES = ["learner.lr=3e-7", 'env.protect=["a: b # c", "[0-9]+"]', "tracking.wandb='yes'", "data.hub_config='1e5'"]


def test_commented_yaml_round_trips(tmp_path):
    path = tmp_path / "c.yaml"
    for config in (RunConfig(), load_config(None, OVERRIDES)):
        path.write_text(commented_yaml(config), encoding="utf-8")
        assert load_config(path) == config


def test_commented_yaml_states_and_explains_every_key():
    text = commented_yaml(RunConfig())
    for leaf in leaves(RunConfig):
        assert f"{'  ' * (len(leaf) - 1)}{leaf[-1]}: " in text
    assert "# kept fractions drawn in training" in text
    assert "# A value over the run" in text


def test_derived_sizes():
    config = load_config(
        None,
        [
            "learner.prompts_per_step=10",
            "learner.samples_per_prompt=4",
            "learner.micro_batch=4",
            "learner.iterations=6",
            "learner.epochs=2",
            "resources.env_runners=3",
            "checkpoint.validate_every=3",
        ],
    )
    assert derived(config) == {
        "samples_per_step": 40,
        "prompts_per_micro_batch": 4,
        "micro_batches_per_update": 3,
        "updates": 12,
        "total_prompts": 60,
        "total_samples": 240,
        "judge_calls_per_step": 3,
        "judge_calls": 18,
        "validations": 2,
    }

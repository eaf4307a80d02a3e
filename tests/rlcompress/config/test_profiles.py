"""Profiles: where they stand in the order of precedence, which suits what machine, and that every shipped one fits."""

from pathlib import Path

import pytest
import torch

from rlcompress import __main__ as cli
from rlcompress.config.files import dump_yaml, load_config
from rlcompress.config.profiles import profile_file, profile_names, suited
from rlcompress.errors import UserError
from rlcompress.machine import hardware

ROOT = Path(__file__).resolve().parents[3]
RUN_FILES = sorted(path for name in ("masking", "search") for path in (ROOT / "tune_configs" / name).glob("*.yaml"))
NAMES = ["ablation", "baselines", "cpu", "cuda", "evaluation", "full", "integration", "large-gpu", "low-vram", "mps"]
CARDS = ("cuda", "low-vram", "large-gpu", "mps")  # profiles that need one


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of profiles in the place of the shipped one."""
    monkeypatch.setattr(profile_file, "__defaults__", (tmp_path,))
    return tmp_path


def test_what_is_shipped():
    assert profile_names() == [*NAMES, "quick"]


@pytest.mark.parametrize("file", RUN_FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("name", profile_names())
def test_every_profile_fits_every_run_file(name, file):
    plain, laid_over = load_config(file), load_config(file, profiles=[name])
    assert laid_over != plain
    assert (laid_over.name, laid_over.runs, laid_over.seed) == (plain.name, plain.runs, plain.seed)
    assert laid_over.data.source == plain.data.source, "a profile leaves the data of the user alone"


def test_precedence_file_profiles_in_order_set(folder, tmp_path):
    (folder / "one.yaml").write_text("learner: {lr: 0.2, epochs: 3}\nseed: 2")
    (folder / "two.yaml").write_text("inherits: one.yaml\nlearner: {lr: 0.3}\ndevice: cpu")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "base.yaml").write_text("learner: {lr: 0.1, epochs: 2, warmup_steps: 7}\nname: base")
    file = tmp_path / "run" / "run.yaml"
    file.write_text("inherits: base.yaml\nname: mine")

    def of(*names, overrides=()):
        config = load_config(file, overrides, names)
        return config.learner.lr, config.learner.epochs, config.seed, config.device

    assert of() == (0.1, 2, 0, "auto")
    assert of("one") == (0.2, 3, 2, "auto")
    assert of("one", "two") == of("two") == (0.3, 3, 2, "cpu")
    assert of("two", "one") == (0.2, 3, 2, "cpu")
    assert of("one", "two", overrides=["seed=9", "learner.lr=0.5"]) == (0.5, 3, 9, "cpu")
    assert load_config(file, profiles=["two"]).learner.warmup_steps == 7
    assert load_config(file, profiles=["two"]).name == "mine"


def test_a_saved_configuration_is_the_merged_result(tmp_path):
    merged = load_config(RUN_FILES[0], ["seed=4"], ["cuda", "quick"])
    (tmp_path / "saved.yaml").write_text(dump_yaml(merged))
    assert load_config(tmp_path / "saved.yaml") == merged
    assert (merged.device, merged.learner.iterations, merged.seed) == ("cuda", 8, 4)


def test_faults_inside_a_profile_name_its_file(folder):
    (folder / "bad.yaml").write_text("learner: {epoch: 3}")
    with pytest.raises(UserError, match=r"bad\.yaml: unknown key learner\.epoch: did you mean learner\.epochs"):
        load_config(profiles=["bad"])


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("lowvram", "did you mean low-vram?"),
        ("quik", "did you mean quick?"),
        ("large", "did you mean large-gpu? There are ablation, baselines,"),
        ("../masking/study", "did you mean"),
        ("mine.yaml", "give CONFIG before --profile"),
    ],
)
def test_an_unknown_profile_names_the_nearest(name, mend):
    with pytest.raises(UserError, match="no such profile") as caught:
        load_config(profiles=[name])
    assert f"--profile {name}: " in str(caught.value)
    assert mend in str(caught.value)


def test_without_the_checkout_it_says_where_profiles_are(tmp_path):
    with pytest.raises(UserError, match=r"profiles are read from .*no such place, in the checkout: pip install -e \."):
        profile_file("quick", tmp_path / "no such place")


@pytest.mark.parametrize(
    ("kind", "memory", "name", "why"),
    [
        ("cpu", 0.0, "cpu", "no graphics card"),
        ("cpu", 80.0, "cpu", "no graphics card"),  # a card that does not compute
        ("mps", 0.0, "mps", "Apple"),
        ("cuda", 14.6, "low-vram", "14.6 GB, below 20"),  # T4
        ("cuda", 19.9, "low-vram", "below 20"),
        ("cuda", 20.0, "cuda", "from 20 to 70"),
        ("cuda", 22.5, "cuda", "22.5 GB"),  # L4, A10
        ("cuda", 47.4, "cuda", "47.4 GB"),  # L40S
        ("cuda", 69.9, "cuda", "from 20 to 70"),
        ("cuda", 70.0, "large-gpu", "at least 70"),
        ("cuda", 79.2, "large-gpu", "79.2 GB"),  # A100, H100
        ("cuda", 139.8, "large-gpu", "139.8 GB"),  # H200
    ],
)
def test_which_profile_suits_what_machine(kind, memory, name, why):
    chosen, said = suited(kind, memory)
    assert chosen == name
    assert why in said
    assert chosen in profile_names()


def test_auto_is_said_and_merged(capsys, monkeypatch):
    monkeypatch.setattr(hardware, "suited_profile", lambda: suited("cuda", 15.0))
    assert cli.main(["config", "show", "--profile", "quick", "auto", "--set", "seed=3"]) == 0
    shown = capsys.readouterr()
    assert shown.out == dump_yaml(load_config(None, ["seed=3"], ["quick", "low-vram"]))
    assert shown.err == "profile    low-vram: the smallest graphics card has 15 GB, below 20\n"


def test_the_profile_of_this_machine_suits_it(capsys):
    chosen, _ = hardware.suited_profile()
    assert chosen in (("cpu", "mps") if not torch.cuda.is_available() else CARDS)
    assert cli.main(["doctor"]) == 0
    assert f" {chosen}: " in next(line for line in capsys.readouterr().out.splitlines() if "profile auto" in line)


@pytest.mark.parametrize("name", CARDS)
def test_profiles_of_a_card_are_planned_anywhere_and_refused_without_one(name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    words = ["train", str(ROOT / "tune_configs/masking/quickstart.yaml"), "--profile", name, "quick"]
    assert cli.main([*words, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "iterations: 8\n" in shown
    assert "# resource plan" in shown
    if torch.cuda.is_available() if name != "mps" else torch.backends.mps.is_available():
        pytest.skip("this machine has such a card")
    assert cli.main(words) == 2
    assert (
        "device mps cannot be used" if name == "mps" else "and 0.8 GPUs, the cluster has"
    ) in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_resumed_run_takes_no_profile(capsys):
    assert cli.main(["train", "--resume", "runs/x", "--profile", "quick"]) == 2
    assert "give no CONFIG, --set, --profile or --overwrite" in capsys.readouterr().err


def test_config_check_checks_files_under_a_profile(capsys, tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text("learner: {prompts_per_step: 1}")
    assert cli.main(["config", "check", str(file)]) == 0
    assert cli.main(["config", "check", str(file), "--profile", "low-vram"]) == 2
    assert "learner.micro_batch (2) must not exceed learner.prompts_per_step (1)" in capsys.readouterr().err


def test_float16_is_refused_where_the_learner_has_no_cuda():
    for overrides in (["learner.gpus_per_learner=0"], ["device=cpu"], ["device=mps"]):
        with pytest.raises(UserError, match=r"learner\.precision float16 needs CUDA .*use bfloat16 or float32"):
            load_config(None, overrides, ["low-vram"])

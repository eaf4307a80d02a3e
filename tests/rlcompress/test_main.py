"""The command line, run as a user runs it; the stages behind it are stood in for where they need a trained model."""

import dataclasses
import io
import json
import logging
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from rlcompress import __main__ as cli
from rlcompress.config.files import load_config
from rlcompress.config.schema import RunConfig
from rlcompress.errors import UserError
from rlcompress.machine import doctor
from rlcompress.options import parser
from rlcompress.recording.directory import RunDirectory


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _own_logging(monkeypatch):
    """Each command sets up logging for its process; here the process goes on."""
    monkeypatch.setattr(logging.root, "handlers", [])
    levels = {name: logging.getLogger(name).level for name in (None, *cli.FLOORS)}
    yield
    for handler in logging.root.handlers:
        handler.close()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


class Stages(types.ModuleType):
    """Stands for `cluster` and `serve.app`: records each call and returns what the real stage would."""

    def __init__(self, result=None):
        super().__init__("stages")
        self.calls, self.result = [], result

    def __getattr__(self, stage):
        if stage.startswith("__"):
            raise AttributeError(stage)

        def call(*args, **named):
            self.calls.append((stage, args, named))
            return self.result

        return call


@pytest.fixture
def stages(monkeypatch):
    fake = Stages(types.SimpleNamespace(path=Path("runs/x")))
    monkeypatch.setattr(doctor, "floor_present", lambda name: True)
    for name in ("cluster", "serve.app"):
        monkeypatch.setitem(sys.modules, name, fake)
    monkeypatch.setitem(sys.modules, "serve", types.ModuleType("serve"))
    return fake


COMMANDS = sorted({name.partition(" ")[0] for name in cli.HANDLERS})


def test_every_command_of_the_parser_has_a_handler():
    (commands,) = (action for action in parser()._actions if action.dest == "command")
    assert sorted(commands.choices) == COMMANDS


@pytest.mark.parametrize("name", cli.HANDLERS)
def test_help_of_each_command(name, capsys):
    with pytest.raises(SystemExit) as done:
        cli.main([*name.split(), "--help"])
    assert done.value.code == 0
    assert f"usage: rlcompress {name}" in capsys.readouterr().out


def test_config_create_round_trips(capsys):
    assert cli.main(["config", "create", "--output", "new/c.yaml", "--set", "learner.lr=1e-4", "seed=3"]) == 0
    assert load_config("new/c.yaml") == load_config(None, ["learner.lr=1e-4", "seed=3"])
    assert cli.main(["config", "create", "--output", "new/c.yaml"]) == 2
    assert "new/c.yaml exists" in capsys.readouterr().err
    assert cli.main(["config", "create", "--output", "new/c.yaml", "--overwrite"]) == 0
    assert load_config("new/c.yaml") == RunConfig()


def test_config_show_prints_the_merged_result(capsys):
    Path("base.yaml").write_text("learner: {lr: 1e-4, epochs: 2}")
    Path("child.yaml").write_text("inherits: base.yaml\nlearner: {epochs: 3}")
    assert cli.main(["config", "show", "child.yaml", "--set", "seed=9"]) == 0
    Path("shown.yaml").write_text(capsys.readouterr().out)
    assert load_config("shown.yaml") == load_config("child.yaml", ["seed=9"])


def test_config_check_names_each_bad_file(capsys):
    Path("good.yaml").write_text("seed: 1")
    Path("bad.yaml").write_text("sed: 1")
    assert cli.main(["config", "check", "bad.yaml", "good.yaml"]) == 2
    shown = capsys.readouterr()
    assert shown.out == "ok good.yaml\n"
    assert shown.err == "error: bad.yaml: unknown key sed: did you mean seed?\n"
    assert cli.main(["config", "check", "good.yaml"]) == 0


def test_a_mistake_is_one_line_and_status_2(capsys):
    assert cli.main(["config", "show", "--set", "learner.lrr=1"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "error: --set: unknown key learner.lrr: did you mean learner.lr?\n"


def raising(error):
    def handler(arguments):
        raise error

    return handler


def test_a_failure_is_one_line_and_status_1(capsys, monkeypatch):
    monkeypatch.setitem(cli.HANDLERS, "doctor", raising(ValueError("broken\nsecond line")))
    assert cli.main(["doctor"]) == 1
    assert capsys.readouterr().err == "failed: ValueError: broken (use --debug for the traceback)\n"


@pytest.mark.parametrize("words", [["--debug", "doctor"], ["doctor", "--debug"]])
def test_debug_shows_the_traceback(words, capsys, monkeypatch):
    monkeypatch.setitem(cli.HANDLERS, "doctor", raising(ValueError("broken")))
    assert cli.main(words) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_interrupt_is_130(monkeypatch):
    monkeypatch.setitem(cli.HANDLERS, "doctor", raising(KeyboardInterrupt()))
    assert cli.main(["doctor"]) == 130


def test_log_level_and_log_file(capsys, monkeypatch):
    def handler(arguments):
        logging.getLogger("cluster.train").info("an info")
        logging.getLogger("cluster.train").debug("a detail")
        logging.getLogger("somebody.else").info("noise")
        raise UserError("mistake")

    monkeypatch.setitem(cli.HANDLERS, "doctor", handler)
    assert cli.main(["doctor", "--log-level", "warning", "--log-file", "log.txt"]) == 2
    assert capsys.readouterr().err == "error: mistake\n"
    text = Path("log.txt").read_text()
    assert "INFO cluster.train: an info" in text
    assert "a detail" in text
    assert "Traceback" in text
    assert "noise" not in text
    assert cli.main(["doctor", "--log-file", "no/such/folder/log.txt"]) == 2


def test_dry_run_prints_configuration_sizes_and_plan(capsys):
    words = ["learner.prompts_per_step=4", "learner.samples_per_prompt=3"]
    assert cli.main(["train", "--dry-run", "--set", *words]) == 0
    shown = capsys.readouterr().out
    assert "#   samples_per_step: 12" in shown
    assert "# resource plan" in shown
    Path("shown.yaml").write_text(shown)
    assert load_config("shown.yaml") == load_config(None, words)
    assert not Path("runs").exists()


def test_stages_are_called_with_what_was_asked(stages, capsys):
    Path("c.yaml").write_text("seed: 5")
    config = load_config("c.yaml", ["name=n"])
    words = ["c.yaml", "--set", "name=n"]
    assert cli.main(["train", *words, "--overwrite"]) == 0
    assert cli.main(["sft", *words]) == 0
    assert cli.main(["judges", *words, "--out", "j"]) == 0
    assert cli.main(["tune", *words, "--out", "o"]) == 0
    assert (
        cli.main(
            ["baselines", *words, "--rates", "0.5", "0.25", "--methods", "random", "--seeds", "2", "--metrics", "bleu"]
        )
        == 0
    )
    stages.result = "raysubmit_1"
    assert cli.main(["submit", *words, "--address", "http://head:8265"]) == 0
    command = "rlcompress train c.yaml --set name=n --overwrite"
    assert stages.calls == [
        ("train", (config,), {"command": command, "resume": None, "checkpoint": "latest", "overwrite": True}),
        ("sft", (config,), {"command": "rlcompress sft c.yaml --set name=n", "overwrite": False}),
        ("train_judges", (config,), {"out": "j"}),
        ("tune", (config,), {"out": "o"}),
        (
            "baselines",
            (config,),
            {"data": None, "rates": [0.5, 0.25], "methods": ["random"], "seeds": 2, "out": None, "slices": None}
            | {"metrics": ["bleu"], "reader": None},
        ),
        ("submit", ("c.yaml", ["name=n"], "http://head:8265"), {"profiles": []}),
    ]
    shown = capsys.readouterr().out
    assert shown.startswith("runs/x\n")
    assert shown.endswith("next       python -m rlcompress status raysubmit_1 --address http://head:8265\n")


@pytest.mark.parametrize(
    ("name", "targets", "passed"), [("evaluate", ["runs/x"], "runs/x"), ("compare", ["a", "b"], ["a", "b"])]
)
def test_evaluate_and_compare_pass_every_option(stages, name, targets, passed):
    words = "--data f.jsonl --rates 0.5 0.33 --seeds 5 --judge m --out o --methods random rare --skip-trained"
    words += " --metrics bleu reader_f1 --reader gpt"
    assert cli.main([name, *targets, *words.split(), "--slices", "length", "field:source"]) == 0
    assert cli.main([name, *targets]) == 0
    asked = {
        "data": "f.jsonl",
        "rates": [0.5, 0.33],
        "seeds": 5,
        "judge": "m",
        "out": "o",
        "methods": ["random", "rare"],
        "skip_trained": True,
        "slices": ["length", "field:source"],
        "metrics": ["bleu", "reader_f1"],
        "reader": "gpt",
    }
    assert stages.calls[0] == (name, (passed,), asked)
    assert stages.calls[1] == (name, (passed,), dict.fromkeys(asked) | {"skip_trained": False})


def test_resume_takes_the_configuration_of_its_run(stages, capsys):
    run = RunDirectory.create(load_config(None, ["name=r", "learner.lr=0.5"]))
    assert cli.main(["train", "--resume", str(run.path)]) == 0
    ((_, (config,), named),) = stages.calls
    assert config == run.config
    assert (named["resume"], named["checkpoint"]) == (str(run.path), "latest")
    assert cli.main(["train", "--resume", str(run.path), "--checkpoint", "best"]) == 0
    assert stages.calls[-1][2]["checkpoint"] == "best"
    for words in (["c.yaml"], ["--set", "seed=1"], ["--overwrite"]):  # would be ignored in silence
        assert cli.main(["train", "--resume", str(run.path), *words]) == 2
        assert "--resume goes on with the configuration of its run" in capsys.readouterr().err
    assert cli.main(["train", "--resume", "nowhere"]) == 2
    assert "no run in nowhere" in capsys.readouterr().err
    assert cli.main(["train", "--checkpoint", "best"]) == 2
    assert "--resume RUN: give that too" in capsys.readouterr().err


def artifact(name):
    folder = Path(name)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    return folder


def test_serve_takes_host_and_port_from_options_then_configuration(stages):
    artifact("runs/r/artifact")
    assert cli.main(["serve", "runs/r", "--port", "9", "--set", "serve.host=0.0.0.0", "serve.replicas=2"]) == 0
    ((name, (path,), named),) = stages.calls
    assert (name, path) == ("run", Path("runs/r/artifact"))
    assert (named["host"], named["port"], named["settings"].replicas) == ("0.0.0.0", 9, 2)


@pytest.mark.parametrize(
    "words",
    [["train"], ["sft"], ["tune"], ["evaluate", "x"], ["compare", "x"], ["baselines"], ["submit"], ["serve", "a"]],
)
def test_without_the_checkout_commands_say_what_they_need(words, capsys, monkeypatch):
    artifact("a")
    monkeypatch.setattr(doctor, "floor_present", lambda name: False)
    assert cli.main(words) == 2
    assert capsys.readouterr().err == f"error: {words[0]} needs the checkout: pip install -e .\n"


def test_without_ray_commands_say_so(capsys, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError("No module named 'ray'", name="ray")

    monkeypatch.setattr(doctor, "floor_present", lambda name: True)
    monkeypatch.setattr(cli.importlib, "import_module", missing)
    assert cli.main(["train"]) == 2
    assert capsys.readouterr().err == "error: train needs ray, which is not installed: pip install -e .\n"


def test_a_package_that_a_wheel_may_lack_is_named_with_its_mend(monkeypatch, capsys):
    def report(arguments):
        raise ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow")

    monkeypatch.setitem(cli.HANDLERS, "report", report)
    assert cli.main(["report", "x"]) == 2
    expected = "error: report needs pyarrow, which is not installed: pip install matplotlib pyarrow scipy\n"
    assert capsys.readouterr().err == expected


def test_compress_keeps_every_byte_of_its_input(monkeypatch, capfdbinary):
    class Compressor:
        @classmethod
        def from_pretrained(cls, path, *, download):
            assert (path, download) == ("a", False)
            return cls()

        def compress(self, text, **named):
            named["original_tokens"] = 9
            return dataclasses.make_dataclass("Compressed", ["text", *named])(text, **named)

    module = types.ModuleType("rlcompress.compressor")
    module.Compressor = Compressor
    monkeypatch.setitem(sys.modules, "rlcompress.compressor", module)
    source = "a\r\nb\u2028 é 漢\n\n".encode()

    def compress(*words):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(source)))
        assert cli.main(["compress", "a", *words]) == 0
        return capfdbinary.readouterr().out

    assert compress() == source
    shown = json.loads(compress("--target-tokens", "7", "--question", "q?", "--protect", "urls", "[0-9]+", "--json"))
    assert shown.pop("original_tokens") == 9
    assert shown == {"text": source.decode(), "target_tokens": 7, "question": "q?", "protect": ["urls", "[0-9]+"]}
    assert json.loads(compress("--rate", "0.25", "--json"))["rate"] == 0.25


def test_status_of_one_run_and_of_all(capsys):
    assert cli.main(["status"]) == 0
    assert capsys.readouterr().out == "no runs in runs\n"
    run = RunDirectory.create(load_config(None, ["name=r"]))
    assert cli.main(["status"]) == 0
    assert "created   runs/r" in capsys.readouterr().out
    assert cli.main(["status", str(run.path)]) == 0
    assert "state      created" in capsys.readouterr().out


def test_the_module_and_the_console_script_run_from_any_folder():
    for command in ([sys.executable, "-m", "rlcompress"], [str(Path(sys.executable).with_name("rlcompress"))]):
        done = subprocess.run(
            [*command, "config", "show", "--set", "sed=1"], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (2, "error: --set: unknown key sed: did you mean seed?\n")


@pytest.mark.parametrize(("before", "after"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_idle_threads_sleep_unless_somebody_wants_otherwise(monkeypatch, before, after):
    monkeypatch.setenv("OMP_WAIT_POLICY", before or "")
    if before is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    assert cli.main(["config", "create", "--output", "mine.yaml"]) == 0
    assert os.environ["OMP_WAIT_POLICY"] == after

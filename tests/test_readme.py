"""The README is true: its commands parse, its light ones and its Python run, its targets, files and keys exist."""

from __future__ import annotations

import ast
import importlib
import io
import logging
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlcompress import __main__ as cli
from rlcompress.artifact import save_artifact
from rlcompress.config.families import FAMILIES
from rlcompress.config.files import load_config, load_run
from rlcompress.config.keys import leaves
from rlcompress.errors import UserError
from rlcompress.measuring.metrics import METRICS
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.options import parser
from rlcompress.rewards.terms import find_term
from tests.rlcompress.small_models import TEXTS, small_scorer
from tests.rlcompress.test_artifact import manifest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FOLDERS = ("rlcompress", "envs", "policies", "cluster", "serve", "tests", "tune_configs", ".ci")
OTHER_COMMANDS = ("make", "source", "curl", "export", "ray")  # beside our own
LIGHT = ("compress", "config", "doctor")  # and `train --dry-run`: they run here


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


LINES = [line for block in blocks("bash") for line in block.splitlines() if line.strip()]
OURS = [line for line in LINES if line.startswith("python -m rlcompress ")]


def words(line: str) -> tuple[list[str], str | None]:
    """The arguments of one of our commands, and the file that goes to its standard input."""
    found = shlex.split(line)[3:]
    if "<" not in found:
        return found, None
    at = found.index("<")
    return found[:at], found[at + 1]


def light(line: str) -> bool:
    arguments, _ = words(line)
    return arguments[0] in LIGHT or "--dry-run" in arguments


@pytest.fixture(autouse=True)
def _own_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each command sets up logging for its process; here the process goes on."""
    monkeypatch.setattr(logging.root, "handlers", [])
    levels = {name: logging.getLogger(name).level for name in (None, *cli.FLOORS)}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bpe: TextTokenizer) -> Path:
    """A folder as after `make demo`, with a small artifact in place of the trained one."""
    (tmp_path / "tune_configs").symlink_to(ROOT / "tune_configs")
    (tmp_path / "prompt.txt").write_text(" ".join(TEXTS * 8), encoding="utf-8")
    folder = tmp_path / "runs" / "quickstart" / "artifact"
    save_artifact(folder, manifest(protect=()), small_scorer(bpe).network, bpe)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme_shows_every_command():
    (commands,) = (action for action in parser()._actions if action.dest == "command")
    assert {words(line)[0][0] for line in OURS} == set(commands.choices)


def test_there_is_nothing_else_in_its_shell_blocks():
    assert [line for line in LINES if line not in OURS and line.split()[0] not in OTHER_COMMANDS] == []


@pytest.mark.parametrize("line", OURS)
def test_a_command_parses_with_its_files_and_keys(line: str):
    arguments = parser().parse_args(words(line)[0])
    config = getattr(arguments, "config", None)
    if config is not None and not config.startswith("runs/"):
        assert load_run(ROOT / config, arguments.set)
    for file in getattr(arguments, "files", []):
        assert load_run(ROOT / file)


@pytest.mark.parametrize("line", [line for line in OURS if light(line)])
def test_a_light_command_runs(
    line: str, demo: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
):
    arguments, given = words(line)
    if given is not None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((demo / given).read_bytes())))
    status = cli.main(arguments)
    shown = capsysbinary.readouterr()
    assert (status, shown.err) == (0, b"")
    assert shown.out


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.splitlines()[0])
def test_python_runs(block: str, demo: Path, capsys: pytest.CaptureFixture[str]):
    names: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), names)
    if "print(" in block:
        assert capsys.readouterr().out


def test_python_blocks_import_what_exists():
    for block in blocks("python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names)


def test_yaml_is_a_configuration_and_its_own_term_is_found(demo: Path, monkeypatch: pytest.MonkeyPatch):
    (block,) = blocks("yaml")
    (demo / "mine.yaml").write_text(block, encoding="utf-8")
    config = load_config("mine.yaml")
    assert config.name == "mine"
    assert config.judges.reward.steps == load_config(ROOT / "tune_configs/masking/quickstart.yaml").judges.reward.steps
    (named,) = (name for name in config.reward.terms if ":" in name)
    module, _, function = named.partition(":")
    (source,) = (block for block in blocks("python") if f"def {function}(" in block)
    (demo / f"{module}.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(str(demo))
    assert find_term(named).function.__name__ == function


def make_targets() -> list[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return re.findall(r"^([A-Za-z%-]+):", makefile, re.MULTILINE)


def test_make_targets_exist():
    asked = set(re.findall(r"\bmake ([a-z][a-z_-]+)", "\n".join([*LINES, *re.findall(r"`([^`\n]+)`", README)])))
    assert {"demo", "test", "test-slow"} <= asked
    for target in asked:
        stem, _, script = target.partition("-")
        if target not in make_targets():
            assert f"{stem}-%" in make_targets(), target
            assert (ROOT / "tests" / "benchmarks" / f"{script}.py").is_file(), target


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "serve/README.md"])
def test_named_files_exist(page: str):
    text = (ROOT / page).read_text(encoding="utf-8")
    quoted = {name for quote in re.findall(r"`([^`\n]+)`", text) for name in quote.split()}
    named = {name for name in quoted if name.split("/")[0] in FOLDERS and "/" in name}
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_the_tree_names_files_that_exist():
    (tree,) = blocks("")
    missing = []
    for line in tree.splitlines():
        inside = ROOT / "rlcompress" if line.startswith(" ") else ROOT
        left = re.split(r"\s{2,}", line.strip())[0]
        missing += [name for name in left.split() if not (inside / name).exists()]
    assert missing == []


def test_named_keys_and_metrics_exist():
    every = [leaf for family in FAMILIES.values() for leaf in leaves(family)]
    keys = {".".join(leaf[:depth]) for leaf in every for depth in range(2, len(leaf) + 1)}
    sections = {key.partition(".")[0] for key in keys if "." in key}
    quoted = re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?:[:=][^`]*)?`", README)
    named = {
        key for key in quoted if key.partition(".")[0] in sections and not key.endswith((".yaml", ".py", ".jsonl"))
    }
    assert "judges.gate" in named
    assert named <= keys, named - keys
    assert all(f"`{metric}`" in README for metric in METRICS)


def test_a_wrong_key_in_a_command_would_be_found():
    with pytest.raises(UserError, match=r"learner\.lrr"):
        load_config(None, ["learner.lrr=1"])

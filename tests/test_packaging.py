"""The wheel holds the ground floor alone, and works where neither the checkout nor Ray is.

It is installed with `--no-deps` into an environment of its own, beside what the library's short list (`doctor.LIBRARY`)
brings along and nothing else: those packages are linked from this environment, so that no network is asked.
"""

import functools
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rlcompress import Compressor, PromptCompressor
from rlcompress.machine.doctor import LIBRARY
from tests.rlcompress.llmlingua.checkpoints import LONG, save_bert_classifier

ROOT = Path(__file__).resolve().parent.parent
TEXT = "The old man, who was well-known, paid 1,234.50 of it, and again it was well-known to all the others."
MESSAGES = [{"role": "system", "content": TEXT}, {"role": "user", "content": " ".join([TEXT] * 4)}]

pytestmark = pytest.mark.slow


def needed(names) -> set[str]:
    """These distributions and all that they require here."""
    found, waiting = set(), [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for line in importlib.metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(requirement.name))
    return found


def link(name: str, site: Path) -> None:
    """Make what a distribution installed importable in another environment."""
    distribution = importlib.metadata.distribution(name)
    for top in {file.parts[0] for file in distribution.files or [] if file.parts[0] != ".."}:
        if not (site / top).exists():
            (site / top).symlink_to(distribution.locate_file(top))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy: building leaves files behind
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for floor in ("rlcompress", "envs", "policies", "cluster", "serve"):
        shutil.copytree(ROOT / floor, source / floor, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "-w", str(folder), str(source)]
    subprocess.run(command, check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def elsewhere(wheel, tmp_path_factory):
    """Runs Python with these words in an environment that holds the wheel and the short list alone."""
    home = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / "bin" / "python"
    install = ["install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), "--quiet", *install], check=True)
    (site,) = home.glob("lib/python*/site-packages")
    for name in needed(LIBRARY):
        link(name, site)
    outside = tmp_path_factory.mktemp("outside")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(*words, given=""):
        return subprocess.run(
            [str(python), "-W", "error", *map(str, words)],
            cwd=outside,
            env=environment | {"HF_HUB_OFFLINE": "1"},
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The demo's run, every stage of it, at toy size."""
    runs = tmp_path_factory.mktemp("runs")
    words = ["train", "tune_configs/masking/quickstart.yaml", "--profile", "quick", "--set", f"runs={runs}"]
    done = subprocess.run([sys.executable, "-m", "rlcompress", *words], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return runs / "quickstart"


def test_the_wheel_holds_rlcompress_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"rlcompress"}
    assert {
        "rlcompress/py.typed",
        "rlcompress/reporting/report.html.j2",
        "rlcompress/card.md.j2",
        "rlcompress/__main__.py",
    } <= set(names)
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "rlcompress").rglob("*.py")}
    assert sources == {name for name in names if name.endswith(".py")}


def test_the_short_list_is_part_of_what_an_installation_brings():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    brought = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    assert {canonicalize_name(name) for name in LIBRARY} < brought
    assert not {"ray", "gymnasium", "scipy", "datasets", "pyarrow", "matplotlib", "llmlingua"} & needed(LIBRARY)


def test_nothing_else_is_there(elsewhere):
    code = "import importlib.util as u; print([n for n in {names} if u.find_spec(n)])"
    names = ["ray", "gymnasium", "scipy", "datasets", "pyarrow", "matplotlib", "envs", "policies", "cluster", "serve"]
    done = elsewhere("-c", code.format(names=names))
    assert (done.stdout, done.stderr) == ("[]\n", "")
    where = elsewhere("-c", "import rlcompress; print(rlcompress.__file__)").stdout
    assert "site-packages" in where
    assert str(ROOT) not in where


def test_doctor_and_config_work(elsewhere, tmp_path):
    command = functools.partial(elsewhere, "-m", "rlcompress")
    done = command("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the rest needs the checkout" in done.stdout
    assert command("config", "create", "--output", tmp_path / "c.yaml").returncode == 0
    assert command("config", "check", tmp_path / "c.yaml").stdout == f"ok {tmp_path / 'c.yaml'}\n"
    assert "needs the checkout" in command("train", "--dry-run").stdout


@pytest.mark.parametrize("words", [["train"], ["tune"], ["baselines"], ["evaluate", "x"]])
def test_other_commands_say_that_they_need_the_checkout(elsewhere, words):
    done = elsewhere("-m", "rlcompress", *words)
    assert (done.returncode, done.stderr) == (2, f"error: {words[0]} needs the checkout: pip install -e .\n")


def test_a_command_whose_package_is_missing_names_it(elsewhere, tmp_path):
    done = elsewhere("-m", "rlcompress", "report", tmp_path)
    absent = "which is not installed: pip install matplotlib pyarrow scipy\n"
    assert (done.returncode, done.stderr.partition(", ")[2]) == (2, absent)


@pytest.mark.ray
def test_it_serves_what_the_demo_trained(elsewhere, trained, tmp_path):
    """Text, messages, JSON, the drop-in, and a copy with its card: all as here, to the byte."""
    code = f"""
import json
from rlcompress import Compressor, PromptCompressor
one = Compressor.from_pretrained({str(trained)!r}, device="cpu")
one.save_pretrained({str(tmp_path / "copy")!r}, license="mit")
print(json.dumps([
    one.compress({TEXT!r}, 0.5, protect=["numbers"]).text,
    one.compress_messages({MESSAGES!r}, 0.5, question="Who paid?").messages,
    one.compress_json({{"text": {TEXT!r}, "n": 1}}, 0.5, min_tokens=8),
    PromptCompressor({str(trained / "artifact")!r}, "cpu").compress_prompt({TEXT!r}, rate=0.5),
]))
"""
    done = elsewhere("-c", code)
    assert done.returncode == 0, done.stderr
    here = Compressor.from_pretrained(trained, device="cpu")
    assert json.loads(done.stdout) == [
        here.compress(TEXT, 0.5, protect=["numbers"]).text,
        here.compress_messages(MESSAGES, 0.5, question="Who paid?").messages,
        here.compress_json({"text": TEXT, "n": 1}, 0.5, min_tokens=8),
        PromptCompressor(trained / "artifact", "cpu").compress_prompt(TEXT, rate=0.5),
    ]
    assert "distortion_bits" in (tmp_path / "copy" / "README.md").read_text(encoding="utf-8")
    shown = elsewhere("-m", "rlcompress", "compress", tmp_path / "copy", "--rate", "0.5", given=TEXT)
    assert (shown.stdout, shown.stderr) == (here.compress(TEXT, 0.5).text, "")


def test_it_takes_checkpoints_of_llmlingua_2(elsewhere, tmp_path):
    folder = save_bert_classifier(tmp_path / "small-bert-base-multilingual-cased")
    code = f"""
from rlcompress import PromptCompressor
print(PromptCompressor({str(folder)!r}, "cpu")({LONG!r}, rate=0.5)["compressed_prompt"], end="")
"""
    done = elsewhere("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == PromptCompressor(folder, "cpu")(LONG, rate=0.5)["compressed_prompt"]

"""The wheel holds the ground floor alone and works where neither the checkout nor Ray is."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Runs one command with Ray, Gymnasium and the checkout out of reach, as in an environment that holds only the wheel.
ELSEWHERE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ray", "gymnasium"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import rlcompress
assert sys.argv[1] in rlcompress.__file__, rlcompress.__file__
from rlcompress.__main__ import main
sys.exit(main(sys.argv[2:]))
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy: building leaves files behind
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for floor in ("rlcompress", "envs", "policies", "cluster", "serve"):
        shutil.copytree(ROOT / floor, source / floor, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(folder), str(source)], check=True)
    (built,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(built)], check=True)
    return built


def run_elsewhere(wheel, folder, *words):
    site = wheel.parent / "site"
    # -S: no .pth files are read, so an editable install does not bring the checkout back
    command = [sys.executable, "-S", "-c", ELSEWHERE, str(site), *words]
    path = os.pathsep.join([str(site), sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"]])
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


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


def test_doctor_and_config_work_without_ray_and_checkout(wheel, tmp_path):
    done = run_elsewhere(wheel, tmp_path, "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the rest needs the checkout" in done.stdout
    assert run_elsewhere(wheel, tmp_path, "config", "create", "--output", "c.yaml").returncode == 0
    assert run_elsewhere(wheel, tmp_path, "config", "check", "c.yaml").stdout == "ok c.yaml\n"
    assert "needs the checkout" in run_elsewhere(wheel, tmp_path, "train", "--dry-run").stdout


@pytest.mark.parametrize("words", [["train"], ["tune"], ["baselines"], ["evaluate", "x"]])
def test_other_commands_say_that_they_need_the_checkout(wheel, tmp_path, words):
    done = run_elsewhere(wheel, tmp_path, *words)
    assert (done.returncode, done.stderr) == (2, f"error: {words[0]} needs the checkout: pip install -e .\n")

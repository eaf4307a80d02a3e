"""The hostile programs at every level: each ends as it should, the host is untouched, and nothing is left behind."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlcompress.sandbox import seccomp
from rlcompress.sandbox.levels import try_level
from tests.rlcompress.sandbox.hostile.attack import GROUPS, Host, attack, faults, programs, survivors

NOBODY = 54321
SET = programs()
SOME = 4  # every fourth program in `make test`, all in `make test-slow`
STEPS = [SOME, pytest.param(1, marks=pytest.mark.slow)]


def test_the_set_is_as_large_as_it_should_be() -> None:
    assert len(SET) >= 60
    assert len({program.name for program in SET}) == len(SET)
    assert all(sum(program.group == group for program in SET) >= 10 for group in GROUPS)
    statuses = {"failed", "error", "timeout"}
    assert all(program.expected and set(program.expected) <= statuses for program in SET)
    for program in SET:
        compile(program.text.replace("@PORT@", "1").replace("@PID@", "1"), program.name, "exec")
    assert not any("918273645" in program.text for program in SET)


@pytest.mark.parametrize("step", STEPS)
def test_nothing_gets_through(level: str, step: int, tmp_path: Path) -> None:
    outcomes = list(attack(level, tmp_path, SET[::step]))
    assert len(outcomes) == len(SET[::step]) + 1
    assert faults(outcomes) == []


@pytest.mark.parametrize(
    "group", ["persistence", *(pytest.param(g, marks=pytest.mark.slow) for g in ("files", "network"))]
)
def test_namespaces_hold_without_the_filter(group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each wall of the strongest level is one: here processes can be made, and hold pipes, and still end."""
    if not try_level("bubblewrap").holds:
        pytest.skip(f"bubblewrap: {try_level('bubblewrap').reason}")
    monkeypatch.setattr(seccomp, "program", lambda *_, **__: struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000))
    for outcome in attack("bubblewrap", tmp_path, [program for program in SET if program.group == group]):
        assert outcome["damage"] == [], outcome
        assert outcome["survivors"] == [], outcome
        assert (outcome["status"] == "passed") == (outcome["name"] == "afterwards"), outcome


def interpreter_for_all() -> str:
    """A Python 3.11 or newer that a user without rights can start."""
    for path in (Path(sys.executable).resolve(), Path("/usr/bin/python3")):
        if path.exists() and all(parent.stat().st_mode & 1 for parent in path.parents):
            said = subprocess.run([path, "-c", "import sys; print(sys.version_info >= (3, 11))"], capture_output=True)
            if said.stdout.strip() == b"True":
                return str(path)
    pytest.skip("no Python 3.11 here that another user can start: apt-get install python3")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.skipif(os.geteuid() != 0, reason="not root: the tests above ran as an ordinary user")
def test_it_holds_for_an_ordinary_user_too(level: str, step: int) -> None:
    python = interpreter_for_all()
    place = Path("/var/tmp") / f"rlcompress-hostile-{os.getpid()}-{level}-{step}"
    spec = importlib.util.find_spec("rlcompress")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    try:
        (place / "rlcompress").mkdir(parents=True)
        for name in ("__init__.py", "errors.py"):
            shutil.copy(package / name, place / "rlcompress")
        shutil.copytree(package / "sandbox", place / "rlcompress" / "sandbox", ignore=shutil.ignore_patterns("__pyc*"))
        shutil.copytree(Path(__file__).parent, place / "hostile", ignore=shutil.ignore_patterns("__pyc*"))
        (place / "host").mkdir()
        for path in (place, *place.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        done = subprocess.run(
            [python, str(place / "hostile" / "attack.py"), level, str(place / "host"), str(step)],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            cwd="/",
            env={"PYTHONPATH": str(place), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert done.returncode == 0, done.stderr
        outcomes = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(outcomes) == len(SET[::step]) + 1
        assert faults(outcomes) == []
        assert survivors(str(place)) == []
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.mark.parametrize("name", ["reads_a_secret", "writes_a_file", "connects", "starts_a_program", "changes_a_mode"])
def test_the_host_feels_an_attack_that_nothing_holds_back(name: str, tmp_path: Path) -> None:
    """Without a jail each of these does its damage, so that the tests above can fail."""
    program = next(program for program in SET if program.name == name)
    outcomes = list(attack("rlimits", tmp_path, [program], minimum="rlimits"))
    assert any(outcome["damage"] for outcome in outcomes)
    assert faults(outcomes) != []


def test_survivors_are_found() -> None:
    mark = "a mark that nobody else has"
    assert survivors(mark) == []
    with subprocess.Popen([sys.executable, "-c", "input()", mark], stdin=subprocess.PIPE) as process:
        while process.poll() is None and not survivors(mark):
            time.sleep(0.01)  # a process has no command line in the first moment of its program
        assert process.poll() is None
        process.kill()
    assert survivors(mark) == []


def test_every_kind_of_damage_is_seen(tmp_path: Path) -> None:
    with Host(tmp_path) as host:
        assert host.damage() == []
        mine = host.canary / "mine.txt"
        before = mine.stat()
        mine.chmod(0o600)
        assert host.damage() == ["files"]
        mine.chmod(before.st_mode & 0o777)
        assert host.damage() == []
        os.setpriority(os.PRIO_PROCESS, host.victim.pid, 5)
        assert host.damage() == ["process"]
        host.victim.kill()
        host.victim.wait()
        assert host.damage() == ["process"]

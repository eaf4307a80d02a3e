"""Which level runs, what is refused when it does not hold, and what trouble of the jail itself is called."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from rlcompress.errors import UserError
from rlcompress.sandbox import CodeStatus, Limits, best_level, bubblewrap, jail, judge, levels, probe
from rlcompress.sandbox.interpreter import Interpreter
from rlcompress.sandbox.launch import LEVELS

HONEST = "def f(x):\n    return x\n"
TEST = ["assert f(1) == 1"]


def fake(monkeypatch: pytest.MonkeyPatch, *holding: str) -> None:
    monkeypatch.setattr(levels, "try_level", lambda name: levels.Held(name, name in holding, "it is not there"))


def test_the_probe_names_every_level_strongest_first() -> None:
    found = probe()
    assert [held.level for held in found] == ["bubblewrap", "landlock", "rlimits"]
    assert all(held.holds or held.reason for held in found)
    assert best_level() == next(held.level for held in found if held.holds)


def test_the_strongest_that_holds_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, "landlock", "rlimits")
    assert levels.choose("auto", "landlock") == "landlock"
    fake(monkeypatch, "bubblewrap", "landlock", "rlimits")
    assert levels.choose("auto", "landlock") == "bubblewrap"
    assert levels.choose("landlock", "landlock") == "landlock"


@pytest.mark.parametrize(
    ("level", "minimum", "words"),
    [
        (
            "auto",
            "landlock",
            ["bubblewrap: it is not there", "landlock: it is not there", "apt-get install bubblewrap"],
        ),
        ("auto", "bubblewrap", ["bubblewrap"]),
        ("bubblewrap", "landlock", ["'bubblewrap'", "not there"]),
        ("rlimits", "landlock", ["below the minimum"]),
        ("docker", "landlock", ["sandbox level 'docker'", "bubblewrap, landlock, rlimits"]),
        ("auto", "none", ["sandbox minimum 'none'"]),
    ],
)
def test_it_fails_closed(monkeypatch: pytest.MonkeyPatch, level: str, minimum: str, words: list[str]) -> None:
    fake(monkeypatch, "rlimits")
    with pytest.raises(UserError) as caught:
        judge(HONEST, TEST, level=level, minimum=minimum)
    assert all(word in str(caught.value) for word in words), caught.value


def test_the_weakest_runs_when_it_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, "rlimits")
    verdict = judge(HONEST, TEST, level="rlimits", minimum="rlimits")
    assert (verdict.passed, verdict.level) == (True, "rlimits")


def test_a_level_that_lets_something_through_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    levels.try_level.cache_clear()
    monkeypatch.setitem(LEVELS, "landlock", LEVELS["rlimits"])
    try:
        held = levels.try_level("landlock")
    finally:
        levels.try_level.cache_clear()
    assert not held.holds
    assert "a socket" in held.reason


def test_an_unknown_processor_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    levels.try_level.cache_clear()
    monkeypatch.setattr(levels.platform, "machine", lambda: "riscv64")
    try:
        reasons = {held.level: held.reason for held in probe()}
    finally:
        levels.try_level.cache_clear()
    assert "riscv64" in reasons["bubblewrap"]
    assert "riscv64" in reasons["landlock"]


@pytest.mark.parametrize("script", ["#!/bin/sh\necho no namespaces here >&2\nexit 1\n", "#!/bin/sh\nexit 0\n"])
def test_a_jail_that_does_not_start_says_nothing_about_the_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str
) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text(script, encoding="utf-8")
    broken.chmod(0o755)
    monkeypatch.setattr(bubblewrap, "binary", lambda: str(broken))
    fake(monkeypatch, "bubblewrap")
    verdict = judge(HONEST, TEST, level="bubblewrap")
    assert verdict.status is CodeStatus.SANDBOX_ERROR
    assert "did not start" in verdict.detail
    assert ("no namespaces here" in verdict.detail) == ("echo" in script)


def test_a_jail_that_never_says_hello_is_the_jails_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    broken.chmod(0o755)
    monkeypatch.setattr(bubblewrap, "binary", lambda: str(broken))
    monkeypatch.setattr(jail, "START_SECONDS", 0.3)
    fake(monkeypatch, "bubblewrap")
    assert judge(HONEST, TEST, level="bubblewrap").status is CodeStatus.SANDBOX_ERROR


def test_a_jail_killed_from_outside_says_nothing_about_the_program(monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    started: list[int] = []
    popen = jail.subprocess.Popen

    def start(*words: object, **given: object) -> object:
        process = popen(*words, **given)  # type: ignore[call-overload]
        started.append(process.pid)
        return process

    monkeypatch.setattr(jail.subprocess, "Popen", start)

    def kill() -> None:
        while not started:
            time.sleep(0.01)
        time.sleep(1.0)
        os.kill(started[0], signal.SIGKILL)

    threading.Thread(target=kill).start()
    program = "import time\ndef f(x):\n    time.sleep(60)"
    verdict = judge(program, TEST, limits=Limits(wall_seconds=50), level=level)
    assert verdict.status is CodeStatus.SANDBOX_ERROR


def test_an_interpreter_below_the_scratch_folder_is_not_hidden_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "binary", lambda: "bwrap")
    python = Interpreter("/tmp/python/bin/python3", ("/tmp/python/lib",))
    words = bubblewrap.command(python, 1 << 20, 5, 6)
    places = [words.index(word) for word in ("--tmpfs", "/tmp/python/lib", "/tmp/python/bin/python3", "--remount-ro")]
    assert places == sorted(places)


def test_it_ends_with_its_parent(level: str, tmp_path: Path) -> None:
    import subprocess
    import sys

    code = f"""
from rlcompress.sandbox import Limits, judge
judge("import time\\ndef f(x): time.sleep(60)", ["assert f(1) == 1"],
      limits=Limits(wall_seconds=50, memory_bytes=300_003_328), level={level!r})
"""
    parent = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not _running() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _running()
    time.sleep(0.3)
    parent.kill()
    parent.wait()
    while _running() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _running()


def _running() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if b"limit(300003328," in (entry / "cmdline").read_bytes():
                    found.append(entry.name)
            except OSError:
                continue
    return found

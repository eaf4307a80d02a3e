"""What a timing depends on beside the code: the machine's kind, its load, the commit."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path


def surroundings() -> dict[str, object]:
    """Python, kernel, processor, cores, load, user's kind, commit (`+` where files had changed)."""
    root = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True).stdout.strip()

    changed = "+" if git("status", "--porcelain", "--untracked-files=no", "--", "../../rlcompress/sandbox") else ""
    return {
        "python": platform.python_version(),
        "kernel": platform.release().partition("-")[0],
        "processor": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "root": os.geteuid() == 0,
        "commit": git("rev-parse", "--short", "HEAD") + changed,
    }

"""Profiles: named partial configurations in `tune_configs/profiles/` that overlay any run file.

They lie in the checkout and not in the wheel, which holds `rlcompress` alone.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from rlcompress.errors import UserError

FOLDER = Path(__file__).resolve().parents[2] / "tune_configs" / "profiles"
AUTO = "auto"  # on the command line: the profile that suits this machine
_SMALL, _LARGE = 20.0, 70.0  # GB of the smallest card: a T4 has 15, an L4 22, an A100 39 or 79, an H100 79


def profile_names(folder: Path = FOLDER) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def profile_file(name: str, folder: Path = FOLDER) -> Path:
    """Where a profile lies; a UserError that names the nearest one when there is no such profile."""
    known = profile_names(folder)
    if not known:
        raise UserError(f"--profile {name}: profiles are read from {folder}, in the checkout: pip install -e .")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        file = Path(name).suffix in (".yaml", ".yml", ".json")
        mend = "give CONFIG before --profile" if file else f"did you mean {near}? There are {', '.join(known)}"
        raise UserError(f"--profile {name}: no such profile: {mend}")
    return folder / f"{name}.yaml"


def suited(kind: str, memory_gb: float = 0.0) -> tuple[str, str]:
    """The hardware profile for a device, and why.

    Args:
        kind: cuda, mps or cpu, as a device that computes.
        memory_gb: of the smallest card that computes, in 2^30 bytes; of no matter but for cuda.
    """
    if kind != "cuda":
        return (kind, "an Apple GPU computes") if kind == "mps" else ("cpu", "no graphics card computes here")
    has = f"the smallest graphics card has {memory_gb:g} GB"
    if memory_gb < _SMALL:
        return "low-vram", f"{has}, below {_SMALL:g}"
    if memory_gb >= _LARGE:
        return "large-gpu", f"{has}, at least {_LARGE:g}"
    return "cuda", f"{has}, from {_SMALL:g} to {_LARGE:g}"

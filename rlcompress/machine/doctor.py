"""Says what an installation can do: versions, hardware, caches, and which parts of the checkout are there."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rlcompress import sandbox
from rlcompress.machine import hardware

Level = Literal["ok", "note", "MISSING"]

# What the library needs where it is installed without its dependencies, and so without Ray.
_MODELS = ("torch", "transformers", "tokenizers", "safetensors", "huggingface_hub")
LIBRARY = ("numpy", *_MODELS, "pydantic", "PyYAML", "regex", "snowballstemmer", "jinja2")
CHECKOUT = ("ray", "gymnasium", "scipy", "datasets", "pyarrow", "matplotlib", "tensorboardX")
OPTIONAL = ("deepspeed", "wandb", "mlflow")
FLOORS = ("envs", "policies", "cluster", "serve")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `MISSING` is what must be mended before anything works."""

    name: str
    level: Level
    value: str


def version(package: str) -> str | None:
    """The installed version of a distribution, without importing it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def floor_present(name: str) -> bool:
    """True when `name` lies beside this package, i.e. in the checkout, and not merely somewhere on the path."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return False
    return Path(spec.origin).resolve().parent.parent == Path(__file__).resolve().parents[2]


def examine() -> list[Finding]:
    """All findings, in the order in which they are printed."""
    return [*_packages(), *_checkout(), *_hardware(), *_sandbox(), *_caches()]


def table(findings: list[Finding]) -> str:
    """The findings as aligned lines."""
    width = max(len(finding.name) for finding in findings)
    return "\n".join(f"{finding.name:<{width}}  {finding.level:<7}  {finding.value}" for finding in findings)


def healthy(findings: list[Finding]) -> bool:
    return all(finding.level != "MISSING" for finding in findings)


def _packages() -> Iterator[Finding]:
    good = (3, 11) <= sys.version_info < (3, 13)
    mend = "" if good else ", needs 3.11 or 3.12"
    yield Finding("Python", "ok" if good else "MISSING", platform.python_version() + mend)
    yield Finding("rlcompress", "ok", version("rlcompress") or "not installed, run from its folder")
    for name in LIBRARY:
        found = version(name)
        yield Finding(name, "ok" if found else "MISSING", found or f"pip install {name}")
    for name in OPTIONAL:
        if found := version(name):
            yield Finding(name, "ok", found)


def _checkout() -> Iterator[Finding]:
    present = [name for name in FLOORS if floor_present(name)]
    complete = len(present) == len(FLOORS)
    shown = ", ".join(present) or "none"
    yield Finding("checkout", "ok" if complete else "note", shown if complete else f"{shown}: {NO_CHECKOUT}")
    for name in CHECKOUT:
        found = version(name)
        absent: Level = "MISSING" if complete else "note"
        yield Finding(name, "ok" if found else absent, found or "not installed, the checkout needs it")
    mode = os.environ.get("RAY_AUTH_MODE", "token (Ray's default)")
    given = [key for key in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH") if key in os.environ]
    yield Finding("Ray auth mode", "ok", mode + (f", from {given[0]}" if given else ""))


NO_CHECKOUT = "only compress, report, config and doctor work; the rest needs the checkout: pip install -e ."


def _hardware() -> Iterator[Finding]:
    yield Finding("platform", "ok", f"{platform.system()} {platform.machine()}")
    yield Finding("CPU cores", "ok", str(hardware.cores()))
    memory = hardware.memory_bytes() / hardware.GIGABYTE
    yield Finding("memory", "ok" if memory >= 4 else "note", f"{memory:.1f} GB")
    disk = hardware.free_disk_bytes(".") / hardware.GIGABYTE
    yield Finding("free disk here", "ok" if disk >= 2 else "note", f"{disk:.1f} GB")
    if version("torch") is None:
        return
    from rlcompress.machine.device import choose_device, fault

    yield Finding("device auto", "ok", str(choose_device("auto")))
    yield Finding("profile auto", "ok", ": ".join(hardware.suited_profile()))
    cards = hardware.graphics_cards()
    for number, card in enumerate(cards):
        why = fault(f"cuda:{number}")
        memory_text = f"{card['name']}, {card['memory_gb']} GB"
        yield Finding(f"cuda:{number}", "note" if why else "ok", memory_text + (f": {why}" if why else ""))
    if not cards:
        yield Finding("CUDA", "note", "no device")


def _sandbox() -> Iterator[Finding]:
    """The strongest jail for code that a model wrote, and why a stronger one does not hold."""
    found = sandbox.probe()
    best = next((held.level for held in found if held.holds and held.level != "rlimits"), None)
    reasons = "; ".join(f"{held.level}: {held.reason}" for held in found if not held.holds)
    told = f"{best or 'none: no code of a model is run'}{f' ({reasons})' if reasons else ''}"
    yield Finding("sandbox", "ok" if best else "note", told)


def _caches() -> Iterator[Finding]:
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    models = sorted(hub.glob("models--*")) if hub.is_dir() else []
    offline = ", offline" if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") else ""
    yield Finding("Hugging Face cache", "ok", f"{hub}: {len(models)} models{offline}")

"""Publishes folders whole or not at all: checkpoints, judges and artifacts are never seen half written.

A folder is filled under a temporary name, its files are flushed to disk, a `STABLE` file with the hash of each is
added, and one rename makes it visible. A reader trusts a folder only when the hashes agree.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rlcompress.errors import UserError

MARKER = "STABLE"
POINTERS = ("best", "last")
_PERIODIC = re.compile(r"iteration-(\d+)")


def checkpoint_name(iteration: int) -> str:
    """`iteration-000050` for 50."""
    return f"iteration-{iteration:06d}"


@contextlib.contextmanager
def publishing(final_dir: Path) -> Iterator[Path]:
    """Gives an empty folder to fill, and publishes it as `final_dir` unless the block raises.

    Example: `with publishing(run.checkpoints / checkpoint_name(50)) as folder: save(folder)`
    """
    temporary = final_dir.with_name(f".{final_dir.name}.tmp")
    if temporary.exists():
        shutil.rmtree(temporary)  # left by a process that was killed
    temporary.mkdir(parents=True)
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    publish(temporary, final_dir)


def publish(tmp_dir: Path, final_dir: Path) -> None:
    """Make a filled folder visible as `final_dir` in one step; a folder that was there before is replaced."""
    files = {str(path.relative_to(tmp_dir)): _sha256(path) for path in sorted(tmp_dir.rglob("*")) if path.is_file()}
    files.pop(MARKER, None)
    write_atomically(tmp_dir / MARKER, json.dumps({"name": final_dir.name, "sha256": files}, indent=1) + "\n")
    for path in [*tmp_dir.rglob("*"), tmp_dir]:
        _flush(path)
    replaced = final_dir.with_name(f".{final_dir.name}.old")
    if final_dir.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        final_dir.rename(replaced)
    tmp_dir.rename(final_dir)
    _flush(final_dir.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def why_torn(folder: Path) -> str | None:
    """What is wrong with a published folder, or None when all its files are as they were published."""
    try:
        files: dict[str, str] = json.loads((folder / MARKER).read_text(encoding="utf-8"))["sha256"]
    except FileNotFoundError:
        return f"no {MARKER} file"
    except (ValueError, KeyError, TypeError):
        return f"its {MARKER} file is damaged"
    for name, digest in files.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if _sha256(folder / name) != digest:
            return f"{name} has changed"
    return None


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest whole checkpoint, and why newer ones were passed over (`"iteration-000050: no STABLE file"`)."""

    path: Path | None
    skipped: tuple[str, ...] = ()


def latest_stable(folder: Path) -> Latest:
    """Find the checkpoint of the highest iteration whose files verify."""
    skipped: list[str] = []
    for path in reversed(periodic(folder)):
        why = why_torn(path)
        if why is None:
            return Latest(path, tuple(skipped))
        skipped.append(f"{path.name}: {why}")
    return Latest(None, tuple(skipped))


def iteration_of(checkpoint: Path) -> int:
    """50 for `iteration-000050`."""
    return int(checkpoint.name.rpartition("-")[2])


def periodic(folder: Path) -> list[Path]:
    """The `iteration-…` folders, oldest first."""
    numbered = [(int(m[1]), p) for p in folder.glob("iteration-*") if p.is_dir() and (m := _PERIODIC.fullmatch(p.name))]
    return [path for _, path in sorted(numbered)]


def rotate(folder: Path, keep: int) -> list[str]:
    """Delete the oldest checkpoints beyond `keep`, never one that `best` or `last` points at; returns their names."""
    held = {pointed(folder, pointer) for pointer in POINTERS}
    doomed = [path for path in periodic(folder)[:-keep] if path not in held]
    for path in doomed:
        remove(path)
    return [path.name for path in doomed]


def remove(folder: Path) -> None:
    """Delete a folder so that a kill in the middle leaves no half of it under its name."""
    hidden = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(hidden, ignore_errors=True)  # left by a process that was killed
    folder.rename(hidden)
    shutil.rmtree(hidden)


def sweep(folder: Path) -> None:
    """Delete what killed writers and removers left under temporary names. No writer may be at work."""
    for path in [*folder.glob(".*.tmp"), *folder.glob(".*.old")]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def point(folder: Path, pointer: str, name: str) -> None:
    """Let `best` or `last` name a checkpoint, replacing what it named before in one step."""
    assert pointer in POINTERS, pointer
    assert (folder / name).is_dir(), f"{folder / name} is not there"
    write_atomically(folder / pointer, name + "\n")


def pointed(folder: Path, pointer: str) -> Path | None:
    """The checkpoint that `best` or `last` names, or None when it names none."""
    file = folder / pointer
    return folder / file.read_text(encoding="utf-8").strip() if file.is_file() else None


def find_checkpoint(folder: Path, name: str = "latest") -> Path:
    """A checkpoint by name: latest (the newest whole one), best, last or `iteration-000050`.

    Raises:
        UserError: it is not there or torn.
    """
    if name == "latest":
        latest = latest_stable(folder)
        if latest.path is None:
            torn = f" ({'; '.join(latest.skipped)})" if latest.skipped else ""
            raise UserError(f"no whole checkpoint in {folder}{torn}")
        return latest.path
    path = pointed(folder, name) if name in POINTERS else folder / name
    if path is None or not path.is_dir():
        there = ", ".join(item.name for item in periodic(folder)) or "none"
        raise UserError(f"no checkpoint {name} in {folder}; there are: {there}")
    if (why := why_torn(path)) is not None:
        raise UserError(f"checkpoint {path} cannot be used: {why}")
    return path


def write_atomically(path: Path, text: str) -> None:
    """Replace a text file in one step, flushed to disk."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

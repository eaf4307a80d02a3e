"""`rlcompress submit` and `status JOB`: a training as a Ray job, on a cluster reached by its dashboard's URL."""

from __future__ import annotations

import fnmatch
import logging
import os
import shlex
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from rlcompress.config.files import load_run
from rlcompress.config.profiles import AUTO
from rlcompress.config.schema import SubmitConfig
from rlcompress.errors import UserError

log = logging.getLogger(__name__)

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
_PROBE = 5.0  # seconds; Ray's own client would wait for minutes
_MEGABYTE = 1_000_000
Answer = TypeVar("Answer")


def submit(
    config_path: str | None,
    overrides: Sequence[str] = (),
    address: str | None = None,
    *extra: str,
    profiles: Sequence[str] = (),
) -> str:
    """Upload the working directory, start `rlcompress train` with it on a cluster, and return the job's id.

    Args:
        config_path: a configuration inside the working directory; None takes the defaults.
        overrides: `key=value`, as for `--set`.
        address: URL of the cluster's dashboard; default `RAY_API_SERVER_ADDRESS`, then this machine's.
        extra: further options of `train`, e.g. `--dry-run`.
        profiles: as for `--profile`; `auto` is chosen there, by the machine that runs the job.

    Raises:
        UserError: too large an upload, nobody at the address, or a cluster that refuses the token.
    """
    config = load_run(config_path, overrides, [name for name in profiles if name != AUTO])
    root = Path.cwd()
    _require_checkout(root, config_path)
    _require_small(root, config.submit)
    if not Path(config.runs).is_absolute():
        log.warning("runs is a relative folder, which on a cluster ends with the job: --set runs=/a/shared/folder")
    client = _connect(address)
    environment = {"working_dir": str(root), "excludes": list(config.submit.exclude)}
    entrypoint = _entrypoint(config_path, overrides, [*(["--profile", *profiles] if profiles else []), *extra])
    return _asked(client, lambda: str(client.submit_job(entrypoint=entrypoint, runtime_env=environment)))


def job_status(job: str, address: str | None = None) -> str:
    """What `rlcompress status JOB` prints; raises as `submit` does, or for an unknown job."""
    client = _connect(address)
    info = _asked(client, lambda: client.get_job_info(job))
    return f"job        {job}\nstate      {info.status} {info.message or ''}\ncommand    {info.entrypoint}"


def _entrypoint(config_path: str | None, overrides: Sequence[str], extra: Sequence[str]) -> str:
    words = ["python", "-m", "rlcompress", "train", *([config_path] if config_path else []), *extra]
    return shlex.join([*words, *(["--set", *overrides] if overrides else [])])


def _require_checkout(root: Path, config_path: str | None) -> None:
    if not (root / "rlcompress" / "__main__.py").is_file():
        raise UserError(f"submit uploads the working directory, and {root} is not the checkout: cd there first")
    if config_path is not None:
        path = Path(config_path)
        if path.is_absolute() or not path.resolve().is_relative_to(root):
            raise UserError(f"{config_path} must be given by its path inside {root}, which is what is uploaded")


def _require_small(root: Path, settings: SubmitConfig) -> None:
    """Sizes as they lie on disk; the upload is compressed, so this errs on the safe side."""
    sizes: Counter[str] = Counter()
    for path in _uploaded(root, settings.exclude):
        sizes[path.relative_to(root).parts[0]] += path.lstat().st_size
    total = sizes.total() / _MEGABYTE
    if total > settings.max_megabytes:
        largest = ", ".join(f"{name} ({size / _MEGABYTE:.1f} MB)" for name, size in sizes.most_common(3))
        raise UserError(
            f"{root} has {total:.1f} MB to upload, submit.max_megabytes is {settings.max_megabytes:g}; largest: "
            f"{largest}: name what the run does not need in submit.exclude"
        )


def _uploaded(folder: Path, exclude: Sequence[str], inside: str = "") -> Iterator[Path]:
    """All files under a folder that no pattern names, be it by name at any depth or by path from the root."""
    for path in sorted(folder.iterdir()):
        relative = f"{inside}{path.name}"
        if any(_matches(pattern.strip("/"), path.name, relative) for pattern in exclude):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _uploaded(path, exclude, f"{relative}/")
        else:
            yield path


def _matches(pattern: str, name: str, relative: str) -> bool:
    return fnmatch.fnmatchcase(relative if "/" in pattern else name, pattern)


def _connect(address: str | None) -> Any:
    address = (address or os.environ.get("RAY_API_SERVER_ADDRESS") or DEFAULT_ADDRESS).rstrip("/")
    if "://" not in address:
        address = f"http://{address}"
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"--address {address} is no dashboard: give http://HOST:8265")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname, port), timeout=_PROBE).close()
    except (OSError, ValueError) as error:
        raise UserError(
            f"nobody answers at --address {address} ({error}): is the cluster up, with its dashboard, "
            "and this its URL? `ray start --head` starts one here at 127.0.0.1:8265"
        ) from None
    token = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if token and not Path(token).is_file():
        raise UserError(f"RAY_AUTH_TOKEN_PATH names {token}, where no file is: give the file with the cluster's token")
    return _asked(address, lambda: JobSubmissionClient(address))


def _asked(whom: Any, ask: Callable[[], Answer]) -> Answer:
    """What the cluster answers, with its refusals in the user's words. No token is ever shown."""
    address = whom if isinstance(whom, str) else whom.get_address()
    try:
        return ask()
    except AuthenticationError:
        raise UserError(
            f"the cluster at {address} refuses the token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or "
            "RAY_AUTH_TOKEN_PATH (a file) to the token that the cluster was started with"
        ) from None
    except (RuntimeError, OSError) as error:  # what Ray and its HTTP client raise
        raise UserError(f"the cluster at {address} refuses: {str(error).splitlines()[0]}") from None

"""Joining or starting Ray, and leaving nothing behind."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any

import ray

from rlcompress.config.running import Run
from rlcompress.errors import UserError

NAMESPACE = "rlcompress"
_KNOCK = 5.0  # seconds for a TCP connection to the head node


@contextlib.contextmanager
def ray_session(config: Run) -> Iterator[None]:
    """Ray for the length of the block: the running one if this process has it, else joined or started and shut down.

    Raises:
        UserError: nothing answers at `resources.address`.
    """
    if ray.is_initialized():
        yield
        return
    address = cluster_address(config)
    _probe(address)
    options: dict[str, Any] = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address:
            ray.init(address=address, **options)
        else:
            ray.init(include_dashboard=False, **options)
    except (ConnectionError, ValueError, RuntimeError, SystemExit) as error:  # Ray exits where something else answers
        raise _unreachable(address, str(error).splitlines()[0]) from error
    logging.getLogger("ray.rllib").setLevel(logging.ERROR)  # it warns of its own API stack at every start
    try:
        yield
    finally:
        ray.shutdown()


def cluster_address(config: Run) -> str | None:
    """The cluster that a run joins; None where Ray is started on this machine."""
    return config.resources.address or os.environ.get("RAY_ADDRESS")


def _probe(address: str | None) -> None:
    """Knock at the address first: Ray itself goes on trying a closed port for many minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, str(error)) from error


def _unreachable(address: str | None, why: str) -> UserError:
    return UserError(
        f"no Ray cluster answers at resources.address {address!r} ({why}): start one with `ray start --head`, "
        "or leave the address out to run here"
    )

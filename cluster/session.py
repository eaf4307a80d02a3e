"""Joining or starting Ray, and leaving nothing behind."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

import ray

from rlcompress.config.schema import RunConfig
from rlcompress.errors import UserError

NAMESPACE = "rlcompress"


@contextlib.contextmanager
def ray_session(config: RunConfig) -> Iterator[None]:
    """Ray for the length of the block: the running one if this process has it, else joined or started and shut down.

    Raises:
        UserError: nothing answers at `resources.address`.
    """
    if ray.is_initialized():
        yield
        return
    address = config.resources.address or os.environ.get("RAY_ADDRESS")
    options = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address:
            ray.init(address=address, **options)
        else:
            ray.init(include_dashboard=False, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(
            f"no Ray cluster answers at resources.address {address!r} ({str(error).splitlines()[0]}): "
            "start one with `ray start --head`, or leave the address out to run here"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()

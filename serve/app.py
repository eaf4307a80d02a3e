"""Start and stop of the server: `rlcompress serve RUN_OR_ARTIFACT`."""

from __future__ import annotations

import contextlib
import json
import logging
import shlex
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import ray
import torch
from ray import serve

from rlcompress.artifact import load_scorer
from rlcompress.config.schema import ServeConfig
from rlcompress.errors import UserError
from serve.endpoint import Endpoint

APPLICATION = "rlcompress"


def run(artifact: Path, *, host: str, port: int, settings: ServeConfig) -> None:
    """Serve an artifact until Ctrl-C or SIGTERM, then leave no process behind.

    Raises:
        UserError: an incomplete artifact, a port that is taken, or more replicas than CPUs.
    """
    with serving(artifact, host=host, port=port, settings=settings) as url:
        body = shlex.quote(json.dumps({"text": "The quick brown fox jumps over the lazy dog.", "rate": 0.5}))
        print(
            f"serving    {artifact} at {url} until Ctrl-C",
            f"try        curl -s {url}/v1/compress -d {body}",
            sep="\n",
            flush=True,
        )
        _until_stopped()
    print("stopped", flush=True)


@contextlib.contextmanager
def serving(artifact: Path, *, host: str, port: int, settings: ServeConfig) -> Iterator[str]:
    """A server for the length of the block; gives its URL. Port 0 takes a free one. Raises as `run` does."""
    load_scorer(artifact, torch.device("cpu"))  # what is wrong with it is said here, not in the log of a replica
    port = _claim(host, port)
    with _ray():
        _require(settings)
        try:
            serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port})
            endpoint = serve.deployment(
                serve.ingress()(Endpoint),
                name="Endpoint",
                num_replicas=settings.replicas,
                # The replica counts and refuses by itself, in the right shape; Serve's own bounds lie just behind.
                max_ongoing_requests=2 * max(settings.queue, settings.batch),
                max_queued_requests=settings.queue,
            )
            bound = endpoint.bind(str(artifact.resolve()), settings.model_dump(mode="json"))
            serve.run(bound, name=APPLICATION, route_prefix="/", logging_config={"log_level": "WARNING"})
            yield f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
        finally:
            serve.shutdown()


@contextlib.contextmanager
def _ray() -> Iterator[None]:
    """Ray for the length of the block: as this process has it, as RAY_ADDRESS names it, or one started here."""
    if ray.is_initialized():
        yield
        return
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def _claim(host: str, port: int) -> int:
    """The port, once it is known to be free; Serve itself would try for a minute."""
    try:
        with socket.create_server((host, port)) as claimed:
            return int(claimed.getsockname()[1])
    except OSError as error:
        raise UserError(f"cannot listen at {host}:{port} ({error.strerror}): choose another --host or --port") from None


def _require(settings: ServeConfig) -> None:
    cpus = ray.cluster_resources().get("CPU", 0.0)
    if settings.replicas > cpus:
        raise UserError(f"serve.replicas is {settings.replicas}, a CPU each, and there are {cpus:g} CPUs: lower it")
    if others := sorted(serve.status().applications):
        raise UserError(f"Serve already runs {', '.join(others)} on this Ray cluster: unset RAY_ADDRESS to serve apart")


def _until_stopped() -> None:
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        while not stop.wait(0.5):  # in steps: a wait without end would not hear the signal on every platform
            pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

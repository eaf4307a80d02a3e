"""Starting, joining and leaving Ray. A process of its own, as one process can hold one Ray only."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[2]


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**inherited, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


JOIN = """
from cluster.session import ray_session
from rlcompress.config.schema import RunConfig
from rlcompress.errors import UserError
import ray, time
started = time.monotonic()
try:
    with ray_session(RunConfig.model_validate({"resources": {"address": ADDRESS}})):
        print("inside")
except UserError as error:
    print(f"{type(error).__name__}: {error}")
print(f"up {ray.is_initialized()} after {time.monotonic() - started:.1f}")
"""


def join(address: str | None) -> str:
    """A program that joins and says what came of it."""
    return f"ADDRESS = {address!r}\n{JOIN}"


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nothing_answers_is_one_line_within_seconds(scheme: str) -> None:
    address = f"{scheme}127.0.0.1:{closed_port()}"
    result = python(join(address))
    said, state = result.stdout.splitlines()
    assert said.startswith("UserError: no Ray cluster answers at resources.address")
    assert address in said
    assert "ray start --head" in said
    assert state.startswith("up False")
    assert float(state.split()[-1]) < 10


def test_an_address_in_the_environment_is_probed_too() -> None:
    result = python(join(None), RAY_ADDRESS=f"127.0.0.1:{closed_port()}")
    assert "UserError: no Ray cluster answers" in result.stdout


def test_a_malformed_address_is_a_users_mistake() -> None:
    result = python(join("nonsense"))
    assert "UserError: no Ray cluster answers at resources.address 'nonsense'" in result.stdout


def test_ray_is_started_and_gone_after_the_block_even_when_it_raises() -> None:
    result = python("""
from cluster.session import NAMESPACE, ray_session
from rlcompress.config.schema import RunConfig
import ray
try:
    with ray_session(RunConfig()):
        print(ray.is_initialized(), ray.get_runtime_context().namespace == NAMESPACE)
        with ray_session(RunConfig()):
            print("a session within a session is the same")
        print(ray.is_initialized())
        raise KeyError
except KeyError:
    print(ray.is_initialized())
""")
    assert result.stdout.splitlines() == ["True True", "a session within a session is the same", "True", "False"]


def test_the_running_one_is_used_and_left_running(ray_cluster: None) -> None:
    import ray

    from cluster.session import ray_session
    from rlcompress.config.schema import RunConfig

    started = time.monotonic()
    with ray_session(RunConfig()):
        assert ray.cluster_resources()["CPU"] == 4.0
    assert ray.is_initialized()
    assert time.monotonic() - started < 2

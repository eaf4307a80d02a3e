"""Jobs: what is refused before anything is sent, and a round trip on a cluster of the test's own."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.jobs import _uploaded, submit
from rlcompress.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "tune_configs/masking/quickstart.yaml"


def test_nobody_at_the_address_is_said_within_seconds(monkeypatch):
    monkeypatch.chdir(ROOT)
    started = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(UserError, match=f"nobody answers at --address http://127.0.0.1:{port}"):
        submit(CONFIG, address=f"127.0.0.1:{port}")
    assert time.monotonic() - started < 10
    with pytest.raises(UserError, match="is no dashboard"):
        submit(CONFIG, address="ray://127.0.0.1:10001")


def test_too_large_an_upload_names_the_largest_folders(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=r"max_megabytes is 0\.01; largest: \w+ \([\d.]+ MB\), .*submit\.exclude"):
        submit(CONFIG, ["submit.max_megabytes=0.01"], "http://127.0.0.1:1")


def test_what_is_uploaded_must_be_the_checkout_with_the_configuration(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is not the checkout"):
        submit(None)
    (tmp_path / "mine.yaml").write_text("seed: 1\n", encoding="utf-8")
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match="by its path inside"):
        submit(str(tmp_path / "mine.yaml"))


def test_excludes_go_by_name_at_any_depth_or_by_path(tmp_path):
    for name in ("a.py", "runs/x", "deep/runs/x", "deep/b.bin", "deep/keep.py", "other/b.bin"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    left = [str(path.relative_to(tmp_path)) for path in _uploaded(tmp_path, ["runs", "deep/*.bin"])]
    assert left == ["a.py", "deep/keep.py", "other/b.bin"]


# ------------------------------------------------------------------------------------------------ a real cluster


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """URL and environment of a one-node cluster with a token of its own; its process group is ended, nothing else."""
    folder = tmp_path_factory.mktemp("head")
    token = folder / "token"
    token.write_text(secrets.token_hex(32), encoding="utf-8")
    short = Path(f"/tmp/rlc-{os.getpid()}")  # the paths of Ray's sockets must stay short
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}",
    }
    port = free_port()
    command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--num-cpus=2"]
    command += ["--node-ip-address=127.0.0.1", f"--port={free_port()}", "--include-dashboard=true"]
    command += [f"--dashboard-port={port}", f"--dashboard-agent-listen-port={free_port()}"]
    command += [f"--ray-client-server-port={free_port()}", f"--temp-dir={short}", "--disable-usage-stats"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text(encoding="utf-8")
                assert time.monotonic() < deadline, (folder / "log").read_text(encoding="utf-8")
                time.sleep(0.3)
        yield f"http://127.0.0.1:{port}", environment
    finally:
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(5)
        with contextlib.suppress(ProcessLookupError):  # what is left of the group
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        shutil.rmtree(short, ignore_errors=True)


def rlcompress(*words, environment):
    return python("-m", "rlcompress", *words, environment=environment)


def python(*words, environment):
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90)


SUBMIT = "import sys; from cluster import submit; print(submit(sys.argv[1], sys.argv[2:3], sys.argv[3], '--dry-run'))"


@pytest.mark.ray
def test_a_submitted_training_runs_on_the_cluster(head):
    address, environment = head
    submitted = python("-c", SUBMIT, CONFIG, "runs=/tmp/rlcompress runs", address, environment=environment)
    assert submitted.returncode == 0, submitted.stderr
    job = submitted.stdout.split()[-1]
    assert job.startswith("raysubmit_")
    deadline = time.monotonic() + 90
    while (
        "SUCCEEDED" not in (status := rlcompress("status", job, "--address", address, environment=environment)).stdout
    ):
        assert status.returncode == 0, status.stderr
        assert "FAILED" not in status.stdout, status.stdout
        assert time.monotonic() < deadline, status.stdout
        time.sleep(1)
    assert f"train {CONFIG} --dry-run --set 'runs=/tmp/rlcompress runs'" in status.stdout
    unknown = rlcompress("status", "raysubmit_nobody", "--address", address, environment=environment)
    assert unknown.returncode == 2
    assert "raysubmit_nobody" in unknown.stderr


@pytest.mark.ray
def test_a_wrong_token_is_refused_with_the_mend_and_never_shown(head, tmp_path):
    address, environment = head
    wrong = tmp_path / "token"
    wrong.write_text(secret := secrets.token_hex(32), encoding="utf-8")
    refused = rlcompress(
        "submit", CONFIG, "--address", address, environment=environment | {"RAY_AUTH_TOKEN_PATH": str(wrong)}
    )
    assert refused.returncode == 2
    assert "error: the cluster at" in refused.stderr
    assert "RAY_AUTH_TOKEN_PATH" in refused.stderr
    assert secret not in refused.stdout + refused.stderr
    absent = environment | {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "absent")}
    assert "where no file is" in rlcompress("submit", CONFIG, "--address", address, environment=absent).stderr

"""The server as a user starts it: a process of its own, asked over HTTP, stopped by a signal."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rlcompress.compressor import Compressor
from rlcompress.config.schema import ServeConfig
from rlcompress.errors import UserError

pytestmark = pytest.mark.ray
ROOT = Path(__file__).resolve().parents[2]
TEXT = "The assertion is extraordinary: the old man, who was well-known, paid 1,234.50 of it. naïve 👍🏽 日本語"
SETTINGS = ["serve.max_characters=2000", "serve.batch=4"]


def ask(url, body=None):
    """Status and parsed answer; `body` may be bytes to send something else than JSON."""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def children(pid):
    """Living descendants of a process by /proc, as (pid, start time): a number alone may be used again."""
    below, found = {}, []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            below.setdefault(int(fields[1]), []).append((int(entry.parent.name), fields[19]))
    queue = [pid]
    while queue:
        queue += [child for child, _ in below.get(queue[0], [])]
        found += below.get(queue.pop(0), [])
    return found


def alive(process):
    pid, started = process
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[19] == started and fields[0] != "Z"


@pytest.fixture(scope="module")
def server(artifact):
    """URL and process of `rlcompress serve`, on a free port."""
    command = [sys.executable, "-m", "rlcompress", "serve", str(artifact), "--port", "0", "--set", *SETTINGS]
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            first = process.stdout.readline()
            assert "http://" in first, "the server said why on stderr"
            yield "http://" + first.split("http://")[1].split()[0], process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(60)


@pytest.fixture
def url(server):
    return server[0]


def test_it_answers_what_the_compressor_says(url, artifact):
    compressor = Compressor.from_pretrained(artifact, device="cpu")
    status, answer = ask(f"{url}/v1/compress", {"text": [TEXT, "One more."], "rate": 0.4, "return_spans": True})
    assert status == 200
    expected = compressor.compress([TEXT, "One more."], 0.4)
    assert [r["text"] for r in answer["results"]] == [c.text for c in expected]
    assert [[tuple(s) for s in r["spans"]] for r in answer["results"]] == [c.spans for c in expected]
    assert answer["tokens_before"] == sum(c.original_tokens for c in expected)
    assert answer["model"] == "tiny"
    assert ask(f"{url}/healthz") == (200, {"status": "ok", "model": "tiny"})


def test_requests_at_the_same_time_are_not_mixed_up(url, artifact):
    compressor = Compressor.from_pretrained(artifact, device="cpu")
    bodies = [{"text": f"{TEXT} number {i}", "target_tokens": 10 + i, "protect": ["numbers"]} for i in range(12)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda body: ask(f"{url}/v1/compress", body), bodies))
    for body, (status, answer) in zip(bodies, answers, strict=True):
        expected = compressor.compress(body["text"], target_tokens=body["target_tokens"], protect=["numbers"])
        assert (status, answer["results"][0]["text"]) == (200, expected.text)
        assert "spans" not in answer["results"][0]


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/v1/compress", {"text": "a b", "rato": 0.5}, 400, "rato"),
        ("/v1/compress", {"text": "a b", "rate": 0.5, "target_tokens": 3}, 400, None),
        ("/v1/compress", {"text": "a b", "protect": ["(unclosed"]}, 400, None),
        ("/v1/compress", b"{nonsense", 400, None),
        ("/v1/compress", b'{"text": "\\ud800"}', 400, None),
        ("/v1/compress", {"text": "x" * 2001}, 413, None),
        ("/v1/compress", b" " * 100_000, 413, None),
        ("/v1/nowhere", None, 404, None),
        ("/v1/compress", None, 405, None),
    ],
)
def test_mistakes_come_back_in_the_shape_of_openai(url, path, body, status, param):
    got, answer = ask(url + path, body)
    assert got == status
    assert answer["error"].keys() == {"message", "type", "param", "code"}
    assert answer["error"]["param"] == param


def test_what_cannot_be_served_is_refused_before_ray_starts(artifact, tmp_path):
    from serve.app import serving

    here = {"host": "127.0.0.1", "settings": ServeConfig()}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match="--port"), serving(artifact, port=port, **here):
            pass
    with pytest.raises(UserError, match=r"manifest\.json"), serving(tmp_path, port=0, **here):
        pass


def test_it_stops_at_a_signal_and_leaves_no_process(server):
    _, process = server
    before = children(process.pid)
    assert len(before) > 2, "Ray's processes are not below the server: the search is wrong"
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert process.stdout.read().endswith("stopped\n")
    assert [child for child in before if alive(child)] == []

"""A hub on this machine: the few requests that creating, uploading and downloading a model repository make."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Repositories = dict[str, dict[str, bytes]]  # by id: files by path
SHA = "0123456789abcdef0123456789abcdef01234567"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    repositories: Repositories
    requests: list[str]

    def log_message(self, format: str, *args: Any) -> None:
        self.requests.append(format % args)

    def answer(self, body: bytes | dict[str, Any] | list[Any], status: int = 200, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            self.repositories.setdefault(name, {})
            self.answer({"url": f"http://{self.headers['Host']}/{name}", "name": name})
        elif found := re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
            files = [{**file, "uploadMode": "regular", "shouldIgnore": False} for file in json.loads(body)["files"]]
            self.answer(
                {"files": [{key: file[key] for key in ("path", "uploadMode", "shouldIgnore")} for file in files]}
            )
        elif found := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.repositories[found[1]][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer({"commitUrl": f"http://{self.headers['Host']}/{found[1]}/commit/{SHA}", "commitOid": SHA})
        else:  # the card's metadata are checked before a commit
            self.answer({"errors": [], "warnings": []} if "validate-yaml" in self.path else {}, 200)

    def do_GET(self) -> None:
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(?:revision|tree)/[^?]+(\?.*)?", self.path):
            files = self.repositories.get(found[1])
            if files is None:
                self.answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
            elif "/tree/" in self.path:
                self.answer([{"type": "file", "path": p, "size": len(f), "oid": oid(f)} for p, f in files.items()])
            else:
                self.answer({"id": found[1], "sha": SHA, "siblings": [{"rfilename": path} for path in files]})
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", self.path):
            data = self.repositories[found[1]][found[2]]
            self.answer(data, ETag=f'"{oid(data)}"', X_Repo_Commit=SHA)
        else:
            self.answer({"error": "not here"}, 404)

    do_HEAD = do_GET


def oid(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


@contextmanager
def hub() -> Iterator[tuple[str, Repositories, list[str]]]:
    """Its address, its repositories, and the requests that it has answered."""
    handler = type("OneHub", (Handler,), {"repositories": {}, "requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.repositories, handler.requests  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

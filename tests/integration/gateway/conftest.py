"""The real gateway in front of two stand-in services that answer with what reached them."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.parse import unquote

import httpx
import pytest

from tests.stack import ROOT, reserve_ports, until

BODY_SECONDS = 2
(HTTPS_PORT,) = reserve_ports(1)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """The gateway hangs up in the middle of a body that is too large."""


class _Echo(BaseHTTPRequestHandler):
    upstream: "Upstream"

    def answer(self) -> None:
        if self.path == "/broken":
            self.upstream.broken.append(self.command)
            self.close_connection = True
            return
        if self.path == "/events":
            self.stream()
            return
        self.take()
        if self.path == "/slow":
            time.sleep(BODY_SECONDS + 1)
        echoed = {"service": self.upstream.name, "method": self.command, "path": self.path}
        body = json.dumps(echoed | {"headers": {k.lower(): v for k, v in self.headers.items()}}).encode()
        typed = unquote(self.path).partition("/typed?")[2]
        body = b"x" * 5000 if typed else body
        self.send_response(200 if self.path != "/readyz" or self.upstream.ready else 503)
        self.send_header("Content-Length", str(len(body)))
        if typed:
            self.send_header("Content-Type", typed)
        self.send_header("X-Request-Id", self.headers.get("X-Request-Id", ""))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def take(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        while length > 0 and (chunk := self.rfile.read(min(length, 2**20))):
            length -= len(chunk)
        if length > 0:
            self.upstream.cut_off.set()

    def stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for number in (1, 2):
            self.wfile.write(f"data: {number}\n\n".encode())
            self.upstream.go_on.wait(10)

    do_GET = do_HEAD = do_POST = do_DELETE = answer  # noqa: N815 - the library's names
    do_PUT = do_PATCH = do_OPTIONS = do_TRACE = do_BREW = answer  # noqa: N815

    def log_message(self, *_: object) -> None: ...


class Upstream:
    """A service that echoes; it can be closed, opened again on its port, and be not ready."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.port = port
        self.ready = True
        self.cut_off = Event()  # a body ended before its length
        self.broken: list[str] = []  # methods of calls that were broken off
        self.go_on = Event()  # the second of two events is sent
        self._server: ThreadingHTTPServer | None = None

    def open(self) -> None:
        self._server = _Server(("127.0.0.1", self.port), type("Echo", (_Echo,), {"upstream": self}))
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@dataclass
class Gateway:
    url: str
    blobs: Path
    ingest: Upstream
    status: Upstream
    client: httpx.Client

    def get(self, path: str, **options: str) -> httpx.Response:
        return self.client.get(self.url + path, headers={k.replace("_", "-"): v for k, v in options.items()})


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    port, *inner = reserve_ports(3)
    ingest, status = (Upstream(name, at) for name, at in zip(("ingest", "status"), inner, strict=True))
    folder = tmp_path_factory.mktemp("gateway")
    ingest.open()
    status.open()
    with caddy(folder, port, ingest=ingest.port, status=status.port, max_body="1MB"), httpx.Client() as client:
        yield Gateway(f"http://127.0.0.1:{port}", folder / "the blobs", ingest, status, client)
    ingest.close()
    status.close()


@contextmanager
def caddy(
    folder: Path,
    port: int,
    *,
    ingest: int | str,
    status: int | str,
    max_body: str,
    body_seconds: float = BODY_SECONDS,
    site: str = "http://",
    checks: bool = True,
    settings: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """The gateway in a process of its own; `ingest` and `status` are ports of one or more replicas."""
    env = {
        "HALFTONE_PORT": str(port),
        "HALFTONE_INGEST_UPSTREAMS": _upstreams(ingest),
        "HALFTONE_STATUS_UPSTREAMS": _upstreams(status),
        "HALFTONE_SITE": site,
        "HALFTONE_CERT_ISSUER": "internal",
        "HALFTONE_ACCESS_LOG": "stdout",
        "HALFTONE_BLOB_DIR": str(folder / "the blobs"),
        "HALFTONE_GATEWAY_MAX_BODY": max_body,
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "PATH": os.defpath,
        **(settings or {}),
    }
    caddyfile, config = (ROOT / "deploy/gateway/Caddyfile").read_text(), folder / "Caddyfile"
    assert "read_body 16m" in caddyfile
    text = caddyfile.replace("read_body 16m", f"read_body {body_seconds}s")
    assert "https_port 8443" in text
    assert "health_uri /healthz" in text
    text = text.replace("https_port 8443", f"https_port {HTTPS_PORT}")
    config.write_text(text if checks else text.replace("health_uri /healthz", ""))
    command = [str(Path(sys.executable).parent / "caddy"), "run", "--config", str(config), "--adapter", "caddyfile"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        until(lambda: _listens(port))
        yield
    finally:
        process.terminate()
        process.wait(10)


def _upstreams(ports: int | str) -> str:
    return " ".join(f"127.0.0.1:{port}" for port in str(ports).split())


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True

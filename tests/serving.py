"""An application on a real server, so that early answers, ranges, streams and disconnects are real."""

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Thread

import httpx
import uvicorn
from starlette.types import ASGIApp

from tests.stack import ROOT, reserve_ports, until

WITHOUT_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""The `verify` of httpx for what is served here: without it each client reads all authorities, for 20 ms of CPU."""


@contextmanager
def serving(app: ASGIApp, *, send_buffer: int | None = None) -> Iterator[str]:
    """Its address; with a small `send_buffer` (bytes) a client that stops reading soon blocks the application."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if send_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=2))
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def service_process(
    service: str, env: Mapping[str, str], *, before: Callable[[], None] | None = None
) -> Iterator[tuple[str, int]]:
    """Address and pid of `ingest` or `status` in a process of its own; the child calls `before` before it starts."""
    [port] = reserve_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", f"services.{service}.app:create", "--factory", "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, **env, "HALFTONE_LOG_LEVEL": "warning"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=before,  # noqa: PLW1509 - no threads of this process hold locks that the child needs
    )
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _is_ready(address), within=30)
        yield address, process.pid
    finally:
        process.terminate()
        process.wait(20)


def _is_ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz", verify=WITHOUT_TLS).status_code == 200
    except httpx.TransportError:
        return False

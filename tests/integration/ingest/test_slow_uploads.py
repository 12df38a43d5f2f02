"""Slow uploads: each holds one of the places for uploads."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from services.ingest import body
from services.ingest.app import create
from services.ingest.settings import IngestSettings
from shared.db import Database
from tests.integration.ingest.test_accept import post_csv
from tests.integration.ingest.test_changes import CHANGES
from tests.integration.ingest.test_http_edges import problem
from tests.serving import serving
from tests.stack import until

SIZE = 100_000


@contextmanager
def begun(address: str, path: str = "/v1/requests", *, client: str = "192.0.2.1") -> Iterator[socket.socket]:
    """A connection on which one byte of an upload was sent."""
    host = urlsplit(address)
    with socket.create_connection((host.hostname, host.port), timeout=20) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {client}\r\nContent-Type: text/csv\r\n"
        head += f"Content-Length: {SIZE}\r\n\r\n"
        connection.sendall(head.encode() + b"x")
        yield connection


@pytest.mark.parametrize(("path", "status"), [("/v1/requests", b"408"), ("/upload", b"400")])
def test_an_upload_that_falls_silent_is_refused(
    address: str, database: Database, monkeypatch: pytest.MonkeyPatch, path: str, status: bytes
) -> None:
    monkeypatch.setattr(body, "IDLE_TIMEOUT", 0.5)
    monkeypatch.setattr(body, "MIN_RATE", 0.001)
    with begun(address, path) as connection:
        answer = b""
        while b"slow_upload" not in answer:  # the connection ends some seconds later
            answer += (more := connection.recv(1 << 16))
            assert more, answer
    assert answer.startswith(b"HTTP/1.1 " + status)


def test_slow_uploads_do_not_starve_other_calls(settings: IngestSettings, database: Database) -> None:
    with (
        serving(create(settings.model_copy(update={"http_at_once": 2}))) as address,
        httpx.Client(base_url=address, timeout=30) as client,
        begun(address),
        begun(address, "/api/upload-csv/", client="192.0.2.2"),
    ):
        until(lambda: post_csv(client).status_code == 503)
        for method, path in CHANGES:
            assert problem(client.request(method, path.format(uuid4()))) == (404, "not_found")

"""An origin on loopback, an `Egress` that is allowed to reach it, and a clock."""

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from shared.egress import Answer, Egress
from shared.errors import ImageError
from tests.origin import Origin

PICTURE = bytes(range(256)) * 400


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture
def egress(origin: Origin) -> Iterator[Egress]:
    egress = Egress([origin.place])
    yield egress
    egress.close()


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


def get(egress: Egress, url: str, *, seconds: float = 5.0, max_bytes: int = 1_000_000) -> bytearray:
    [(_, outcome, _)] = egress.fetch_all([url], deadline_seconds=seconds, max_bytes=max_bytes)
    if isinstance(outcome, bytearray):
        return outcome
    raise outcome or RuntimeError("given up")


def failure(egress: Egress, url: str, *, seconds: float = 5.0, max_bytes: int = 1_000_000) -> ImageError:
    with pytest.raises(ImageError) as caught:
        get(egress, url, seconds=seconds, max_bytes=max_bytes)
    return caught.value


def post(egress: Egress, url: str, *, seconds: float = 5.0) -> Answer:
    headers = {"Content-Type": "application/json", "webhook-id": "evt_1"}
    return egress.post(url, body=b"{}", headers=lambda: headers, deadline_seconds=seconds, max_response_bytes=1000)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for `localhost`, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    arguments = [*command.split(), "-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(arguments, cwd=folder, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return both


@contextmanager
def https_origin(certificate: Path, *records: bytes, hold: bool = False) -> Iterator[int]:
    """Answers the one request of every connection, with one TLS record or more for each of `records`, all sent at once.

    It closes then, or waits for the other side if it is to `hold`. Yields its port.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(sock: socket.socket) -> None:
        arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(arrived, leaving, server_side=True)
        for step in (tls.do_handshake, tls.read):
            while True:
                try:
                    step()
                    break
                except ssl.SSLWantReadError:
                    sock.sendall(leaving.read())
                    if not arrived.write(sock.recv(65536)):
                        return
        for record in records:
            tls.write(record)
        sock.sendall(leaving.read())
        if hold:
            sock.recv(1)

    def serve() -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                with suppress(OSError), sock:
                    answer(sock)

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)

"""Clients that send a call and do not read the answer."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from services.status import files, products
from services.status.app import create
from services.status.settings import StatusSettings
from services.status.views import ExportRow
from shared.db import Database
from shared.http import connection
from tests.integration.status import seed
from tests.serving import serving
from tests.stack import until

SMALL = 16 * 1024


@pytest.fixture
def crowded(settings: StatusSettings) -> Iterator[str]:
    """A server that answers one call at a time, with small system buffers, so that an unread answer soon blocks."""
    app = create(settings.model_copy(update={"http_at_once": 1}))
    with serving(app, send_buffer=SMALL) as address:
        yield address


@pytest.fixture(params=["output.csv", "products"])
def path(request: pytest.FixtureRequest, database: Database) -> str:
    """An answer of a megabyte or more: one streamed, one sent as a whole."""
    found = seed.request(products=5)
    image = seed.completed(found.id, 1, url="https://images.example/".ljust(2048, "x"))
    seed.add(database, [found, image, *(seed.product(found.id, row, [1] * 100) for row in range(1, 6))])
    return f"/v1/requests/{found.id}/{request.param}"


@contextmanager
def begun(address: str, path: str) -> Iterator[None]:
    """An answer of which only the first byte is read."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        client.connect(("127.0.0.1", urlsplit(address).port))
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert client.recv(1) == b"H"
        yield


def status(address: str, path: str) -> int:
    return httpx.get(f"{address}{path}").status_code


def test_an_unread_answer_counts_as_under_way_until_the_client_has_gone(crowded: str, path: str) -> None:
    with begun(crowded, path):
        assert status(crowded, path) == 503

    until(lambda: status(crowded, path) == 200, within=30)


def test_a_client_that_reads_nothing_is_cut_off(crowded: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SEND_TIMEOUT", 0.5)

    with begun(crowded, path):
        until(lambda: status(crowded, path) == 200)
        until(lambda: not connections(crowded))


@pytest.mark.parametrize("path", ["output.csv"], indirect=True)
def test_a_download_that_is_not_read_takes_no_place_from_a_call(crowded: str, path: str) -> None:
    with begun(crowded, path):
        assert status(crowded, "/v1/requests") == 200


def connections(address: str) -> list[object]:
    """The server's side of the connections; the server runs in this process."""
    port = urlsplit(address).port
    ours = psutil.Process().net_connections("tcp")
    return [one for one in ours if one.laddr.port == port and one.status == psutil.CONN_ESTABLISHED]


def test_a_client_that_reads_gets_all_of_it(crowded: str, client: httpx.Client, path: str) -> None:
    assert httpx.get(f"{crowded}{path}").content == client.get(path).content


class Counted:
    """Stands for the rows of a download; knows how many are being read at once, and the most that were."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = Lock()

    def __iter__(self) -> Iterator[list[ExportRow]]:
        for _ in range(3):
            with self._lock:
                self.now += 1
                self.most = max(self.most, self.now)
            time.sleep(0.05)
            with self._lock:
                self.now -= 1
            yield []


def test_many_downloads_leave_the_interpreter_to_other_calls(
    settings: StatusSettings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, counted = seed.request(products=0), Counted()
    seed.add(database, [found])
    monkeypatch.setattr(products, "export_rows", lambda *_: iter(counted))

    with serving(create(settings)) as address, ThreadPoolExecutor(20) as clients:
        path = f"/v1/requests/{found.id}/output.csv"
        assert set(clients.map(lambda _: status(address, path), range(20))) == {200}

    assert counted.most == files.EXPORTS_AT_ONCE

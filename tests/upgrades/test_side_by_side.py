"""Both versions on one database and one broker: a rolling upgrade under load, and the way back.

Every service becomes new and then old again, in the same order, so that each is old beside each new one and the other
way round. Two workers take each other's messages.
"""

import csv
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import draw
from tests.api import JSON, ApiError, Client
from tests.origin import Origin, body, late, status
from tests.stack import ROOT, until
from tests.upgrades.two_versions import MixedStack

SERVICES = ("ingest", "worker-1", "worker-2", "notifier", "status")
PRODUCTS, IMAGES_OF_PRODUCT = 50, 4
IMAGES = PRODUCTS * IMAGES_OF_PRODUCT
FETCH_SECONDS = 0.15
"""So that a request takes longer than a restart."""
ENV = {
    "HALFTONE_WORKERS": "2",
    "HALFTONE_THREADS": "8",
    "HALFTONE_CODEC_PROCESSES": "1",
    "HALFTONE_LOG_FORMAT": "json",
    "HALFTONE_HOST_FETCHES": "64",
}


@dataclass
class Shop:
    """Sends the same manifest again and again, and knows what must come of it."""

    stack: MixedStack
    api: Client
    origin: Origin
    products: list[tuple[str, str, list[str]]]
    sent: dict[str, str] = field(default_factory=dict)
    """The path of the webhook, by request."""

    def send(self) -> str:
        path = f"/hook/{len(self.sent)}"
        request = self.api.upload(manifest(self.products), webhook_url=self.origin.on(path, status(204)))
        self.sent[request["request_id"]] = path
        return str(request["request_id"])

    def check(self, request_id: str) -> None:
        """Everything that a client is told of a finished request is right."""
        request = self.api.finished(request_id, within=120, watch=lambda _: assert_no_errors(self.stack))
        assert (request["status"], request["outcome"]) == ("completed", "success"), request
        counts = {"total": IMAGES, "pending": 0, "completed": IMAGES, "failed": 0, "cancelled": 0}
        assert request["images"] == counts
        of_request = f"/v1/requests/{request_id}"
        images = {image["url"]: image for image in self.api.items(f"{of_request}/images", page_size="500")}
        assert [image["status"] for image in images.values()] == ["completed"] * IMAGES
        rows = csv.reader(io.StringIO(self.api.read(f"{of_request}/output.csv").decode(), newline=""))
        wanted = [
            [serial, name, ",".join(urls), ",".join(images[url]["output_url"] for url in urls)]
            for serial, name, urls in self.products
        ]
        assert list(rows)[1:] == wanted
        assert json.loads(self.api.read(f"{of_request}/report"))["request_id"] == request_id
        self.check_webhook(request_id, request)

    def check_webhook(self, request_id: str, request: JSON) -> None:
        until(lambda: self._delivered(request_id), within=30)
        (post,) = self.origin.posts(self.sent[request_id])
        event = json.loads(post.body)
        assert event["type"] == "request.completed"
        assert {name: event["data"][name] for name in ("request_id", "images", "bytes")} == {
            name: request[name] for name in ("request_id", "images", "bytes")
        }

    def _delivered(self, request_id: str) -> bool:
        found = list(self.api.items(f"/v1/requests/{request_id}/deliveries"))
        return [(delivery["status"], len(delivery["attempts"])) for delivery in found] == [("delivered", 1)]


@dataclass
class Reader:
    """Reads all the time; `wrong` is everything that was not a success."""

    api: Client
    wrong: list[ApiError] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stop.wait(0.05):
            try:
                self.api.read("/v1/requests")
            except ApiError as error:
                self.wrong.append(error)


@pytest.fixture
def stack(workspace: Path, previous: Path) -> Iterator[MixedStack]:
    with MixedStack(workspace / "mixed", previous, services=SERVICES, env=ENV) as stack:
        yield stack


@pytest.fixture
def shop(stack: MixedStack) -> Iterator[Shop]:
    with Origin(port=stack.host_ports[0]) as origin:
        names = [f"/{number}.jpg" for number in range(IMAGES)]
        pictures = [late(body(draw(name, (120, 90))), seconds=FETCH_SECONDS) for name in names[:20]]
        urls = [origin.on(name, pictures[number % 20]) for number, name in enumerate(names)]
        of_product = [urls[at : at + IMAGES_OF_PRODUCT] for at in range(0, IMAGES, IMAGES_OF_PRODUCT)]
        products = [(str(number), f"Product {number}", of_it) for number, of_it in enumerate(of_product)]
        yield Shop(stack, Client(stack.base_url), origin, products)


def migrate(stack: MixedStack) -> None:
    """As an operator does with the new image, while the old services run."""
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", "deploy/migrations/alembic.ini", "upgrade", "head"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": stack.database_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def expand_further(stack: MixedStack) -> None:
    """What any later migration may do: the code of both versions runs on what neither knows."""
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            statement = SQL("ALTER TABLE {} ADD COLUMN later integer, ADD COLUMN more text NOT NULL DEFAULT 'x'")
            connection.execute(statement.format(Identifier(table)))
        connection.execute("UPDATE alembic_version SET version_num = '9999'")


def restart_as_the_other(stack: MixedStack, name: str) -> None:
    stack.change(name)
    address = f"http://127.0.0.1:{stack.state()['ports'][name]}/readyz"
    until(lambda: _answers(address), within=30)


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=2, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def assert_no_errors(stack: MixedStack) -> None:
    """No line above a warning, and no trace."""
    bad = ('"level": "error"', '"level": "critical"', "Traceback")
    assert [line for line in stack.log().splitlines() if any(sign in line for sign in bad)] == []


def test_services_of_two_versions_work_together_in_every_pairing(stack: MixedStack, shop: Shop, previous: Path) -> None:
    reader = Reader(Client(stack.base_url))
    reading = threading.Thread(target=reader.run)
    reading.start()
    together: set[tuple[str, str]] = set()
    try:
        begun = shop.send()
        migrate(stack)
        expand_further(stack)
        shop.check(begun)
        for name in (*SERVICES, *SERVICES):
            begun = shop.send()
            restart_as_the_other(stack, name)
            old = {other for other in SERVICES if stack.runs_in(other) == previous.resolve()}
            together |= {(one, other) for one in old for other in set(SERVICES) - old}
            shop.check(shop.send())
            shop.check(begun)
    finally:
        reader.stop.set()
        reading.join()
    assert together == set(permutations(SERVICES, 2))
    assert reader.wrong == []
    assert_no_errors(stack)

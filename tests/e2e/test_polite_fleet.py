"""Two worker processes and an image host with a limit of two, and one that asks for pauses; a stack of its own."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import pytest

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import draw
from tests.api import Client
from tests.origin import Exchange, Origin, body, status
from tests.stack import Stack

LIMIT = 2
IMAGES = 40


@dataclass(slots=True)
class Crowd:
    """A picture, and how many requests for it were under way at once."""

    picture: bytes
    most: int = 0
    now: int = 0
    lock: Lock = field(default_factory=Lock)

    def __call__(self, exchange: Exchange) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        exchange.pause(0.05)
        with self.lock:
            self.now -= 1
        body(self.picture)(exchange)


@pytest.fixture(scope="module")
def stack(workspace: Path, cluster: Path) -> Iterator[Stack]:
    env = {"HALFTONE_WORKERS": "2", "HALFTONE_HOST_FETCHES": str(LIMIT), "HALFTONE_SWEEP_SECONDS": "0.5"}
    with Stack(workspace / "polite", env=env, like=cluster) as stack:
        yield stack


def test_hosts_are_treated_as_they_wish_and_every_image_comes(stack: Stack, api: Client, origin: Origin) -> None:
    picture = draw("a.jpg", (160, 120))
    origin.otherwise = crowd = Crowd(picture)
    with Origin(port=stack.host_ports[1]) as busy:
        urls = [origin.url(f"/{n}.jpg") for n in range(IMAGES)]
        again = status(429, headers={"Retry-After": "1"})
        urls += [busy.on(f"/{n}.jpg", again, body(picture)) for n in range(4)]
        upload = manifest([(str(n), f"Product {n}", [url]) for n, url in enumerate(urls)])
        request = api.finished(api.upload(upload)["request_id"], within=60)
        assert max(busy.hits(f"/{n}.jpg") for n in range(4)) == 2
    assert (request["status"], request["images"]["completed"]) == ("completed", len(urls))
    assert crowd.most == LIMIT
    assert sum(origin.hits(f"/{n}.jpg") for n in range(IMAGES)) == IMAGES, "nothing is fetched twice"

"""Every service is restarted in turn while clients upload and watch: no 5xx, no broken connection, nothing lost."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import draw
from tests.api import ApiError, Client
from tests.origin import Origin
from tests.stack import Stack, until

PRODUCTS = 30


@dataclass
class Clients:
    """Two clients that continue until `stop`; `wrong` is everything that was not a success."""

    api: Client
    upload: bytes
    stop: threading.Event = field(default_factory=threading.Event)
    accepted: list[str] = field(default_factory=list)
    reads: int = 0
    wrong: list[ApiError] = field(default_factory=list)

    def write(self) -> None:
        self.accepted.append(self.api.upload(self.upload)["request_id"])

    def read(self) -> None:
        self.api.read("/v1/requests")
        self.reads += 1

    def again_and_again(self, call: Callable[[], None], every: float) -> None:
        while not self.stop.wait(every):
            try:
                call()
            except ApiError as error:
                self.wrong.append(error)


@contextmanager
def busy(clients: Clients) -> Iterator[None]:
    calls = ((clients.write, 0.2), (clients.read, 0.05))
    threads = [threading.Thread(target=clients.again_and_again, args=call) for call in calls]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        clients.stop.set()
        for thread in threads:
            thread.join()


def test_a_rolling_restart_loses_nothing_and_answers_no_5xx(stack: Stack, api: Client, origin: Origin) -> None:
    urls = [origin.add(f"/roll/{n}.jpg", draw(f"{n}.jpg", (160, 120))) for n in range(PRODUCTS)]
    clients = Clients(api, manifest([(str(n), f"Product {n}", [url]) for n, url in enumerate(urls)]))
    folders = _temporary_folders()
    with busy(clients):
        until(lambda: clients.accepted and clients.reads, within=20)
        for name in ("ingest", "status", "worker-1", "worker-2", "notifier"):
            stack.restart(name)
            before = (len(clients.accepted), clients.reads)
            until(lambda: len(clients.accepted) > before[0] and clients.reads > before[1], within=30)  # noqa: B023
    assert clients.wrong == []
    for request_id in clients.accepted:
        request = api.finished(request_id, within=120)
        assert (request["outcome"], request["images"]["completed"]) == ("success", PRODUCTS)
    assert _temporary_folders() == folders


def _temporary_folders() -> int:
    """Each worker's fork server has its socket in one."""
    return len(list(Path(os.environ["TMPDIR"]).glob("pymp-*")))

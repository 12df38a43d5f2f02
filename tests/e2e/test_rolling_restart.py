"""Every service is restarted in turn while clients upload and watch: no 5xx, no broken connection, nothing lost."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from deploy.demo.catalogue import manifest
from deploy.demo.client import Client
from deploy.demo.pictures import draw
from tests.origin import Origin
from tests.stack import Stack, until

PRODUCTS = 30


@dataclass
class Clients:
    """Two clients that continue until `stop`; `wrong` is everything that was not a success."""

    base_url: str
    upload: bytes
    stop: threading.Event = field(default_factory=threading.Event)
    accepted: list[str] = field(default_factory=list)
    reads: int = 0
    wrong: list[str] = field(default_factory=list)

    def write(self) -> None:
        with httpx.Client(base_url=self.base_url, timeout=30) as http:
            while not self.stop.wait(0.2):
                answer = self._ask(http, "POST", content=self.upload, headers={"content-type": "text/csv"})
                if answer is not None:
                    self.accepted.append(answer.json()["request_id"])

    def read(self) -> None:
        with httpx.Client(base_url=self.base_url, timeout=30) as http:
            while not self.stop.wait(0.05):
                self.reads += self._ask(http, "GET") is not None

    def _ask(self, http: httpx.Client, method: str, **content: object) -> httpx.Response | None:
        try:
            answer = http.request(method, "/v1/requests", **content)  # type: ignore[arg-type]
        except httpx.HTTPError as error:
            self.wrong.append(f"{method}: {error!r}")
            return None
        if not answer.is_success:
            self.wrong.append(f"{method}: {answer.status_code} {answer.text}")
            return None
        return answer


@contextmanager
def busy(clients: Clients) -> Iterator[None]:
    threads = [threading.Thread(target=work) for work in (clients.write, clients.read)]
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
    clients = Clients(stack.base_url, manifest([(str(n), f"Product {n}", [url]) for n, url in enumerate(urls)]))
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

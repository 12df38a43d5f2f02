"""A worker on real Valkey whose actors hold what they get until they may go on."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any, Protocol

from shared.broker import Broker
from shared.broker.consumer import Worker
from shared.messages import Deliver


class Held(Protocol):
    """Actors that wait for `go_on`."""

    go_on: Event


class Holding:
    """The part that actors share whose deliveries are held until they may go on."""

    def __init__(self) -> None:
        self.received: list[Deliver] = []
        self.go_on = Event()

    def hold(self, message: Deliver) -> None:
        self.received.append(message)
        assert self.go_on.wait(10)


@contextmanager
def consuming(broker: Broker, actors: Held, *, threads: int = 4, block_ms: int = 20) -> Iterator[Worker]:
    worker = Worker(broker, threads=threads, block_ms=block_ms)
    worker.start()
    try:
        yield worker
    finally:
        actors.go_on.set()
        worker.resume()
        worker.stop(timeout=10_000)
        broker.close()


def waiting(broker: Broker) -> int:
    """Consumers of all processes that are blocked in Valkey."""
    info: Any = broker.probe.info("clients")
    return int(info["blocked_clients"])

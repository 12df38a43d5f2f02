"""A `dramatiq.Worker` on real Valkey whose actors hold what they get until they may go on."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Protocol

import dramatiq

from shared.broker import Broker


class Held(Protocol):
    """Actors that wait for `go_on`."""

    go_on: Event


@contextmanager
def consuming(broker: Broker, actors: Held, *, threads: int = 4) -> Iterator[dramatiq.Worker]:
    worker = dramatiq.Worker(broker, worker_threads=threads, worker_timeout=20)
    worker.start()
    try:
        yield worker
    finally:
        actors.go_on.set()
        worker.resume()
        worker.stop()
        broker.close()

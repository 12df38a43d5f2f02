"""A `dramatiq.Worker` on real Valkey whose actors hold what they get until they may go on."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any, Protocol
from uuid import uuid4

import dramatiq

from shared.broker import Broker, connect, declare, receives, send
from shared.messages import Deliver

QUEUE = Deliver.queue


class Actors:
    def __init__(self) -> None:
        self.received: list[Deliver] = []
        self.go_on = Event()

    @receives(Deliver)
    def deliver(self, message: Deliver) -> None:
        self.received.append(message)
        assert self.go_on.wait(10)


def broker_of(redis_url: str, actors: Actors, *, prefetch: int = 8) -> Broker:
    """Commands are not tried again: an error of Valkey is one of the consumer."""
    broker = connect(redis_url, retries=0)
    broker.prefetch[QUEUE] = prefetch
    declare(broker, actors)
    return broker


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
        broker.client.close()
        broker.probe.close()


def send_some(broker: Broker, count: int) -> None:
    for _ in range(count):
        assert send(broker, Deliver(delivery_id=uuid4()))


def counted_as_ours(broker: Broker) -> int:
    members: Any = broker.client.smembers(f"dramatiq:__acks__.{broker.broker_id}.{QUEUE}")
    return len(members)


def waiting(broker: Broker) -> int:
    length: Any = broker.client.llen(f"dramatiq:{QUEUE}")
    return int(length)

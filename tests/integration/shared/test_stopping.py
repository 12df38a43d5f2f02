"""A worker that stops: consumers that are blocked in Valkey, threads that sleep, messages in hand."""

from collections.abc import Iterator
from threading import Thread
from uuid import uuid4

import pytest

from shared.broker import Broker, connect, declare, queues, receives, send
from shared.broker.consumer import Worker
from shared.messages import Deliver, GroupDone
from tests.integration.shared.consuming import Holding, waiting
from tests.stack import until

QUEUE = queues.QUEUE + Deliver.queue


class Actors(Holding):
    @receives(Deliver)
    def deliver(self, message: Deliver) -> None:
        self.hold(message)

    @receives(GroupDone)
    def group_done(self, message: GroupDone) -> None: ...


@pytest.fixture
def actors() -> Actors:
    return Actors()


@pytest.fixture
def broker(redis_url: str) -> Iterator[Broker]:
    broker = connect(redis_url)
    yield broker
    broker.close()


@pytest.fixture
def worker(broker: Broker, actors: Actors) -> Worker:
    """Idle, with all its consumers blocked for as long as in production."""
    declare(broker, actors)
    worker = Worker(broker, threads=2)
    worker.start()
    until(lambda: waiting(broker) == 2)
    return worker


def stopping(worker: Worker) -> Thread:
    thread = Thread(target=worker.stop, kwargs={"timeout": 10_000}, daemon=True)
    thread.start()
    return thread


def test_an_idle_worker_stops_at_once(broker: Broker, worker: Worker) -> None:
    stop = stopping(worker)
    stop.join(queues.BLOCK_SECONDS / 2)
    assert not stop.is_alive()
    assert not any(thread.is_alive() for thread in (*worker.workers, *worker.consumers.values()))
    assert waiting(broker) == 0


def test_a_worker_that_stops_takes_no_more_and_beats_until_what_is_under_way_is_done(
    broker: Broker, worker: Worker, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "BEAT_SECONDS", 0.0)
    send(broker, Deliver(delivery_id=uuid4()))
    until(lambda: actors.received)
    stop = stopping(worker)
    until(lambda: waiting(broker) == 0)
    send(broker, Deliver(delivery_id=uuid4()))
    broker.client.zadd(queues.HEARTBEATS, {broker.name: 1})
    until(lambda: broker.client.zscore(queues.HEARTBEATS, broker.name) != 1)
    assert broker.client.llen(QUEUE) == 1
    actors.go_on.set()
    stop.join(10)
    assert (len(actors.received), broker.client.exists(broker.taken)) == (1, 0)


def test_what_is_not_begun_is_given_back(broker: Broker, worker: Worker, actors: Actors) -> None:
    for _ in range(4):
        send(broker, Deliver(delivery_id=uuid4()))
    until(lambda: not broker.client.exists(QUEUE) and len(actors.received) == 2)  # two have no thread
    stop = stopping(worker)
    until(lambda: not any(thread.running for thread in worker.workers))  # they have been told to end
    actors.go_on.set()
    stop.join(10)
    assert (len(actors.received), broker.client.llen(QUEUE)) == (2, 2)
    assert not broker.client.exists(broker.taken)

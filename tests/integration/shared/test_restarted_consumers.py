"""Dramatiq begins anew with another consumer after an error of Redis; what threads hold by then still counts."""

from collections.abc import Iterator
from contextlib import contextmanager

import dramatiq
import dramatiq.worker
import pytest

from shared.broker import Broker
from tests.integration.shared.consuming import (
    QUEUE,
    Actors,
    broker_of,
    consuming,
    counted_as_ours,
    send_some,
    waiting,
)
from tests.stack import until


def test_a_new_consumer_takes_no_more_than_the_limit_leaves(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dramatiq.worker, "CONSUMER_RESTART_DELAY_SECS", 0)
    actors = Actors()
    broker = broker_of(redis_url, actors, prefetch=3)
    with consuming(broker, actors) as worker:
        thread = worker.consumers[QUEUE]
        send_some(broker, 2)
        until(lambda: len(actors.received) == 2)
        first = thread.consumer
        with valkey_full(broker):
            until(lambda: thread.consumer is not first)
        send_some(broker, 5)
        until(lambda: len(actors.received) > 2)
        until(lambda: getattr(thread.consumer, "misses", 0) >= 3)  # it has asked for all that it may have
        assert (counted_as_ours(broker), waiting(broker)) == (3, 4)
        actors.go_on.set()
        until(lambda: len(actors.received) == 7)


def test_messages_without_an_actor_here_take_nothing_from_the_limit(redis_url: str) -> None:
    """As while a newer service sends what this one does not know yet."""
    actors = Actors()
    broker = broker_of(redis_url, actors, prefetch=1)
    with consuming(broker, actors):
        for _ in range(2):
            broker.enqueue(dramatiq.Message(queue_name=QUEUE, actor_name="unknown", args=(), kwargs={}, options={}))
        send_some(broker, 1)
        until(lambda: actors.received)


@contextmanager
def valkey_full(broker: Broker) -> Iterator[None]:
    """It refuses every command that might need memory, as one does that is full."""
    broker.client.config_set("maxmemory", 1)
    try:
        yield
    finally:
        broker.client.config_set("maxmemory", 0)

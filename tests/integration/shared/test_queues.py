"""Queues on real Valkey: who is woken, what is handed on, and what becomes of a dead process's messages."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import uuid4

import dramatiq
import pytest
from dramatiq.errors import ConnectionClosed
from prometheus_client import REGISTRY

from shared.broker import Broker, connect, declare, queues, receives, send, send_group
from shared.broker.shares import Following, Taken
from shared.messages import CompressBatch, Deliver, FetchBatch, Fetched, FetchedImage, GroupDone
from tests.integration.batches import compress_after, fetch_of
from tests.integration.shared.consuming import Held, Holding, consuming, waiting
from tests.stack import until

QUEUE = queues.QUEUE + Deliver.queue
LONG = int(queues.BLOCK_SECONDS * 1000)
LONGER = LONG + 4000  # nobody asks again while the test counts; their sockets give up a second later


class Actors(Holding):
    def __init__(self) -> None:
        super().__init__()
        self.done: list[GroupDone] = []

    @receives(Deliver)
    def deliver(self, message: Deliver) -> None:
        self.hold(message)

    @receives(FetchBatch)
    def fetch_batch(self, message: FetchBatch) -> Fetched:
        images = [FetchedImage(number=image.number, bytes=1, sha256="a" * 64) for image in message.images]
        return Fetched(images=tuple(images))

    @receives(CompressBatch, piped=Fetched)
    def compress_batch(self, message: CompressBatch, fetched: Fetched) -> None:
        del message, fetched

    @receives(GroupDone)
    def group_done(self, message: GroupDone) -> None:
        self.done.append(message)


class Courier:
    """Consumes one queue only."""

    def __init__(self, actors: Actors) -> None:
        self._actors = actors
        self.go_on = actors.go_on

    @receives(Deliver)
    def deliver(self, message: Deliver) -> None:
        self._actors.deliver(message)


@contextmanager
def process(redis_url: str, actors: Held, *, prefetch: int = 9, block_ms: int = LONG) -> Iterator[Broker]:
    """A process that consumes; its messages may go on when it ends."""
    broker = connect(redis_url)
    broker.prefetch[Deliver.queue] = prefetch
    declare(broker, actors)
    with consuming(broker, actors, threads=2, block_ms=block_ms):
        yield broker


@pytest.fixture
def actors() -> Iterator[Actors]:
    actors = Actors()
    yield actors
    actors.go_on.set()


@pytest.fixture
def broker(redis_url: str) -> Iterator[Broker]:
    broker = connect(redis_url)
    yield broker
    broker.close()


def deliver() -> Deliver:
    return Deliver(delivery_id=uuid4())


def calls(broker: Broker) -> dict[str, int]:
    """Commands that Valkey has run since `reset`, those of scripts included, our own measuring left out."""
    stats: Any = broker.probe.info("commandstats")
    counted = {name.removeprefix("cmdstat_"): int(stat["calls"]) for name, stat in stats.items()}
    return {name: n for name, n in counted.items() if name.partition("|")[0] not in ("info", "config", "client")}


def reset(broker: Broker) -> None:
    broker.probe.config_resetstat()


def take(broker: Broker, queue: str = Deliver.queue) -> Taken:
    consumer = broker.consume(queue, prefetch=9, timeout=20)
    message = next(consumer)
    assert isinstance(message, Taken)
    return message


def test_one_message_wakes_one_of_many_idle_processes(redis_url: str, broker: Broker, actors: Actors) -> None:
    with ExitStack() as running:
        for _ in range(16):
            running.enter_context(process(redis_url, Courier(actors), block_ms=LONGER))
        until(lambda: waiting(broker) == 16)
        reset(broker)
        send(broker, deliver())
        until(lambda: actors.received)
        until(lambda: waiting(broker) == 16)
        assert calls(broker)["rpush"] == 1
        assert calls(broker)["blmove"] <= 2, "one took the message and one waits for the next"
        actors.go_on.set()


def test_messages_sent_at_once_are_shared_by_idle_processes(redis_url: str, broker: Broker, actors: Actors) -> None:
    with ExitStack() as running:
        idle = [running.enter_context(process(redis_url, Courier(actors))) for _ in range(4)]
        until(lambda: waiting(broker) == 4)
        broker.enqueue_all(
            [
                dramatiq.Message(Deliver.queue, Deliver.actor, (deliver().model_dump(mode="json"),), {}, {})
                for _ in range(4)
            ]
        )
        until(lambda: len(actors.received) == 4)
        assert [len(one.in_hand[Deliver.queue]) for one in idle] == [1, 1, 1, 1]
        actors.go_on.set()


def test_a_process_that_holds_all_it_may_asks_again_when_there_is_room(
    redis_url: str, broker: Broker, actors: Actors
) -> None:
    with process(redis_url, Courier(actors), prefetch=1) as busy:
        send(broker, deliver())
        until(lambda: actors.received)
        reset(broker)
        send(broker, deliver())
        until(lambda: not any(consumer.blocked for consumer in busy.consumers))
        assert "blmove" not in calls(broker)
        actors.go_on.set()
        until(lambda: len(actors.received) == 2, within=queues.BLOCK_SECONDS / 2)


def test_what_a_dead_process_had_in_hand_wakes_an_idle_one(
    redis_url: str, broker: Broker, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "BEAT_SECONDS", 0.0)
    send(broker, deliver())
    take(broker)
    with process(redis_url, Courier(actors), block_ms=50):
        assert not actors.received
        broker.client.zadd(queues.HEARTBEATS, {broker.name: 1})  # silent since 1970
        until(lambda: actors.received)
        assert broker.client.zscore(queues.HEARTBEATS, broker.name) is None
        assert not broker.client.exists(broker.taken)
        actors.go_on.set()


def test_a_process_beats_before_it_takes_anything(broker: Broker) -> None:
    """If it died with its first message, others must know of it."""
    send(broker, deliver())
    take(broker)
    assert broker.client.zscore(queues.HEARTBEATS, broker.name)


def test_a_process_that_starts_finds_what_a_wiped_valkey_no_longer_knows_of(
    redis_url: str, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(broker, deliver())
    take(broker)
    broker.client.delete(queues.HEARTBEATS)
    monkeypatch.setattr(queues, "BEAT_SECONDS", 0.0)
    other = connect(redis_url)
    other.beat()
    assert broker.client.llen(QUEUE) == 0, "it may be alive"
    monkeypatch.setattr(queues, "HEARTBEAT_TIMEOUT_MS", -1)
    other.beat()
    assert broker.client.llen(QUEUE) == 1
    other.close()


def test_an_idle_process_beats_and_asks_for_no_more(redis_url: str, broker: Broker, actors: Actors) -> None:
    with process(redis_url, Courier(actors), block_ms=LONGER):
        until(lambda: waiting(broker) == 1)
        reset(broker)
        time.sleep(1)
        assert calls(broker) == {}


def test_what_follows_is_handed_on_once(broker: Broker) -> None:
    send(broker, deliver())
    message = take(broker)
    message.following = Following(dramatiq.Message("next", "next", (), {}, {}))
    broker.finish(message)
    broker.finish(message)  # as where the first reply was lost
    assert (broker.client.llen(queues.QUEUE + "next"), broker.client.exists(broker.taken)) == (1, 0)


def test_a_message_that_was_given_to_another_process_is_handed_on_by_that_one(broker: Broker) -> None:
    send(broker, deliver())
    message = take(broker)
    broker.client.lmove(broker.taken, QUEUE)
    message.following = Following(dramatiq.Message("next", "next", (), {}, {}))
    broker.finish(message)
    assert (broker.client.llen(queues.QUEUE + "next"), broker.client.llen(QUEUE)) == (0, 1)


def test_where_valkey_is_full_a_finished_message_makes_room_and_what_follows_counts_as_unsent(broker: Broker) -> None:
    send(broker, deliver())
    message = take(broker)
    message.following = Following(dramatiq.Message("next", "next", (), {}, {}))
    broker.client.config_set("maxmemory", 1)
    try:
        broker.finish(message)
    finally:
        broker.client.config_set("maxmemory", 0)
    assert broker.client.exists(broker.taken, queues.QUEUE + "next") == 0
    assert REGISTRY.get_sample_value("halftone_messages_unsent_total", {"actor": "next"}) == 1


def test_a_full_valkey_is_emptied(redis_url: str, broker: Broker, actors: Actors) -> None:
    actors.go_on.set()
    for _ in range(5):
        send(broker, deliver())
    broker.client.config_set("maxmemory", 1)
    try:
        with process(redis_url, Courier(actors), block_ms=20) as reader:
            until(lambda: len(actors.received) == 5)
            until(lambda: not broker.client.exists(reader.taken))
            assert broker.client.zscore(queues.HEARTBEATS, reader.name)
    finally:
        broker.client.config_set("maxmemory", 0)


def test_a_message_that_a_demoted_primary_does_not_finish_is_finished_by_the_next_one(broker: Broker) -> None:
    send(broker, deliver())
    consumer = broker.consume(Deliver.queue)
    message = next(consumer)
    assert isinstance(message, Taken)
    message.following = Following(dramatiq.Message("next", "next", (), {}, {}))
    broker.client.replicaof("127.0.0.1", "1")
    try:
        with pytest.raises(ConnectionClosed):  # which Dramatiq answers by asking again
            consumer.ack(message)
        assert broker.in_hand[Deliver.queue]
    finally:
        broker.client.replicaof("NO", "ONE")
    consumer.ack(message)
    assert not broker.in_hand[Deliver.queue]
    assert (broker.client.llen(queues.QUEUE + "next"), broker.client.exists(broker.taken)) == (1, 0)


def test_a_message_that_cannot_be_read_is_dropped_and_harms_no_other(
    redis_url: str, broker: Broker, actors: Actors
) -> None:
    broker.client.rpush(QUEUE, b"\xff not JSON")
    send(broker, deliver())
    with process(redis_url, Courier(actors)) as reader:
        until(lambda: actors.received)
        actors.go_on.set()
        until(lambda: not broker.client.exists(reader.taken))


def test_a_group_of_eight_pipelines_costs_few_commands(redis_url: str, broker: Broker, actors: Actors) -> None:
    """With 16 images in each it is below one command per image."""
    fetches = [fetch_of(uuid4(), range(1, 17)) for _ in range(8)]
    done = GroupDone(request_id=uuid4(), group=1, dispatch_no=1)
    with process(redis_url, actors):
        until(lambda: waiting(broker) == 4)
        for _ in range(2):  # the second time Valkey knows the scripts
            actors.done.clear()
            reset(broker)
            assert send_group(broker, [(fetch, compress_after(fetch)) for fetch in fetches], done=done)
            until(lambda: actors.done and waiting(broker) == 4)
        assert actors.done == [done]
        # Sent: 2. Each half: taken 1, finished 3 and, of the second half, the barrier 1; DEL and the callback's own.
        assert sum(calls(broker).values()) <= 8 * 8 + 16, calls(broker)

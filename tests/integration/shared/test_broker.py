"""Real Valkey, a real `dramatiq.Worker` in this process, and actors that only write down what came."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Event, Lock
from uuid import UUID, uuid4

import pytest
from prometheus_client import REGISTRY

from shared.broker import Broker, connect, declare, receives, send, send_group
from shared.broker.queues import QUEUE
from shared.messages import (
    CompressBatch,
    Deliver,
    DispatchRequest,
    FetchBatch,
    Fetched,
    FetchedImage,
    FetchSlowBatch,
    GroupDone,
    Message,
)
from tests.integration.batches import compress_after, fetch_of
from tests.integration.shared.consuming import consuming
from tests.stack import until

Working = Callable[..., AbstractContextManager[Broker]]
NOBODY = "redis://127.0.0.1:1"


class Actors:
    """`fails` raises on the images it names, the slow queue waits for `go_on`."""

    def __init__(self) -> None:
        self.received: list[Message] = []
        self.handed_on: dict[UUID, Fetched] = {}
        self.fails: set[int] = set()
        self.go_on = Event()
        self.slow_at_once = 0
        self._slow_now = 0
        self._lock = Lock()

    @receives(Deliver, priority=10)
    def deliver(self, message: Deliver) -> None:
        self.received.append(message)

    @receives(FetchBatch, priority=20)
    def fetch_batch(self, message: FetchBatch) -> Fetched:
        self.received.append(message)
        numbers = [image.number for image in message.images]
        if self.fails & set(numbers):
            raise RuntimeError("no")
        return Fetched(images=tuple(FetchedImage(number=n, bytes=n, sha256="a" * 64) for n in numbers if n < 100))

    @receives(FetchSlowBatch)
    def fetch_slow_batch(self, message: FetchSlowBatch) -> Fetched:
        with self._lock:
            self._slow_now += 1
            self.slow_at_once = max(self.slow_at_once, self._slow_now)
        assert self.go_on.wait(10)
        with self._lock:
            self._slow_now -= 1
        return self.fetch_batch(message)

    @receives(CompressBatch, priority=10, piped=Fetched)
    def compress_batch(self, message: CompressBatch, fetched: Fetched) -> None:
        self.handed_on[message.claim] = fetched
        self.received.append(message)

    @receives(GroupDone)
    def group_done(self, message: GroupDone) -> None:
        self.received.append(message)

    def count(self, kind: type[Message]) -> int:
        return Counter(type(message) for message in self.received)[kind]


@pytest.fixture
def actors() -> Actors:
    return Actors()


@pytest.fixture
def working(redis_url: str, actors: Actors) -> Working:
    """A broker whose messages `actors` receives, in as many threads as asked for."""

    @contextmanager
    def start(*, threads: int = 4, prefetch: dict[str, int] | None = None) -> Iterator[Broker]:
        broker = connect(redis_url)
        broker.prefetch |= prefetch or {}
        declare(broker, actors)
        with consuming(broker, actors, threads=threads):
            yield broker

    return start


def group_of_three(request_id: UUID) -> tuple[list[tuple[FetchBatch, CompressBatch]], GroupDone]:
    fetches = [fetch_of(request_id, numbers) for numbers in ([1, 2], [3], [101, 102])]
    done = GroupDone(request_id=request_id, group=1, dispatch_no=1)
    return [(fetch, compress_after(fetch)) for fetch in fetches], done


def idle(broker: Broker) -> bool:
    """Whether no message is left, in a queue or in a worker."""
    return not broker.client.exists(broker.taken, *(QUEUE + queue for queue in broker.get_declared_queues()))


def test_a_message_arrives_as_it_was_sent(working: Working, actors: Actors) -> None:
    message = Deliver(delivery_id=uuid4())
    with working() as broker:
        assert send(broker, message)
        until(lambda: actors.received)
    assert actors.received == [message]


def test_sending_declares_no_queue_so_a_sender_swallows_nothing(redis_url: str) -> None:
    broker = connect(redis_url)
    assert send(broker, DispatchRequest(request_id=uuid4()))
    assert broker.get_declared_queues() == set()
    assert broker.client.exists(f"{QUEUE}dispatch")
    broker.close()


def test_a_group_of_pipelines_hands_on_every_result_and_ends_with_one_callback(
    working: Working, actors: Actors
) -> None:
    pipelines, done = group_of_three(uuid4())
    with working() as broker:
        assert send_group(broker, pipelines, done=done)
        until(lambda: actors.count(GroupDone))
        until(lambda: idle(broker))
    assert actors.count(GroupDone) == 1
    assert actors.received[-1] == done
    assert {message.claim for message in actors.received if isinstance(message, FetchBatch)} == {
        fetch.claim for fetch, _ in pipelines
    }
    numbers = [[image.number for image in actors.handed_on[compress.claim].images] for _, compress in pipelines]
    assert numbers == [[1, 2], [3], []]


def test_the_callback_comes_after_the_last_half_of_the_last_pipeline(working: Working, actors: Actors) -> None:
    fetch = fetch_of(uuid4(), [1])
    slow = FetchSlowBatch.after(fetch_of(fetch.request_id, [2]))
    done = GroupDone(request_id=fetch.request_id, group=1, dispatch_no=1)
    with working() as broker:
        send_group(broker, [(fetch, compress_after(fetch)), (slow, compress_after(slow))], done=done)
        until(lambda: actors.count(CompressBatch) == 1)
        assert actors.count(GroupDone) == 0
        actors.go_on.set()
        until(lambda: actors.count(GroupDone))
    assert actors.count(CompressBatch) == 2


def test_an_actor_that_raises_costs_its_message_and_the_callback_and_nothing_else(
    working: Working, actors: Actors
) -> None:
    """The message is acked, not tried again: the notifier's reconcile repairs."""
    actors.fails = {3}
    pipelines, done = group_of_three(uuid4())
    with working() as broker:
        send_group(broker, pipelines, done=done)
        until(lambda: actors.count(CompressBatch) == 2)
        until(lambda: idle(broker))
    assert (actors.count(FetchBatch), actors.count(CompressBatch), actors.count(GroupDone)) == (3, 2, 0)


def test_the_slow_queue_holds_no_more_threads_than_it_may(working: Working, actors: Actors) -> None:
    with working(threads=4, prefetch={"fetch_slow": 1}) as broker:
        for number in range(1, 9):
            send(broker, FetchSlowBatch.after(fetch_of(uuid4(), [number])))
        until(lambda: actors.slow_at_once)
        for number in range(1, 9):
            send(broker, fetch_of(uuid4(), [number]))
        until(lambda: actors.count(FetchBatch) == 8)
        actors.go_on.set()
        until(lambda: actors.count(FetchSlowBatch) == 8)
    assert actors.slow_at_once == 1


@pytest.mark.parametrize(("retries", "seconds"), [(0, 0.0), (4, 4.0)])
def test_a_broker_that_is_down_says_no_and_says_it_soon(
    monkeypatch: pytest.MonkeyPatch, *, retries: int, seconds: float
) -> None:
    """By the pauses that it makes; the clock also counts those of a busy machine."""
    pauses: list[float] = []
    monkeypatch.setattr("redis.retry.sleep", pauses.append)
    broker = connect(NOBODY, retries=retries)
    begun = time.monotonic()
    assert not send(broker, Deliver(delivery_id=uuid4()))
    assert (len(pauses), sum(pauses) <= seconds) == (retries, True)
    if not retries:
        pipelines, done = group_of_three(uuid4())
        assert not send_group(broker, pipelines, done=done)
        assert pauses == []
    assert time.monotonic() - begun < 10
    broker.close()


def test_messages_that_could_not_be_sent_are_counted() -> None:
    broker = connect(NOBODY, retries=0)
    pipelines, done = group_of_three(uuid4())
    before = _unsent(Deliver), _unsent(GroupDone)
    send(broker, Deliver(delivery_id=uuid4()))
    send_group(broker, pipelines, done=done)
    assert (_unsent(Deliver), _unsent(GroupDone)) == (before[0] + 1, before[1] + 1)
    broker.close()


def _unsent(message: type[Message]) -> float:
    return REGISTRY.get_sample_value("halftone_messages_unsent_total", {"actor": message.actor}) or 0.0

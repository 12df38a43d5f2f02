"""On real Valkey: what one request or account may hold of a process, while others want it too."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock, Semaphore
from typing import Any
from uuid import UUID

import dramatiq
import pytest

from shared.broker import Broker, connect, declare, receives, send
from shared.broker.consumer import Worker
from shared.broker.queues import QUEUE
from shared.broker.shares import SEARCH_DEPTH, whole
from shared.ids import uuid7
from shared.messages import DispatchRequest, FetchBatch, ImageRef, QuickBatch
from shared.recipe import Recipe
from shared.schemas.accounts import DEFAULT_ACCOUNT
from tests.stack import until

SHARE = 2
ACCOUNT = SHARE + SHARE // 2
ANN, BOB, CARL = (UUID(int=number) for number in range(1, 4))


class Actors:
    """Batches hold their threads until they may go on; dispatching is done at once."""

    def __init__(self) -> None:
        self.begun: list[FetchBatch] = []
        self.dispatched: list[DispatchRequest] = []
        self.go_on = Event()
        self._one = defaultdict[UUID, Semaphore](lambda: Semaphore(0))
        self._lock = Lock()

    @receives(FetchBatch, priority=20)
    def fetch_batch(self, message: FetchBatch) -> None:
        self._hold(message)

    @receives(QuickBatch, priority=5)
    def quick_batch(self, message: QuickBatch) -> None:
        self._hold(message)

    @receives(DispatchRequest)
    def dispatch_request(self, message: DispatchRequest) -> None:
        self.dispatched.append(message)

    def _hold(self, message: FetchBatch) -> None:
        with self._lock:
            self.begun.append(message)
            one = self._one[message.request_id]
        until(lambda: self.go_on.is_set() or one.acquire(blocking=False), within=20)

    def let_one_go(self, request: UUID) -> None:
        self._one[request].release()

    def of(self, account: UUID) -> int:
        return sum(message.account_id == account for message in self.begun)


def batch(account: UUID, request: UUID, kind: type[FetchBatch] = FetchBatch) -> FetchBatch:
    images = (ImageRef(number=1, url="https://images.example/1.jpg"),)
    return kind(
        account_id=account, request_id=request, group=1, dispatch_no=1, run=1, claim=uuid7(), recipe=Recipe(),
        images=images,
    )  # fmt: skip


@pytest.fixture
def actors() -> Actors:
    return Actors()


@contextmanager
def consumed(redis_url: str, actors: Actors, *, in_hand: int = SHARE) -> Iterator[Worker]:
    broker = connect(redis_url)
    broker.shares = {FetchBatch.queue: in_hand, QuickBatch.queue: in_hand}
    broker.prefetch = {queue: whole(share) for queue, share in broker.shares.items()}
    declare(broker, actors)
    worker = Worker(broker, threads=SHARE, share=SHARE, block_ms=100)
    worker.start()
    try:
        yield worker
    finally:
        actors.go_on.set()
        worker.stop(timeout=10_000)
        broker.close()


@pytest.fixture
def sender(redis_url: str) -> Iterator[Broker]:
    broker = connect(redis_url)
    yield broker
    broker.close()


def test_a_request_that_holds_its_share_leaves_threads_for_others_and_for_dispatching(
    redis_url: str, sender: Broker, actors: Actors
) -> None:
    """All that Ann's large request has in hand waits for something; it was sent first."""
    large = uuid7()
    for _ in range(20):
        assert send(sender, batch(ANN, large))
        assert send(sender, batch(ANN, large, QuickBatch))
    with consumed(redis_url, actors, in_hand=4) as worker:
        until(lambda: actors.of(ANN) == SHARE)
        for account in (BOB, BOB):
            send(sender, batch(account, uuid7()))
        send(sender, DispatchRequest(request_id=large))
        until(lambda: actors.of(BOB) == 2 and actors.dispatched)
        assert actors.of(ANN) == SHARE
        assert len(worker.broker.in_hand[FetchBatch.queue]) > SHARE  # what had no thread was there, and waited


def test_an_account_with_many_requests_holds_the_share_of_an_account(
    redis_url: str, sender: Broker, actors: Actors
) -> None:
    for number in range(20):
        send(sender, batch(ANN, UUID(int=100 + number)))
    with consumed(redis_url, actors):
        until(lambda: actors.of(ANN) == ACCOUNT)
        send(sender, batch(BOB, uuid7()))
        until(lambda: actors.of(BOB))
        assert actors.of(ANN) == ACCOUNT


def test_a_request_finds_a_thread_beside_the_others_of_its_account(
    redis_url: str, sender: Broker, actors: Actors
) -> None:
    """Two requests hold their account's share, and have more in hand; the next thread is for the third."""
    first, second, third = (UUID(int=100 + number) for number in range(3))
    for request in (first, second):
        for _ in range(4):
            send(sender, batch(ANN, request))
    with consumed(redis_url, actors, in_hand=8) as worker:
        until(lambda: len(actors.begun) == ACCOUNT)
        send(sender, batch(ANN, third))
        until(lambda: worker.work_queue.qsize() == 9 - ACCOUNT)  # in hand, and in the queue of the threads too
        # Of the other request nothing would be left, which then is the third's equal, and older.
        (most, _), *_ = Counter(message.request_id for message in actors.begun).most_common()
        actors.let_one_go(most)
        until(lambda: len(actors.begun) > ACCOUNT)
        assert actors.begun[-1].request_id == third


def test_messages_of_others_are_found_behind_any_number_of_one_accounts(
    redis_url: str, sender: Broker, actors: Actors
) -> None:
    large = uuid7()
    sent = [_raw(batch(ANN, large)) for _ in range(2 * SEARCH_DEPTH + 5)]
    sender.enqueue_all(sent)
    for account in (BOB, CARL):
        send(sender, batch(account, uuid7()))
    with consumed(redis_url, actors) as worker:
        until(lambda: actors.of(BOB) and actors.of(CARL))
        client: Any = worker.broker.client
        assert actors.of(ANN) == SHARE
        waiting = client.lrange(QUEUE + FetchBatch.queue, 0, -1)
    assert waiting == [message.encode() for message in sent[SHARE:]]  # in order: the first one is the oldest


def test_nothing_is_lost_or_doubled_when_many_share(redis_url: str, sender: Broker, actors: Actors) -> None:
    sent = [batch(UUID(int=1 + number % 3), UUID(int=10 + number % 7)) for number in range(60)]
    for message in sent:
        send(sender, message)
    actors.go_on.set()
    with consumed(redis_url, actors):
        until(lambda: len(actors.begun) >= len(sent))
    assert sorted(message.claim for message in actors.begun) == sorted(message.claim for message in sent)


def test_a_batch_of_a_service_that_names_no_accounts_yet_belongs_to_the_default_one(
    redis_url: str, sender: Broker, actors: Actors
) -> None:
    old = _raw(batch(ANN, ANN))
    old.args[0].pop("account_id")
    sender.enqueue(old)
    with consumed(redis_url, actors):
        until(lambda: actors.begun)
    assert actors.begun[0].account_id == DEFAULT_ACCOUNT


def _raw(message: FetchBatch) -> Any:
    payload = message.model_dump(mode="json")
    return dramatiq.Message(queue_name=message.queue, actor_name=message.actor, args=(payload,), kwargs={}, options={})

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Lock
from uuid import UUID, uuid4

import pytest

from services.notifier import host_queue
from services.notifier.host_queue import PerHostQueue
from tests.stack import until

SLOW, FAST = "slow.example:443", "fast.example:443"


class Receiver:
    """Takes deliveries once `answers` is set, and remembers how many ran at once."""

    def __init__(self, *, answers: bool = False) -> None:
        self.answers = Event()
        self.done: list[UUID] = []
        self.running = 0
        self.most = 0
        self._lock = Lock()
        if answers:
            self.answers.set()

    def work(self, delivery_id: UUID) -> None:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        assert self.answers.wait(10)
        with self._lock:
            self.running -= 1
            self.done.append(delivery_id)


@contextmanager
def busy(queue: PerHostQueue, receiver: Receiver, *, threads: int = 1) -> Iterator[None]:
    """So many threads work for the slow host; at the end it answers and they are waited for."""
    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(queue.run, SLOW, uuid4(), receiver.work) for _ in range(threads)]
        until(lambda: receiver.running == threads)
        yield
        receiver.answers.set()
        for thread in running:
            thread.result(timeout=10)


def is_empty(queue: PerHostQueue) -> bool:
    return (dict(queue._running), dict(queue._waiting)) == ({}, {})


def test_a_host_never_gets_more_at_once_than_allowed_and_no_delivery_is_lost() -> None:
    queue, receiver = PerHostQueue(2, Event()), Receiver(answers=True)
    ids = [uuid4() for _ in range(200)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda delivery_id: queue.run(SLOW, delivery_id, receiver.work), ids))
    assert sorted(receiver.done) == sorted(ids)
    assert 1 <= receiver.most <= 2
    assert is_empty(queue)


def test_a_delivery_above_the_limit_frees_its_thread_at_once_and_is_worked_on_by_another_in_order() -> None:
    queue, receiver = PerHostQueue(1, Event()), Receiver()
    ids = [uuid4() for _ in range(4)]
    with busy(queue, receiver):
        for delivery_id in ids:
            queue.run(SLOW, delivery_id, receiver.work)
        assert receiver.done == []
    assert receiver.done[1:] == ids


def test_a_slow_host_does_not_hold_up_another() -> None:
    queue, slow, fast = PerHostQueue(2, Event()), Receiver(), Receiver(answers=True)
    with busy(queue, slow, threads=2):
        queue.run(SLOW, uuid4(), slow.work)
        queue.run(FAST, uuid4(), fast.work)
        assert len(fast.done) == 1
    assert len(slow.done) == 3


class CountedId(UUID):
    """Counts how often it is compared."""

    compared = 0
    __hash__ = UUID.__hash__

    def __eq__(self, other: object) -> bool:
        CountedId.compared += 1
        return super().__eq__(other)


def test_a_delivery_waits_once_and_is_found_among_many_without_comparing_them_all() -> None:
    queue, receiver, many = PerHostQueue(1, Event()), Receiver(), 1000
    values = [uuid4().int for _ in range(many)]
    with busy(queue, receiver):
        for value in values * 2:
            queue.run(SLOW, CountedId(int=value), receiver.work)
        assert CountedId.compared < 2 * many
    assert [delivery_id.int for delivery_id in receiver.done[1:]] == values


def test_a_delivery_that_finds_the_queue_full_is_left_to_the_sweeper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_queue, "MAX_WAITING", 2)
    queue, receiver = PerHostQueue(1, Event()), Receiver()
    with busy(queue, receiver):
        for _ in range(5):
            queue.run(SLOW, uuid4(), receiver.work)
    assert len(receiver.done) == 3


def test_work_that_fails_makes_room_for_the_next() -> None:
    queue, receiver = PerHostQueue(1, Event()), Receiver(answers=True)

    def fail(_: UUID) -> None:
        raise RuntimeError("no")

    for _ in range(3):
        with pytest.raises(RuntimeError):
            queue.run(SLOW, uuid4(), fail)
    queue.run(SLOW, uuid4(), receiver.work)
    assert len(receiver.done) == 1
    assert is_empty(queue)


def test_once_stopping_no_more_is_taken_from_a_queue() -> None:
    stop, receiver = Event(), Receiver()
    queue = PerHostQueue(1, stop)
    with busy(queue, receiver):
        queue.run(SLOW, uuid4(), receiver.work)
        stop.set()
    assert len(receiver.done) == 1
    assert is_empty(queue)


def test_a_thread_leaves_a_host_after_its_time_and_the_others_of_that_host_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue, receiver, leaving = PerHostQueue(2, Event()), Receiver(), Receiver()
    with busy(queue, receiver), ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(host_queue, "MAX_SECONDS", -1.0)
        thread = pool.submit(queue.run, SLOW, uuid4(), leaving.work)
        until(lambda: leaving.running == 1)
        for _ in range(3):
            queue.run(SLOW, uuid4(), receiver.work)
        leaving.answers.set()
        thread.result(timeout=10)
        assert len(leaving.done) == 1
    assert len(receiver.done) == 4

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from uuid import UUID, uuid4

import pytest

from services.notifier import host_queue
from services.notifier.host_queue import PerHostQueue
from tests.stack import until

SLOW, FAST = "slow.example:443", "fast.example:443"


class Workshop:
    """Work that takes as long as `open` is not set, and remembers how much of it ran at once."""

    def __init__(self) -> None:
        self.open = Event()
        self.done: list[UUID] = []
        self.busy = 0
        self.busiest = 0
        self._lock = Lock()

    def work(self, delivery_id: UUID) -> None:
        with self._lock:
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
        assert self.open.wait(10)
        with self._lock:
            self.busy -= 1
            self.done.append(delivery_id)


def test_a_host_has_no_more_lanes_than_allowed_and_nothing_is_lost() -> None:
    host, shop = PerHostQueue(2, Event()), Workshop()
    ids = [uuid4() for _ in range(200)]
    shop.open.set()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda delivery_id: host.run(SLOW, delivery_id, shop.work), ids))
    assert sorted(shop.done) == sorted(ids)
    assert 1 <= shop.busiest <= 2


def test_what_finds_no_lane_leaves_its_thread_at_once_and_is_worked_on_by_another() -> None:
    host, shop = PerHostQueue(2, Event()), Workshop()
    ids = [uuid4() for _ in range(6)]
    with ThreadPoolExecutor(2) as pool:
        holders = [pool.submit(host.run, SLOW, delivery_id, shop.work) for delivery_id in ids[:2]]
        until(lambda: shop.busy == 2)
        for delivery_id in ids[2:]:
            host.run(SLOW, delivery_id, shop.work)
        assert shop.done == []
        shop.open.set()
        for holder in holders:
            holder.result(timeout=10)
    assert sorted(shop.done) == sorted(ids)


def test_a_slow_host_does_not_hold_up_another() -> None:
    host, slow, fast = PerHostQueue(2, Event()), Workshop(), Workshop()
    fast.open.set()
    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            pool.submit(host.run, SLOW, uuid4(), slow.work)
        until(lambda: slow.busy == 2)
        host.run(SLOW, uuid4(), slow.work)
        host.run(FAST, uuid4(), fast.work)
        assert len(fast.done) == 1
        slow.open.set()
    assert len(slow.done) == 3


def test_the_same_delivery_stands_in_line_once() -> None:
    host, shop = PerHostQueue(1, Event()), Workshop()
    twice = uuid4()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(host.run, SLOW, uuid4(), shop.work)
        until(lambda: shop.busy == 1)
        host.run(SLOW, twice, shop.work)
        host.run(SLOW, twice, shop.work)
        shop.open.set()
    assert Counter(shop.done)[twice] == 1


def test_what_finds_no_place_in_a_full_line_is_left_to_the_sweeper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_queue, "LONGEST_LINE", 2)
    host, shop = PerHostQueue(1, Event()), Workshop()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(host.run, SLOW, uuid4(), shop.work)
        until(lambda: shop.busy == 1)
        for _ in range(5):
            host.run(SLOW, uuid4(), shop.work)
        shop.open.set()
    assert len(shop.done) == 3


def test_work_that_fails_frees_its_lane() -> None:
    host, shop = PerHostQueue(1, Event()), Workshop()
    shop.open.set()

    def fail(_: UUID) -> None:
        raise RuntimeError("no")

    for _ in range(3):
        with pytest.raises(RuntimeError):
            host.run(SLOW, uuid4(), fail)
    host.run(SLOW, uuid4(), shop.work)
    assert len(shop.done) == 1


def test_a_host_that_is_done_with_leaves_nothing_behind() -> None:
    host, shop = PerHostQueue(2, Event()), Workshop()
    shop.open.set()
    for number in range(50):
        host.run(f"{number}.example:443", uuid4(), shop.work)
    assert (dict(host._busy), dict(host._line)) == ({}, {})


def test_once_stopping_a_lane_takes_nothing_more_from_its_line() -> None:
    stop, shop = Event(), Workshop()
    host = PerHostQueue(1, stop)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(host.run, SLOW, uuid4(), shop.work)
        until(lambda: shop.busy == 1)
        host.run(SLOW, uuid4(), shop.work)
        stop.set()
        shop.open.set()
    assert len(shop.done) == 1
    assert (dict(host._busy), dict(host._line)) == ({}, {})


def test_a_lane_is_left_after_its_turn_and_what_it_leaves_is_worked_on_by_the_others_of_its_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host, shop = PerHostQueue(2, Event()), Workshop()
    with ThreadPoolExecutor(2) as pool:
        pool.submit(host.run, SLOW, uuid4(), shop.work)
        until(lambda: shop.busy == 1)
        monkeypatch.setattr(host_queue, "LONGEST_TURN_SECONDS", -1.0)
        short = Workshop()
        short.open.set()
        host.run(SLOW, uuid4(), short.work)
        for _ in range(3):
            host._line[SLOW].append(uuid4())
        host.run(SLOW, uuid4(), short.work)
        assert len(short.done) == 2
        shop.open.set()
    assert len(shop.done) == 4

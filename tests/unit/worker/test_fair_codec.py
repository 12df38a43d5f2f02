"""The pool with pictures that take the codec's whole time, beside those of others."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from uuid import UUID

import psutil
import pytest
from prometheus_client import REGISTRY

from services.worker.codec_pool import CodecPool, Made, PoolClosedError, PoolLimits, turns
from services.worker.codec_pool.child import SLOW_NICE
from services.worker.codec_pool.driver import Driver
from shared.blobs.store import in_memory
from shared.errors import CodecTimeout
from shared.recipe import Recipe
from tests.stack import until
from tests.unit.worker.planted import misbehave

ANN, BOB = UUID(int=1), UUID(int=2)
DEADLINE = 60.0


class Sent:
    """Pictures given to a pool by a thread of their own, and what became of them in order."""

    def __init__(self, pool: CodecPool, account: UUID, *sources: bytes) -> None:
        self.made: list[Made] = []
        self._thread = threading.Thread(target=self._run, args=(pool, account, sources))
        self._thread.start()

    def _run(self, pool: CodecPool, account: UUID, sources: tuple[bytes, ...]) -> None:
        opened = [partial(in_memory, source) for source in sources]
        self.made.extend(pool.compress(opened, Recipe(), account, account))

    def all(self) -> list[Any]:
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()
        return [made.outcome for made in sorted(self.made, key=lambda made: made.index)]


@contextmanager
def pool_of(processes: int, *, seconds: int) -> Iterator[CodecPool]:
    """With a limit of the processor's time alone: the clock goes on while a busy machine lets none of us work."""
    limits = PoolLimits(memory_bytes=1_000_000_000, cpu_seconds=seconds, wall_seconds=DEADLINE)
    pool = CodecPool(processes, limits, codec=misbehave)
    try:
        yield pool
    finally:
        pool.close()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "SLOW_SECONDS", 0.1)
    monkeypatch.setattr("services.worker.codec_pool.pool.GIVE_UP_SECONDS", 0.3)


def slow_images(how: str) -> float:
    return REGISTRY.get_sample_value("halftone_codec_slow_images_total", {"how": how}) or 0.0


def niced() -> list[psutil.Process]:
    ours, found = psutil.Process(), list[psutil.Process]()
    for child in ours.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it ends meanwhile
            if child.nice() == min(ours.nice() + SLOW_NICE, 19):
                found.append(child)
    return found


@pytest.mark.parametrize("processes", [1, 2])
def test_pictures_that_take_all_their_time_hold_up_no_other_account(processes: int) -> None:
    """Four pictures of 1 to 2 s stand before Bob's, which are made before any of them ends."""
    with pool_of(processes, seconds=1) as pool:
        bad = Sent(pool, ANN, *[b"loop"] * 4)
        until(lambda: pool._turns.running)
        beside = slow_images("beside")
        good = Sent(pool, BOB, *[b"echo:fine"] * 8)
        assert [made.body for made in good.all()] == [b"fine"] * 8
        assert len(bad.made) <= 1
        assert slow_images("beside") > beside
        assert len(pool._drivers) <= processes + max(1, processes // 2)
        assert len(niced()) <= max(1, processes // 2)
        assert all(isinstance(outcome, CodecTimeout) for outcome in bad.all())
        assert len(bad.made) == 4


def test_where_the_slow_places_are_taken_a_picture_begins_again_and_is_made_once() -> None:
    with pool_of(2, seconds=1) as pool:
        again = slow_images("again")
        bad = Sent(pool, ANN, b"loop", b"loop")
        until(lambda: len(pool._turns.running) == 2)
        good = [Sent(pool, UUID(int=10 + number), *[b"spin:0.05"] * 30) for number in range(2)]
        assert [len(sent.all()) for sent in good] == [30, 30]
        assert slow_images("again") > again
        assert [type(outcome) for outcome in bad.all()] == [CodecTimeout] * 2
        assert sorted(made.index for made in bad.made) == [0, 1]


def test_a_picture_that_takes_long_and_not_too_long_is_made() -> None:
    with pool_of(1, seconds=10) as pool:
        slow = Sent(pool, ANN, b"spin:1")
        until(lambda: pool._turns.running)
        assert len(Sent(pool, BOB, *[b"spin:0.05"] * 20).all()) == 20
        assert [made.body for made in slow.all()] == [b"spin:1"]
        until(lambda: not niced())  # its child is gone, and there is one again for each place
        assert len(pool._drivers) == 1


def test_a_thread_that_cannot_be_started_is_started_later(monkeypatch: pytest.MonkeyPatch) -> None:
    failed, start = list[Driver](), Driver.start

    def starting(driver: Driver) -> None:
        if len(failed) < 3:
            failed.append(driver)
            raise RuntimeError("can't start new thread")
        start(driver)

    with pool_of(1, seconds=10) as pool:
        monkeypatch.setattr(Driver, "start", starting)
        slow = Sent(pool, ANN, b"spin:4")
        until(lambda: pool._turns.running)
        assert [made.body for made in Sent(pool, BOB, *[b"echo:fine"] * 8).all()] == [b"fine"] * 8
        assert [made.body for made in slow.all()] == [b"spin:4"]
    assert len(failed) == 3


def test_where_nobody_else_waits_no_child_is_slowed_down_or_replaced() -> None:
    with pool_of(2, seconds=10) as pool:
        before = slow_images("beside"), slow_images("again")
        assert len(Sent(pool, ANN, *[b"spin:0.5"] * 6).all()) == 6
        assert (slow_images("beside"), slow_images("again")) == before


def test_a_pool_that_closes_ends_its_slow_children_too() -> None:
    with pool_of(1, seconds=20) as pool:
        bad = threading.Thread(target=_loops, args=(pool,))
        bad.start()
        until(lambda: pool._turns.running)
        Sent(pool, BOB, b"echo:fine").all()
        pids = [child.pid for child in niced()]
        assert len(pids) == 1
    bad.join(DEADLINE)
    assert not bad.is_alive()
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids))


def _loops(pool: CodecPool) -> None:
    with pytest.raises(PoolClosedError):
        list(pool.compress([partial(in_memory, b"loop")] * 2, Recipe(), ANN, ANN))

"""The pool with planted codecs that loop, swell and die: each costs its own image only."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import BinaryIO
from uuid import UUID

import psutil
import pytest
from prometheus_client import REGISTRY

from services.worker.codec import Rendition
from services.worker.codec_pool import CodecPool, PoolClosedError, PoolLimits
from services.worker.codec_pool.child import Child
from shared.blobs.store import in_memory
from shared.errors import CodecCrashed, CodecTimeout, CorruptImage, ImageError
from shared.recipe import Recipe
from tests.pictures import encode, photo
from tests.stack import until
from tests.unit.worker.planted import ACCOUNT, misbehave, outcomes

LIMITS = PoolLimits(memory_bytes=1_000_000_000, cpu_seconds=20, wall_seconds=20.0)
SOON = replace(LIMITS, wall_seconds=3.0)  # for what has to end at it, longer than a busy machine keeps others waiting
RECIPE = Recipe()
DEADLINE = 20.0
A, B = UUID(int=1), UUID(int=2)


@pytest.fixture
def pool() -> Iterator[CodecPool]:
    made = CodecPool(2, LIMITS, codec=misbehave)
    yield made
    made.close()


@pytest.fixture
def impatient() -> Iterator[CodecPool]:
    made = CodecPool(2, SOON, codec=misbehave)
    yield made
    made.close()


def run(pool: CodecPool, *sources: bytes) -> list[Rendition | ImageError]:
    return outcomes(pool, sources)


def body(result: Rendition | ImageError) -> bytes:
    assert isinstance(result, Rendition), result
    return result.body


def children(pool: CodecPool) -> set[int]:
    """The two children of the pool, by asking until both have answered."""
    pids: set[int] = set()

    def both() -> bool:
        nonlocal pids
        pids = {int(body(result)) for result in run(pool, *[b"pid"] * 8)}
        return len(pids) == 2

    until(both)
    return pids


def used(pids: set[int]) -> float:
    """Seconds of the processor that these processes have used."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def replaced() -> float:
    return REGISTRY.get_sample_value("halftone_codec_children_replaced_total") or 0.0


def test_results_come_in_the_order_of_the_sources(pool: CodecPool) -> None:
    results = run(pool, b"sleep:0.2", b"echo:one", b"corrupt", b"echo:two", encode(photo(32, 32), "png"))
    assert body(results[0]) == b"sleep:0.2"
    assert body(results[1]) == b"one"
    assert isinstance(results[2], CorruptImage)
    assert body(results[3]) == b"two"
    assert body(results[4]).startswith(b"\x89PNG")


def test_children_have_pillow_from_the_fork_server(pool: CodecPool) -> None:
    assert body(run(pool, b"preloaded")[0]) == b"4"


def test_no_sources_give_no_results(pool: CodecPool) -> None:
    assert run(pool) == []


@pytest.mark.parametrize(
    ("vice", "error", "says"),
    [
        (b"loop", CodecTimeout, "3 s"),
        (b"allocate", CodecCrashed, "memory"),  # four gigabytes
        (b"kill", CodecCrashed, "ended with -9"),
        (b"bug", CodecCrashed, "UnpicklableError"),  # whose exception cannot travel
        (b"nothing", CodecCrashed, "NoneType is no answer"),
        (b"garbage", CodecCrashed, "the child's answer"),
    ],
)
def test_a_codec_that_misbehaves_costs_its_own_image(
    impatient: CodecPool, vice: bytes, error: type[ImageError], says: str
) -> None:
    pool = impatient
    results = run(pool, vice, b"echo:fine", b"echo:too")
    assert isinstance(results[0], error)
    assert says in results[0].detail
    assert [body(result) for result in results[1:]] == [b"fine", b"too"]
    assert body(run(pool, b"echo:next")[0]) == b"next"
    assert all(psutil.Process(pid).memory_info().rss < 200_000_000 for pid in children(pool))


def test_an_image_whose_child_died_once_is_made_on_the_spot(pool: CodecPool) -> None:
    before, pids = replaced(), children(pool)
    results: list[Rendition | ImageError] = []
    caller = threading.Thread(target=lambda: results.extend(run(pool, b"sleep:2", b"sleep:2")))
    caller.start()
    until(lambda: len(pool._turns.running) == 2)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    caller.join(DEADLINE)
    assert [body(result) for result in results] == [b"sleep:2"] * 2
    assert replaced() - before == 2


def test_processor_time_has_its_own_limit() -> None:
    pool = CodecPool(1, PoolLimits(memory_bytes=LIMITS.memory_bytes, cpu_seconds=1, wall_seconds=60), codec=misbehave)
    try:
        assert isinstance(run(pool, b"loop")[0], CodecTimeout)
        assert all(body(result) == b"again" for result in run(pool, *[b"echo:again"] * 3))
    finally:
        pool.close()


def test_idle_children_that_are_killed_are_replaced_and_no_image_is_blamed(pool: CodecPool) -> None:
    for _ in range(6):  # more often than an image may lose its child
        before, old = replaced(), children(pool)
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        until(lambda pids=old: not any(psutil.pid_exists(pid) for pid in pids))  # type: ignore[misc]
        assert [body(result) for result in run(pool, *[b"sleep:0.05"] * 4)] == [b"sleep:0.05"] * 4
        assert replaced() > before
        assert not children(pool) & old


def test_a_child_that_is_gone_is_not_killed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process id may belong to another process by now."""
    child = Child(misbehave, memory_bytes=LIMITS.memory_bytes, cpu_seconds=20)
    with in_memory(b"pid") as source:
        made = child.ask(source, RECIPE, DEADLINE).outcome
    assert isinstance(made, Rendition)
    os.kill(int(made.body), signal.SIGKILL)
    until(lambda: not psutil.pid_exists(int(made.body)))
    time.sleep(0.1)  # until the fork server has said so
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _: killed.append(pid))
    assert (child.end(), killed) == (-signal.SIGKILL, [])


def test_a_killed_fork_server_comes_back(pool: CodecPool) -> None:
    for pid in children(pool):
        server = psutil.Process(pid).parent()
    assert server is not None
    server.kill()
    assert [body(result) for result in run(pool, *[b"echo:here"] * 8)] == [b"here"] * 8


def test_a_frozen_child_that_reads_nothing_costs_one_image(impatient: CodecPool) -> None:
    pool = impatient
    frozen = min(children(pool))
    os.kill(frozen, signal.SIGSTOP)
    source = b"echo:" + bytes(10_000_000)  # more than the socket holds
    results = [run(pool, source)[0] for _ in range(3)] + run(pool, source, source)
    assert [type(result) for result in results].count(CodecTimeout) == 1
    assert not psutil.pid_exists(frozen)


def test_close_ends_the_children_at_once_and_a_call_under_way_raises() -> None:
    pool = CodecPool(2, PoolLimits(memory_bytes=LIMITS.memory_bytes), codec=misbehave)
    pids = children(pool)
    before = used(pids)
    raised: list[type[BaseException]] = []

    def wait() -> None:
        try:
            run(pool, b"loop", b"loop", b"loop")
        except PoolClosedError as error:
            raised.append(type(error))

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: len(pool._turns.running) == 2 and used(pids) > before + 0.1)
    began = time.monotonic()
    pool.close()
    thread.join(DEADLINE)
    assert time.monotonic() - began < 4.5, "below the time for which it waits for drivers that do not end"
    assert raised == [PoolClosedError]
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    with pytest.raises(PoolClosedError):
        run(pool, b"echo:no")


def test_the_pool_closes_within_one_wait_for_all_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    closing = CodecPool(2, LIMITS, codec=misbehave)
    pool_module = sys.modules[CodecPool.__module__]
    waits: list[float] = []

    def never_ends(_: threading.Thread, seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(pool_module, "time", SimpleNamespace(monotonic=lambda: sum(waits)))
    for driver in closing._drivers:
        monkeypatch.setattr(driver, "join", partial(never_ends, driver))
    closing.close()
    assert len(waits) == 2
    assert sum(waits) <= 5


def test_a_small_request_overtakes_a_large_one() -> None:
    pool = CodecPool(1, LIMITS, codec=misbehave)
    order: list[str] = []
    small_waits = threading.Event()

    def source(name: str, number: int) -> BinaryIO:
        """Opened in the order in which they are made; the second of the large request waits for the small one."""
        order.append(name)
        if (name, number) == ("large", 1):
            assert small_waits.wait(DEADLINE)
        return in_memory(b"sleep:0.01")

    def send(name: str, request_id: UUID, count: int) -> None:
        sources = [partial(source, name, number) for number in range(count)]
        assert len(list(pool.compress(sources, RECIPE, request_id, ACCOUNT))) == count

    threads = [threading.Thread(target=send, args=one) for one in (("large", A, 10), ("small", B, 1))]
    try:
        threads[0].start()
        until(lambda: len(order) == 2)
        threads[1].start()
        until(lambda: len(pool._turns.waiting) == 2)
        small_waits.set()
        for thread in threads:
            thread.join(DEADLINE)
    finally:
        small_waits.set()
        pool.close()
    assert order.index("small") <= 3  # behind the one that was being made, and one in its turn
    assert len(order) == 11


def test_the_codec_is_timed_by_the_format_that_it_found(pool: CodecPool) -> None:
    def counted(name: str) -> float:
        return REGISTRY.get_sample_value("halftone_codec_seconds_count", {"format": name}) or 0

    before = {name: counted(name) for name in ("jpeg", "none")}
    real, broken = run(pool, encode(photo(40, 30), "JPEG"), b"corrupt")
    assert isinstance(real, Rendition)
    assert isinstance(broken, ImageError)
    until(lambda: {name: counted(name) - before[name] for name in before} == {"jpeg": 1, "none": 1})
    assert REGISTRY.get_sample_value("halftone_codec_processes") == 2
    until(lambda: REGISTRY.get_sample_value("halftone_codec_images", {"state": "running"}) == 0)
    assert REGISTRY.get_sample_value("halftone_codec_images", {"state": "waiting"}) == 0

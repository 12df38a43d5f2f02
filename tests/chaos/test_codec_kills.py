"""Codec children killed at random under load: no image is lost, doubled or mixed up, and no process is left."""

import os
import signal
import threading
from contextlib import suppress
from functools import partial
from random import Random

import psutil
import pytest

from services.worker.codec import Rendition
from services.worker.codec_pool import CodecPool, PoolLimits
from tests.stack import until
from tests.unit.worker.planted import misbehave, outcomes
from tests.unit.worker.test_codec_pool import replaced

CHILDREN = 4
CALLERS = 3
BATCH = 8
PATIENT = PoolLimits(memory_bytes=1_000_000_000, wall_seconds=60)
patiently = partial(until, within=PATIENT.wall_seconds)  # as long as the pool itself waits for an image


class Caller(threading.Thread):
    """Sends batches of images that can be told apart until it is stopped, and keeps count of what comes back."""

    def __init__(self, pool: CodecPool, name: str) -> None:
        super().__init__(name=name)
        self._pool = pool
        self.stopped = threading.Event()
        self.sent = self.returned = 0
        self.wrong: list[object] = []

    def run(self) -> None:
        while not self.stopped.is_set():
            bodies = [f"{self.name}/{self.sent + number}".encode() for number in range(BATCH)]
            self.sent += BATCH
            results = outcomes(self._pool, [b"slow echo:" + body for body in bodies])
            self.returned += len(results)
            for body, result in zip(bodies, results, strict=True):
                if not isinstance(result, Rendition) or result.body != body:
                    self.wrong.append((body, result))


@pytest.mark.parametrize("deaths", [80, pytest.param(800, marks=pytest.mark.chaos)])
def test_killed_children_lose_and_double_nothing(deaths: int) -> None:
    """A child that is killed while it starts is started again and counts as none: the slower the machine, the more."""
    before, replaced_before = _descendants(), replaced()
    pool = CodecPool(CHILDREN, PATIENT, codec=misbehave)
    callers = [Caller(pool, f"caller {number}") for number in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        kills = 0
        while replaced() - replaced_before < deaths:
            # Images move on between two kills, so that none is hit five times in a row by chance.
            done = sum(caller.returned for caller in callers)
            patiently(lambda done=done: sum(caller.returned for caller in callers) > done + BATCH, every=0.001)  # type: ignore[misc]
            _kill_one(Random(kills), before)
            kills += 1
            assert kills < 5 * deaths, "kills hit nothing"
    finally:
        for caller in callers:
            caller.stopped.set()
        for caller in callers:
            caller.join(60)
        pool.close()
    sent = sum(caller.sent for caller in callers)
    print(f"{kills} kills, {replaced() - replaced_before:.0f} children replaced, {sent} images")  # noqa: T201
    assert [caller.wrong for caller in callers] == [[]] * CALLERS
    assert sum(caller.returned for caller in callers) == sent
    patiently(lambda: not _children_of_the_pool(before))


def _kill_one(random: Random, before: set[psutil.Process]) -> None:
    pids = patiently(lambda: _children_of_the_pool(before), every=0.001)
    with suppress(ProcessLookupError):
        os.kill(random.choice(pids), signal.SIGKILL)


def _descendants() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def _children_of_the_pool(before: set[psutil.Process]) -> list[int]:
    """Processes, zombies too, two steps below this one: their parent is the fork server."""
    own = os.getpid()
    grandchildren = []
    for process in _descendants() - before:
        with suppress(psutil.NoSuchProcess):
            if process.ppid() != own:
                grandchildren.append(process.pid)
    return sorted(grandchildren)

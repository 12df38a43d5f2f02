"""The event loop on which every exchange runs: one thread of its own for the whole process.

A thread hands over any number of coroutines at once and takes their outcomes as they come; nothing may block the loop.
"""

import asyncio
import atexit
import sys
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Generic, NamedTuple, TypeVar

if sys.platform == "win32":
    from asyncio import new_event_loop
else:
    from uvloop import new_event_loop

T = TypeVar("T")

_JOIN_SECONDS = 2.0
_starting = threading.Lock()
_running: list[asyncio.AbstractEventLoop] = []


def running_loop() -> asyncio.AbstractEventLoop:
    """The loop; it is started at the first call and stopped when Python ends."""
    with _starting:
        if not _running:
            loop = new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="egress", daemon=True)
            thread.start()
            atexit.register(_stop, loop, thread)
            _running.append(loop)
        return _running[0]


class Ended(NamedTuple, Generic[T]):
    """The end of one coroutine: its result, its error or None if it was cancelled, and how long it took."""

    position: int
    outcome: T | BaseException | None
    seconds: float


class Batch(Generic[T]):
    """Coroutines that run at the same time, handed to the loop with one call."""

    def __init__(self, coroutines: Sequence[Coroutine[None, None, T]]) -> None:
        self._coroutines = coroutines
        self._ended: SimpleQueue[Ended[T]] = SimpleQueue()
        self._begun = 0.0
        self._tasks: list[asyncio.Task[T]] = []  # the loop itself keeps none alive

    def start(self) -> list[asyncio.Task[T]]:
        """On the loop."""
        loop, self._begun = asyncio.get_running_loop(), time.monotonic()
        self._tasks = [loop.create_task(coroutine) for coroutine in self._coroutines]
        for index, task in enumerate(self._tasks):
            task.add_done_callback(partial(self._done, index))
        return self._tasks

    def outcomes(self) -> Iterator[Ended[T]]:
        """One for each coroutine, in the order of their ends."""
        for _ in self._coroutines:
            yield self._ended.get()

    def _done(self, index: int, task: asyncio.Task[T]) -> None:
        outcome = None if task.cancelled() else task.exception() or task.result()
        self._ended.put(Ended(index, outcome, time.monotonic() - self._begun))


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(loop.stop)
    thread.join(_JOIN_SECONDS)

"""The event loop on which every exchange runs: one thread of its own for the whole process.

A thread hands over any number of coroutines at once and takes their outcomes as they come; nothing may block the loop.
"""

import asyncio
import atexit
import sys
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Generic, TypeVar

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


class Batch(Generic[T]):
    """Coroutines that run at the same time, handed to the loop with one call."""

    def __init__(self, coroutines: Sequence[Coroutine[None, None, T]]) -> None:
        self._coroutines = coroutines
        self._outcomes: SimpleQueue[tuple[int, T | BaseException | None]] = SimpleQueue()
        self._tasks: list[asyncio.Task[T]] = []  # the loop itself keeps none alive

    def start(self) -> list[asyncio.Task[T]]:
        """On the loop."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(coroutine) for coroutine in self._coroutines]
        for index, task in enumerate(self._tasks):
            task.add_done_callback(partial(self._done, index))
        return self._tasks

    def outcomes(self) -> Iterator[tuple[int, T | BaseException | None]]:
        """Each coroutine's index with its result, its error or None if it was cancelled, in the order of their ends."""
        for _ in self._coroutines:
            yield self._outcomes.get()

    def _done(self, index: int, task: asyncio.Task[T]) -> None:
        self._outcomes.put((index, None if task.cancelled() else task.exception() or task.result()))


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(loop.stop)
    thread.join(_JOIN_SECONDS)

"""Places for work that is costly: a few at a time, some that wait for their turn, and no more."""

from asyncio import Semaphore
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.http.problems import Problem

BACK_IN = {"Retry-After": "30"}


class Turns:
    """`async with turns.taken()` waits for one of the `at_once` places; first come, first served."""

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._places = Semaphore(at_once)
        self._free_to_wait = waiting

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Raises Problem: 503 where too many wait already."""
        if self._places.locked() and not self._free_to_wait:
            raise Problem(503, "busy", "Too many large uploads wait already; try again soon.", headers=BACK_IN)
        self._free_to_wait -= 1
        try:
            await self._places.acquire()
        finally:
            self._free_to_wait += 1
        try:
            yield
        finally:
            self._places.release()

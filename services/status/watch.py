"""One look a second at every request that somebody follows, however many clients follow however many requests."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from uuid import UUID

import psycopg
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from services.status.queries import Found
from shared.log import get_logger

log = get_logger(__name__)
Look = Callable[[set[UUID]], dict[UUID, Found]]


class Follower:
    """Holds the latest look only: a slow client skips states, it never queues them up."""

    def __init__(self) -> None:
        self.latest: Found | None = None
        self.news = asyncio.Event()

    def tell(self, found: Found | None) -> None:
        self.latest = found
        self.news.set()


class Watch:
    """`follow` yields a request's state once a second; the looking stops with the last follower."""

    def __init__(self, look: Look, *, interval: float = 1.0) -> None:
        self._look = look
        self._interval = interval
        self._followers: dict[UUID, set[Follower]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def follow(self, request_id: UUID) -> AsyncGenerator[Found, None]:
        """Ends when the request is deleted."""
        follower = Follower()
        self._followers.setdefault(request_id, set()).add(follower)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_on())
        try:
            while True:
                await follower.news.wait()
                follower.news.clear()
                if follower.latest is None:
                    return
                yield follower.latest
        finally:
            self._leave(request_id, follower)

    def _leave(self, request_id: UUID, follower: Follower) -> None:
        followers = self._followers[request_id]
        followers.discard(follower)
        if not followers:
            del self._followers[request_id]
        if not self._followers and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look_on(self) -> None:
        while True:
            asked = set(self._followers)
            try:
                found = await run_in_threadpool(self._look, asked)
            except (SQLAlchemyError, psycopg.Error) as error:
                # The database will be back; clients keep their heartbeat meanwhile.
                log.warning("watch_failed", error=type(error).__name__)
            else:
                self._tell(asked, found)
            await asyncio.sleep(self._interval)

    def _tell(self, asked: set[UUID], found: dict[UUID, Found]) -> None:
        """Whoever came while the look was under way waits for the next one."""
        for request_id in asked & self._followers.keys():
            for follower in self._followers[request_id]:
                follower.tell(found.get(request_id))

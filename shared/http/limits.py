"""Limits on concurrency: of HTTP requests by kind, and of costly work that may wait in a queue."""

from asyncio import Semaphore
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto

from starlette.types import ASGIApp, Receive, Scope, Send

from shared.http.paths import UPLOADS
from shared.http.problems import Problem

PROBES = ("/healthz", "/readyz", "/metrics")
DOWNLOADS = ("/outputs.zip", "/output.csv", "/source")
BUSY = Problem(
    503, "busy", "Too many concurrent requests; try again soon.", headers={"Retry-After": "5", "Connection": "close"}
)


class Kind(Enum):
    """Kinds of requests. All but a CALL last as long as their clients like."""

    UPLOAD = auto()
    DOWNLOAD = auto()
    EVENTS = auto()
    CALL = auto()


class ConcurrencyLimit:
    """Answers 503 while `limit` requests of the same kind are in progress.

    Each kind has places of its own, so that slow clients cannot starve other calls. Probes are always answered: a busy
    service must not be restarted for being busy.
    """

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self.app = app
        self.limit = limit
        self._in_progress = Counter[Kind]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self.app(scope, receive, send)
            return
        kind = _kind(scope["method"], scope["path"])
        if self._in_progress[kind] >= self.limit:
            await BUSY.response()(scope, receive, send)
            return
        self._in_progress[kind] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._in_progress[kind] -= 1


def _kind(method: str, path: str) -> Kind:
    if method == "POST" and path in UPLOADS:
        return Kind.UPLOAD
    if path.endswith(DOWNLOADS) or path.startswith("/files/"):
        return Kind.DOWNLOAD
    return Kind.EVENTS if path.endswith("/events") else Kind.CALL


class QueuedLimit:
    """`async with limit.place()` waits, first come first served, for one of the `running` places."""

    def __init__(self, what: str, *, running: int, waiting: int) -> None:
        self._what = what
        self._places = Semaphore(running)
        self._free_to_wait = waiting

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Raises Problem: 503 if `waiting` others wait already."""
        if self._places.locked() and not self._free_to_wait:
            detail = f"Too many {self._what} are waiting already; try again soon."
            raise Problem(503, "busy", detail, headers={"Retry-After": "30"})
        self._free_to_wait -= 1
        try:
            await self._places.acquire()
        finally:
            self._free_to_wait += 1
        try:
            yield
        finally:
            self._places.release()

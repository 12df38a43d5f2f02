"""Server-sent events of a request: `progress` whenever its counts change, then `done`; both carry the request.

An event's id holds run, status and counts. A client that returns with `Last-Event-ID` gets no event twice, and one that
has seen `done` gets 204, which tells a browser's EventSource to stop reconnecting.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from uuid import UUID

import psycopg
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from services.status import params
from services.status.queries import Found
from shared.http.authentication import Keyring
from shared.http.caller import caller_of
from shared.http.context import Context, context_of
from shared.http.problems import Problem
from shared.lifecycle import RequestStatus
from shared.log import get_logger
from shared.schemas import api

log = get_logger(__name__)
HEARTBEAT = 15
KEY_CHECK_SECONDS = 1.5
Read = Callable[[set[UUID]], Awaitable[dict[UUID, Found]]]


async def get_events(http_request: HttpRequest) -> Response:
    found = await params.requested(http_request)
    seen = http_request.headers.get("last-event-id")
    if is_done(found) and seen == event_id(found):
        return Response(None, 204)
    poller: RequestPoller = http_request.app.state.poller
    public_url = context_of(http_request, Context).settings.public_url
    events = events_from(found, poller, seen=seen, public_url=public_url)
    context, key_id = context_of(http_request, Context), caller_of(http_request).key_id
    if context.keyring is not None and key_id is not None:
        events = while_valid(events, context.keyring, key_id)
    return EventSourceResponse(events, ping=HEARTBEAT)


async def while_valid(
    events: AsyncGenerator[ServerSentEvent, None], keyring: Keyring, key_id: str
) -> AsyncGenerator[ServerSentEvent, None]:
    """The events until the key is revoked or expires. While the database is away, none come and the stream stays."""
    coming = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            await asyncio.wait({coming}, timeout=KEY_CHECK_SECONDS)
            with suppress(Problem):
                if await keyring.find(key_id) is None:
                    return
            if not coming.done():
                continue
            event = coming.result()
            if event is None:
                return
            yield event
            coming = asyncio.ensure_future(anext(events, None))
    finally:
        coming.cancel()
        await asyncio.wait({coming})
        await events.aclose()


async def events_from(
    found: Found, poller: "RequestPoller", *, seen: str | None, public_url: str
) -> AsyncGenerator[ServerSentEvent, None]:
    """The events from the state `found`, without the one that the client has `seen`."""
    if event_id(found) != seen:
        yield event_of(found, public_url=public_url, now=datetime.now(UTC))
    seen = event_id(found)
    if is_done(found):
        return
    async with aclosing(poller.follow(found)) as states:
        async for latest in states:
            if event_id(latest) != seen:
                seen = event_id(latest)
                yield event_of(latest, public_url=public_url, now=datetime.now(UTC))
            if is_done(latest):
                return


def event_of(found: Found, *, public_url: str, now: datetime) -> ServerSentEvent:
    data = api.Request.of(found.request, found.counts, public_url=public_url, now=now).model_dump_json()
    return ServerSentEvent(data, event="done" if is_done(found) else "progress", id=event_id(found))


def event_id(found: Found) -> str:
    counts = found.counts
    return f"{found.request.run}.{found.request.status}.{counts.completed}.{counts.failed}.{counts.cancelled}"


def is_done(found: Found) -> bool:
    return RequestStatus(found.request.status).terminal


class Follower:
    """Holds only the latest state: a slow client skips states instead of queueing them. An equal one wakes nothing."""

    def __init__(self, found: Found) -> None:
        self.latest: Found | None = found
        self.news = asyncio.Event()

    def publish(self, found: Found | None) -> None:
        if found != self.latest:
            self.latest = found
            self.news.set()


class RequestPoller:
    """Reads all followed requests once a second in one statement; stops when the last follower leaves."""

    def __init__(self, read: Read, *, interval: float = 1.0) -> None:
        self._read = read
        self._interval = interval
        self._followers: dict[UUID, set[Follower]] = {}
        self._task: asyncio.Task[None] | None = None

    async def follow(self, found: Found) -> AsyncGenerator[Found, None]:
        """The states after `found`, at most one a second; ends when the request is deleted."""
        request_id, follower = found.request.id, Follower(found)
        self._followers.setdefault(request_id, set()).add(follower)
        if self._task is None:
            self._task = asyncio.create_task(self._poll())
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
        if not self._followers and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _poll(self) -> None:
        while True:
            asked = set(self._followers)
            try:
                self._publish(asked, await self._read(asked))
            except psycopg.Error as error:
                log.warning("poll_failed", error=type(error).__name__)
            except asyncio.CancelledError:
                if _is_cancelled():
                    raise
                log.warning("poll_failed", error="CancelledError")  # the read alone was cancelled
            except Exception:  # the followers wait for the next read, and their clients keep the heartbeat
                log.exception("poll_failed")
            await asyncio.sleep(self._interval)

    def _publish(self, asked: set[UUID], found: dict[UUID, Found]) -> None:
        """A follower of a request that was not `asked` for yet waits for the next read."""
        for request_id in asked & self._followers.keys():
            for follower in self._followers[request_id]:
                follower.publish(found.get(request_id))


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


ROUTES = [Route("/v1/requests/{request_id}/events", get_events)]

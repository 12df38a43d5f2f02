"""Server-sent events of a request: `progress` whenever its counts moved, then `done`, both carrying the request.

An event's id says run, status and counts. A client that comes back with `Last-Event-ID` gets nothing twice, and one
that has seen `done` gets 204, which tells a browser's EventSource to stop reconnecting.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime

import orjson
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from services.status import params, queries
from services.status.queries import Found
from services.status.watch import Watch
from shared.http.problems import not_found
from shared.lifecycle import RequestStatus
from shared.schemas.api import request_view

HEARTBEAT = 15


async def get_events(http_request: HttpRequest) -> Response:
    account, request_id = params.account_of(http_request), params.request_id_of(http_request)
    stores = params.stores_of(http_request)
    found = await run_in_threadpool(
        stores.database.transact, lambda session: queries.find_request(session, account, request_id)
    )
    if found is None:
        raise not_found()
    seen = http_request.headers.get("last-event-id")
    if is_done(found) and seen == event_id(found):
        return Response(None, 204)
    watch: Watch = http_request.app.state.watch
    events = tell(found, watch, seen=seen, public_url=stores.public_url)
    return EventSourceResponse(events, ping=HEARTBEAT)


async def tell(found: Found, watch: Watch, *, seen: str | None, public_url: str) -> AsyncIterator[ServerSentEvent]:
    """The events from a first look on, leaving out what the client has `seen`."""
    if event_id(found) != seen:
        yield event_of(found, public_url=public_url, now=datetime.now(UTC))
    seen = event_id(found)
    if is_done(found):
        return
    async with aclosing(watch.follow(found.request.id)) as looks:
        async for latest in looks:
            if event_id(latest) != seen:
                seen = event_id(latest)
                yield event_of(latest, public_url=public_url, now=datetime.now(UTC))
            if is_done(latest):
                return


def event_of(found: Found, *, public_url: str, now: datetime) -> ServerSentEvent:
    view = request_view(found.request, found.counts, public_url=public_url, now=now)
    name = "done" if is_done(found) else "progress"
    return ServerSentEvent(orjson.dumps(view).decode(), event=name, id=event_id(found))


def event_id(found: Found) -> str:
    counts = found.counts
    return f"{found.request.run}.{found.request.status}.{counts.completed}.{counts.failed}.{counts.cancelled}"


def is_done(found: Found) -> bool:
    return RequestStatus(found.request.status).terminal


ROUTES = [Route("/v1/requests/{request_id}/events", get_events)]

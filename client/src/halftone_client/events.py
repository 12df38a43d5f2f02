"""A request's states as they come: by server-sent events, and by asking where those do not come through."""

from collections.abc import Callable, Iterator
from typing import cast

import httpx
from httpx_sse import EventSource, SSEError

from halftone_client.errors import NoEvents, Refused, Unreachable
from halftone_client.shapes import TERMINAL, Request
from halftone_client.transport import Transport

SILENCE = 40.0
"""Seconds without a byte after which a stream is given up: the service sends a heartbeat every 15 s."""
FIRST_SILENCE = 5.0
"""The same until an event came: the service sends the first one at once, a proxy may hold it back."""
ASKED_BETWEEN_STREAMS = 15
"""How often the request is asked for before events are tried again."""
EVERY = 2.0


def follow(
    transport: Transport, request_id: str, *, ask: Callable[[], Request], silence: float = SILENCE
) -> Iterator[Request]:
    """The states of a request, the terminal one last; one comes at least every `silence` seconds if they are below 15.

    Raises:
        Refused: there is no such request, or it is another's.
        Unreachable: the service was away for longer than the transport's patience.

    """
    asked, came = 0, False
    while True:
        if asked % ASKED_BETWEEN_STREAMS == 0:
            limit = silence if came else min(silence, FIRST_SILENCE)
            came = False
            try:
                for request in _events(transport, request_id, limit):
                    came = True
                    yield request
                    if request["status"] in TERMINAL:
                        return
            except (httpx.HTTPError, SSEError, Unreachable, Refused, ValueError):
                pass  # asking says what it is
        request = ask()
        yield request
        if request["status"] in TERMINAL:
            return
        asked = 0 if came else asked + 1
        transport.pause(EVERY, NoEvents())


def _events(transport: Transport, request_id: str, silence: float) -> Iterator[Request]:
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    timeout = httpx.Timeout(silence, connect=5)
    target = f"/v1/requests/{request_id}/events"
    arguments = {"headers": headers, "timeout": timeout}
    with transport.stream("GET", target, once=True, arguments=lambda: arguments) as answer:
        for event in EventSource(answer).iter_sse():
            if event.event in ("progress", "done"):
                yield cast("Request", event.json())

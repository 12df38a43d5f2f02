"""The bytes of a body, limited in size, time and room; where the headers say enough, before any of them come."""

import asyncio
from collections.abc import AsyncGenerator

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest

from services.ingest.settings import IngestSettings
from services.ingest.space import Reservation
from shared.http.problems import Problem

IDLE_TIMEOUT = 20.0
"""Seconds without a byte; also the grace before the minimum rate applies."""
MIN_RATE = 1_000
"""Bytes per second: each upload holds one of the `http_at_once` places."""
DROPPED_BEYOND = 4_000_000
"""Bytes of a refused body that are still read beyond the largest upload.

The gateway must pass many more, because it counts what is on its way to us in buffers.
"""


async def limited(
    http_request: HttpRequest, settings: IngestSettings, room: Reservation | None, limit: int, stated_limit: int
) -> AsyncGenerator[bytes, None]:
    """The body, of at most `limit` bytes; the refusal names `stated_limit`, which leaves out a form's framing.

    `room`: None for one that is not spooled.

    Raises:
        Problem: 413 if it is too large, 408 if it is too slow, 400 if the client leaves; 429 or 503 if there is no room
            for it.

    """
    length = int(stated) if (stated := http_request.headers.get("content-length", "")).isdecimal() else 0
    if length > limit:
        raise too_large(stated_limit)
    if room is not None:
        room.expect(length)
    total = 0
    try:
        async for chunk in _in_time(http_request.stream(), settings.upload_seconds):
            total += len(chunk)
            if total > limit:
                raise too_large(stated_limit)
            if room is not None:
                room.use(len(chunk))
            if chunk:
                yield chunk
    except ClientDisconnect:
        raise Problem(400, "incomplete_upload", "The connection closed before the upload was complete.") from None


async def _in_time(chunks: AsyncGenerator[bytes, None], seconds: float) -> AsyncGenerator[bytes, None]:
    """The chunks. Idle time and rate count only the time spent waiting for them; the total of `seconds` counts all."""
    now = asyncio.get_running_loop().time
    deadline = now() + seconds
    waited, total = 0.0, 0
    while True:
        since = now()
        idle = min(IDLE_TIMEOUT, IDLE_TIMEOUT + total / MIN_RATE - waited)
        try:
            async with asyncio.timeout_at(min(deadline, since + idle)):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise _too_slow(seconds) from None
        waited += now() - since
        total += len(chunk)
        yield chunk


def _too_slow(seconds: float) -> Problem:
    detail = (
        f"The upload is too slow: send at least {MIN_RATE:,} bytes per second, pause for less than {IDLE_TIMEOUT:g} "
        f"seconds, and end within {seconds:g} seconds."
    )
    return Problem(408, "slow_upload", detail)


def too_large(limit: int) -> Problem:
    detail = f"The upload is larger than {limit / 1_000_000:g} MB; split it into several requests."
    return Problem(413, "too_large", detail)

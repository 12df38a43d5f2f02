"""The bytes of an upload, limited in size and time.

The rest of a body that is too large is read and dropped before the refusal: a client reads no answer while it sends,
and the gateway takes a connection that closes while it sends for a dead service.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from starlette.requests import Request as HttpRequest

from services.ingest.settings import IngestSettings
from shared.http.problems import Problem

MAX_DROPPED = 10_000_000
"""Bytes beyond the largest upload that are read and dropped; the gateway passes fewer."""
DROP_IDLE_TIMEOUT = 3.0
IDLE_TIMEOUT = 20.0
"""Seconds without a byte; also the grace before the minimum rate applies."""
MIN_RATE = 1_000
"""Bytes per second: each upload holds one of the `http_at_once` places."""


async def limited(
    http_request: HttpRequest, settings: IngestSettings, limit: int, stated_limit: int
) -> AsyncGenerator[bytes, None]:
    """The body, of at most `limit` bytes; the refusal names `stated_limit`, which leaves out a form's framing.

    Raises:
        Problem: 413 if it is too large, 408 if it is too slow.

    """
    chunks = _in_time(http_request.stream(), settings.upload_seconds)
    length = http_request.headers.get("content-length", "")
    total = 0
    if not length.isdigit() or int(length) <= limit:
        async for chunk in chunks:
            total += len(chunk)
            if total > limit:
                break
            if chunk:
                yield chunk
        else:
            return
    await _drop(chunks, max(limit, settings.max_upload_bytes) + MAX_DROPPED - total)
    raise too_large(stated_limit)


async def _drop(chunks: AsyncGenerator[bytes, None], most: int) -> None:
    with contextlib.suppress(TimeoutError):
        while most > 0:
            async with asyncio.timeout(DROP_IDLE_TIMEOUT):
                chunk = await anext(chunks, None)
            if chunk is None:
                return
            most -= len(chunk)


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
    # X-Body-Abandoned makes the gateway answer now instead of after the rest of the body.
    return Problem(408, "slow_upload", detail, headers={"Connection": "close", "X-Body-Abandoned": "1"})


def too_large(limit: int) -> Problem:
    detail = f"The upload is larger than {limit / 1_000_000:g} MB; split it into several requests."
    return Problem(413, "too_large", detail, headers={"Connection": "close"})

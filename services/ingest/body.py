"""The bytes of an upload, counted while they come.

A body that is too large is read on and dropped before the refusal: who still sends does not listen, and the gateway
takes a connection that closes under its hands for a service that is away.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from starlette.requests import Request as HttpRequest

from services.ingest.settings import IngestSettings
from shared.http.problems import Problem

DROPPED = 10_000_000
"""Bytes beyond the largest upload that are read in order to be dropped; the gateway lets fewer through."""
SILENCE = 3.0
"""Seconds without a byte after which nobody is taken to be sending what is dropped."""
PATIENCE = 20.0
"""Seconds without a byte after which an upload is given up, and those that it may be slower than `SLOWEST` in all."""
SLOWEST = 1_000
"""Bytes a second. Each upload holds one of `http_at_once` places."""


async def limited(
    http_request: HttpRequest, settings: IngestSettings, limit: int, promised: int
) -> AsyncGenerator[bytes, None]:
    """The body; `promised` is the limit to speak of, without the framing.

    Raises:
        Problem: 413, 408 if it is too slow.

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
    await _drop(chunks, max(limit, settings.max_upload_bytes) + DROPPED - total)
    raise too_big(promised)


async def _drop(chunks: AsyncGenerator[bytes, None], most: int) -> None:
    with contextlib.suppress(TimeoutError):
        while most > 0:
            async with asyncio.timeout(SILENCE):
                chunk = await anext(chunks, None)
            if chunk is None:
                return
            most -= len(chunk)


async def _in_time(chunks: AsyncGenerator[bytes, None], seconds: float) -> AsyncGenerator[bytes, None]:
    """The chunks; only the time spent waiting for them is held against who sends, but for the whole `seconds`."""
    now = asyncio.get_running_loop().time
    deadline = now() + seconds
    waited, total = 0.0, 0
    while True:
        since = now()
        patience = min(PATIENCE, PATIENCE + total / SLOWEST - waited)
        try:
            async with asyncio.timeout_at(min(deadline, since + patience)):
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
        f"The upload came too slowly: less than {SLOWEST:,} bytes a second, nothing for {PATIENCE:g} seconds, "
        f"or not all of it within {seconds:g} seconds."
    )
    # The gateway acts on the second: it would pass the answer on when the rest of the body has come.
    return Problem(408, "slow_upload", detail, headers={"Connection": "close", "X-Body-Abandoned": "1"})


def too_big(limit: int) -> Problem:
    detail = f"The upload is larger than {limit / 1_000_000:g} MB; split it into several requests."
    return Problem(413, "too_large", detail, headers={"Connection": "close"})

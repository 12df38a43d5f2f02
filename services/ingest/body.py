"""The bytes of an upload, counted while they come.

A body that is too large is read on and dropped before the refusal: who still sends does not listen, and the gateway
takes a connection that closes under its hands for a service that is away.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from starlette.requests import Request as HttpRequest

from services.ingest.settings import IngestSettings
from shared.problems import Problem

DROPPED = 10_000_000
"""Bytes beyond the largest upload that are read in order to be dropped; the gateway lets fewer through."""
SILENCE = 3.0
"""Seconds without a byte after which nobody is taken to be sending."""


async def limited(
    http_request: HttpRequest, settings: IngestSettings, limit: int, promised: int
) -> AsyncGenerator[bytes, None]:
    """The body; `promised` is the limit to speak of, without the framing.

    Raises:
        Problem: 413, 400 if it takes too long.

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
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError:
            detail = f"The upload was not finished within {seconds:g} seconds."
            raise Problem(400, "incomplete_upload", detail, headers={"Connection": "close"}) from None
        yield chunk


def too_big(limit: int) -> Problem:
    detail = f"The upload is larger than {limit / 1_000_000:g} MB; split it into several requests."
    return Problem(413, "too_large", detail, headers={"Connection": "close"})

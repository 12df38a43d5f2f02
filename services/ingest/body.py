"""The bytes of an upload, limited in size, time and room.

Where the headers say enough, a refusal is answered at once. The rest of the body is read and dropped all the same: some
clients read nothing while they send, and the gateway takes a connection that closes while it sends for a dead service.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.ingest.settings import IngestSettings
from services.ingest.space import Reservation
from shared.http.problems import Problem

MAX_DROPPED = 10_000_000
"""Bytes beyond the largest upload that are read and dropped; the gateway passes fewer."""
MAX_AWAITED = 4_000_000
"""Bytes beyond the largest upload for whose end an answer waits to end; the gateway passes more."""
DROP_IDLE_TIMEOUT = 3.0
DROP_SECONDS = 30.0
IDLE_TIMEOUT = 20.0
"""Seconds without a byte; also the grace before the minimum rate applies."""
MIN_RATE = 1_000
"""Bytes per second: each upload holds one of the `http_at_once` places."""


class Unread(Problem):
    """A refusal before the body is read, whose length is known."""

    def __init__(self, problem: Problem, *, awaited: bool, most: int) -> None:
        # X-Body-Abandoned makes the gateway answer now instead of after the rest of the body.
        headers = {**problem.headers, "Connection": "close", "X-Body-Abandoned": "1"}
        super().__init__(problem.status, problem.code, problem.detail, headers=headers, **problem.members)
        self._awaited = awaited
        self._most = most

    def response(self, *, status: int | None = None) -> Response:
        return AnswerFirst(super().response(status=status), awaited=self._awaited, most=self._most)


class AnswerFirst(Response):
    """The answer, before at most `most` bytes of the body are dropped.

    If the body is `awaited`, the answer ends only then, and the gateway goes on reading it. So it must not state its
    length. Otherwise the gateway hangs up on both sides.
    """

    def __init__(self, answer: Response, *, awaited: bool, most: int) -> None:
        super().__init__(answer.body, answer.status_code)
        self.raw_headers = [pair for pair in answer.raw_headers if not awaited or pair[0] != b"content-length"]
        self._most = most

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        await _drop(receive, self._most)
        await send({"type": "http.response.body", "body": b""})


async def _drop(receive: Receive, most: int) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DROP_SECONDS):
            while most > 0:
                async with asyncio.timeout(DROP_IDLE_TIMEOUT):
                    message = await receive()
                if message["type"] != "http.request" or not message.get("more_body"):
                    return
                most -= len(message.get("body", b""))


async def limited(
    http_request: HttpRequest, settings: IngestSettings, room: Reservation, limit: int, stated_limit: int
) -> AsyncGenerator[bytes, None]:
    """The body, of at most `limit` bytes; the refusal names `stated_limit`, which leaves out a form's framing.

    Raises:
        Problem: 413 if it is too large, 408 if it is too slow, 503 if there is no room for it.

    """
    length = int(stated) if (stated := http_request.headers.get("content-length", "")).isdecimal() else 0
    total = 0
    try:
        if length > limit:
            raise too_large(stated_limit)
        room.expect(length)
        async for chunk in _in_time(http_request.stream(), settings.upload_seconds):
            total += len(chunk)
            if total > limit:
                raise too_large(stated_limit)
            room.use(len(chunk))
            if chunk:
                yield chunk
    except Problem as problem:
        if problem.status == 408:
            raise
        most = settings.max_upload_bytes + MAX_DROPPED - total
        if total < length:
            awaited = length <= settings.max_upload_bytes + MAX_AWAITED
            raise Unread(problem, awaited=awaited, most=most) from None
        await _drop(http_request.receive, most)
        raise


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

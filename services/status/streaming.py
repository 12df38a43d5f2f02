"""Answers that are made while they are sent; HEAD gets the headers alone.

An error half-way breaks the connection off, so a client never takes a part for the whole.
"""

from collections.abc import Iterator, Mapping

import psycopg
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from shared.errors import HalftoneError
from shared.log import get_logger

log = get_logger(__name__)


class BreakingResponse(StreamingResponse):
    """Ends without an end when a store fails or the request is gone: ASGI has no word for it, the server closes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except (HalftoneError, SQLAlchemyError, psycopg.Error) as error:
            log.warning("broken_off", path=scope["path"][:500], error=f"{type(error).__name__}: {error}"[:500])


def stream(
    http_request: HttpRequest,
    chunks: Iterator[bytes],
    *,
    media_type: str,
    headers: Mapping[str, str],
    status: int = 200,
) -> Response:
    """`chunks` run in the thread pool; for HEAD they are not even begun."""
    if http_request.method != "HEAD":
        return BreakingResponse(chunks, status, headers, media_type)
    response = Response(None, status, headers, media_type)
    if "Content-Length" not in headers:
        del response.headers["content-length"]
    return response


def attachment(file_name: str) -> dict[str, str]:
    """Headers of a file to save; `file_name` is ours, plain ASCII. It changes until the request is terminal."""
    return {"Content-Disposition": f'attachment; filename="{file_name}"', "Cache-Control": "private, no-cache"}

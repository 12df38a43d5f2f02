"""Answers that are files: sources, renditions, the output CSV and the zip.

The content type is fixed by what the codec decoded, never by what a host claimed, so no answer can run as a page. A
streamed answer that fails midway ends with a broken connection, so no client takes a part for the whole.
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping

import psycopg
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from services.status import images, params, products
from services.status.output_csv import csv_chunks
from services.status.outputs_zip import zip_chunks
from services.status.views import matches
from shared.blobs import BlobMissing, Blobs, source_key
from shared.blobs.disk import DiskBlobs
from shared.errors import HalftoneError
from shared.formats import FORMATS, MEDIA_TYPES
from shared.http.caller import account_of
from shared.http.context import Context, context_of, id_of
from shared.http.limits import FairSemaphore, owner_of
from shared.http.problems import Problem, not_found
from shared.log import get_logger

log = get_logger(__name__)
RENDITION = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/out/([0-9a-f]{64})\.([a-z]{3,4})")
HARMLESS = {"Content-Security-Policy": "default-src 'none'; sandbox"}
PRIVATE = {"Cache-Control": "private, no-cache"}
EMBEDDED = {"Cross-Origin-Resource-Policy": "cross-origin"}
"""A shop's pages show the rendition."""
IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}
SIGNED_SECONDS = 3600
LENT, LENT_SECONDS = "X-Amz-Security-Token=", 120
"""In an address that was signed with the credentials of a role, which ends with them: obstore uses these until five
minutes before that."""
EXPORTS_AT_ONCE = 2
"""Output CSVs and zips of which a piece is being made: with 25 threads at it, the event loop had to wait for its turn
so often that a status read took seconds."""


def get_source(http_request: HttpRequest) -> Response:
    """The original; streamed from an object store too, which would not fix the content type."""
    request_id, number = id_of(http_request), params.number_of(http_request)
    account, context = account_of(http_request), context_of(http_request, Context)
    found = context.database.transact(lambda session: images.find_image(session, account, request_id, number))
    if found is None:
        raise not_found("image")
    image, sources_deleted_at = found
    if image.source_sha256 is None or image.source_format not in MEDIA_TYPES:
        raise Problem(404, "no_source", "No picture was fetched and recognised for this image.")
    if sources_deleted_at is not None:
        raise _gone()
    key = source_key(request_id, image.source_sha256)
    try:
        headers = HARMLESS | PRIVATE | {"Content-Length": str(context.blobs.size(key))}
        chunks = context.blobs.stream(key)
    except BlobMissing:
        raise _gone() from None
    return _streamed(http_request, chunks, media_type=MEDIA_TYPES[image.source_format], headers=headers)


def _gone() -> Problem:
    return Problem(410, "source_gone", "The original was deleted; it is kept for a limited time only.")


def get_file(http_request: HttpRequest) -> Response:
    """A rendition. Needs no account: its name cannot be guessed."""
    key, blobs = http_request.path_params["key"], context_of(http_request, Context).blobs
    match = RENDITION.fullmatch(key)
    if match is None or match.group(2) not in FORMATS:
        raise not_found("file")
    tag = f'"{match.group(1)}"'
    headers = HARMLESS | EMBEDDED | IMMUTABLE | {"ETag": tag}
    media_type = MEDIA_TYPES[FORMATS[match.group(2)]]
    try:
        holder = blobs.holder(key)
        size = holder.size(key)
        if matches(tag, http_request.headers.get("if-none-match")):
            return Response(None, 304, headers)
        if not isinstance(holder, DiskBlobs):
            return _in_bucket(http_request, holder, key, headers | {"Content-Length": str(size)}, media_type)
        stat_result = (holder.root / key).stat()  # here, because Starlette would answer 500 if it is gone by then
    except (BlobMissing, FileNotFoundError):
        raise not_found("file") from None
    return RenditionResponse(holder.root / key, headers=headers, media_type=media_type, stat_result=stat_result)


def _in_bucket(
    http_request: HttpRequest, blobs: Blobs, key: str, headers: Mapping[str, str], media_type: str
) -> Response:
    """To a signed address, and for HEAD the answer itself: an address that is signed for GET refuses HEAD.

    The redirect is kept for half of the time that the address is good for, so that it does not outlive that.
    """
    if http_request.method == "HEAD":
        return Response(None, 200, headers, media_type)
    signed = blobs.signed_url(key, seconds=SIGNED_SECONDS)
    assert signed is not None
    seconds = LENT_SECONDS if LENT in signed else SIGNED_SECONDS // 2
    return RedirectResponse(signed, 307, HARMLESS | EMBEDDED | {"Cache-Control": f"private, max-age={seconds}"})


class RenditionResponse(FileResponse):
    """Starlette's file answer with this API's words for a range that cannot be served.

    A range behind the end is a problem document. A header that Starlette cannot read is ignored (RFC 9110 demands that
    for an unknown unit) instead of answered with 400.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def checked(message: Message) -> None:
            if message.get("status") == 400:
                raise UnreadableRange
            if message.get("status") == 416:
                headers = {"Content-Range": f"bytes */{self.headers['content-length']}"}
                detail = f"The file has {self.headers['content-length']} bytes."
                raise Problem(416, "range_not_satisfiable", detail, headers=headers)
            await send(message)

        try:
            await super().__call__(scope, receive, checked)
        except UnreadableRange:
            headers = [header for header in scope["headers"] if header[0] != b"range"]
            await super().__call__({**scope, "headers": headers}, receive, send)


class UnreadableRange(Exception):
    """Starlette would answer 400."""


async def get_output_csv(http_request: HttpRequest) -> Response:
    context, details = context_of(http_request, Context), params.boolean_of(http_request, "details")
    request = (await params.requested(http_request)).request
    rows = products.export_rows(context.database, request.id, request.products)
    chunks = csv_chunks(rows, request_id=request.id, public_url=context.settings.public_url, details=details)
    headers = _attachment(f"output-{request.id}.csv")
    return _streamed(
        http_request, _in_turn(http_request, chunks), media_type="text/csv; charset=utf-8", headers=headers
    )


async def get_outputs_zip(http_request: HttpRequest) -> Response:
    context, request = context_of(http_request, Context), (await params.requested(http_request)).request
    rows = products.export_rows(context.database, request.id, request.products)
    chunks = zip_chunks(rows, context.blobs, request_id=request.id)
    headers = _attachment(f"outputs-{request.id}.zip")
    return _streamed(http_request, _in_turn(http_request, chunks), media_type="application/zip", headers=headers)


async def _in_turn(http_request: HttpRequest, chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Each chunk is made in a thread once it is this download's turn; none is while the client takes the last one.

    An empty chunk is not sent: it ends the turn, and a client that has left is noticed.
    """
    exports: FairSemaphore = http_request.app.state.exports
    owner = owner_of(http_request)
    while True:
        async with exports.turn(owner):
            chunk = await run_in_threadpool(next, chunks, None)
        if chunk is None:
            return
        if chunk:
            yield chunk


def _attachment(file_name: str) -> dict[str, str]:
    """Headers of a file to save. It changes until the request is terminal."""
    return PRIVATE | {"Content-Disposition": f'attachment; filename="{file_name}"'}


class BreakingResponse(StreamingResponse):
    """Logs an expected failure midway in one line; the server then closes the connection of the incomplete answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except (HalftoneError, SQLAlchemyError, psycopg.Error) as error:
            log.warning("broken_off", path=scope["path"][:500], error=f"{type(error).__name__}: {error}"[:500])


def _streamed(
    http_request: HttpRequest,
    chunks: Iterator[bytes] | AsyncIterator[bytes],
    *,
    media_type: str,
    headers: Mapping[str, str],
) -> Response:
    """Plain `chunks` are made in the thread pool; HEAD gets the headers alone and starts none of them."""
    if http_request.method != "HEAD":
        return BreakingResponse(chunks, 200, headers, media_type)
    response = Response(None, 200, headers, media_type)
    if "Content-Length" not in headers:
        del response.headers["content-length"]
    return response


ROUTES = [
    Route("/v1/requests/{request_id}/images/{number}/source", get_source),
    Route("/v1/requests/{request_id}/output.csv", get_output_csv),
    Route("/v1/requests/{request_id}/outputs.zip", get_outputs_zip),
    Route("/files/{key:path}", get_file),
]

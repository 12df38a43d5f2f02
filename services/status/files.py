"""Image bytes: sources to their account, renditions to whoever knows the unguessable name.

The content type is fixed by what we decoded and never by what a host claimed, so nothing here can run as a page.
"""

import re
from collections.abc import Iterator
from uuid import UUID

from sqlmodel import Session
from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from services.status import params, queries
from services.status.ranges import UnsatisfiableRange, parse_range
from services.status.streaming import stream
from services.status.views import matches
from shared.blobs import BlobMissing, source_key
from shared.formats import EXTENSIONS, MEDIA_TYPES
from shared.http.problems import Problem, not_found
from shared.schemas.tables import Image, ProcessingRequest

RENDITION = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/out/([0-9a-f]{64})\.([a-z]{3,4})")
FORMATS = {extension: name for name, extension in EXTENSIONS.items()}
HARMLESS = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}
PRIVATE = {"Cache-Control": "private, no-cache"}
SIGNED_SECONDS = 3600
REDIRECT = {"Cache-Control": f"private, max-age={SIGNED_SECONDS // 2}"}
IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable", "Accept-Ranges": "bytes"}


def get_source(http_request: HttpRequest) -> Response:
    request_id, number = params.request_id_of(http_request), params.number_of(http_request)
    account, stores = params.account_of(http_request), params.stores_of(http_request)
    request, image = stores.database.transact(
        lambda session: _image_of(session, account=account, request_id=request_id, number=number)
    )
    if image.source_sha256 is None or image.source_format not in MEDIA_TYPES:
        raise Problem(404, "no_source", "No picture was fetched and recognised for this image.")
    if request.sources_deleted_at is not None:
        raise _gone()
    key = source_key(request_id, image.source_sha256)
    try:
        headers = HARMLESS | PRIVATE | {"Content-Length": str(stores.blobs.size(key))}
        chunks = stores.blobs.stream(key)
    except BlobMissing:
        raise _gone() from None
    return stream(http_request, chunks, media_type=MEDIA_TYPES[image.source_format], headers=headers)


def _gone() -> Problem:
    return Problem(410, "source_gone", "The original was deleted; it is kept for a limited time only.")


def _image_of(session: Session, *, account: UUID, request_id: UUID, number: int) -> tuple[ProcessingRequest, Image]:
    found = queries.find_request(session, account, request_id)
    image = queries.images_by_number(session, request_id, [number]).get(number)
    if found is None or image is None:
        raise not_found()
    return found.request, image


def get_file(http_request: HttpRequest) -> Response:
    """A rendition, or part of it. Needs no account: the name is the key."""
    key, blobs = http_request.path_params["key"], params.stores_of(http_request).blobs
    match = RENDITION.fullmatch(key)
    if match is None or match.group(2) not in FORMATS:
        raise not_found()
    try:
        size = blobs.size(key)
        if signed := blobs.signed_url(key, seconds=SIGNED_SECONDS):
            return RedirectResponse(
                signed, 302, HARMLESS | {"Cache-Control": f"private, max-age={SIGNED_SECONDS // 2}"}
            )
        chunks = blobs.stream(key)
    except BlobMissing:
        raise not_found() from None
    tag = f'"{match.group(1)}"'
    headers = HARMLESS | IMMUTABLE | {"ETag": tag}
    if matches(tag, http_request.headers.get("if-none-match")):
        return Response(None, 304, headers)
    media_type = MEDIA_TYPES[FORMATS[match.group(2)]]
    wanted = _range(http_request, size, tag=tag)
    if wanted is None:
        return stream(http_request, chunks, media_type=media_type, headers=headers | {"Content-Length": str(size)})
    first, last = wanted
    headers |= {"Content-Range": f"bytes {first}-{last}/{size}", "Content-Length": str(last - first + 1)}
    return stream(http_request, part(chunks, first, last), media_type=media_type, headers=headers, status=206)


def _range(http_request: HttpRequest, size: int, *, tag: str) -> tuple[int, int] | None:
    if http_request.headers.get("if-range", tag) != tag:
        return None
    try:
        return parse_range(http_request.headers.get("range"), size)
    except UnsatisfiableRange:
        detail = f"The file has {size} bytes."
        raise Problem(416, "range_not_satisfiable", detail, headers={"Content-Range": f"bytes */{size}"}) from None


def part(chunks: Iterator[bytes], first: int, last: int) -> Iterator[bytes]:
    """Bytes `first` to `last` of a stream. A rendition is small: skipping costs less than a call of its own."""
    position = 0
    for chunk in chunks:
        if piece := chunk[max(first - position, 0) : last + 1 - position]:
            yield piece
        position += len(chunk)
        if position > last:
            return


ROUTES = [
    Route("/v1/requests/{request_id}/images/{number}/source", get_source),
    Route("/files/{key:path}", get_file),
]

"""outputs.zip: every rendition, stored as it is, made while it is sent.

A local header comes before its bytes, so each rendition is read whole before its member begins (memory: one rendition).
One that is gone is left out and listed in `MISSING.txt`, the last member; any other error breaks the connection off,
and the file has no directory: no client can take it for a complete archive.
"""

import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from uuid import UUID

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route
from stream_zip import NO_COMPRESSION_32, NO_COMPRESSION_64, MemberFile, Method, stream_zip

from services.status import params, products, queries
from services.status.names import Stems
from services.status.placed import PlacedProduct
from services.status.streaming import attachment, stream
from shared.blobs import BlobMissing, Blobs, output_key
from shared.formats import EXTENSIONS
from shared.http.problems import not_found

CHUNK = 256 * 1024
READABLE = 0o100644
MISSING = "MISSING.txt"
# Where a plain zip ends, with room to spare for headers and the last two members: beyond, its records are zip64's.
PLAIN_BYTES = 2**32 - 2**28
PLAIN_MEMBERS = 65_000
MEMBER_OVERHEAD = 1024


class Sizes:
    """Chooses zip64 for members that a plain zip could not address."""

    def __init__(self) -> None:
        self._bytes = 0
        self._members = 0

    def method(self, content: bytes) -> Method:
        self._bytes += len(content) + MEMBER_OVERHEAD
        self._members += 1
        plain = self._bytes < PLAIN_BYTES and self._members < PLAIN_MEMBERS
        return (NO_COMPRESSION_32 if plain else NO_COMPRESSION_64)(len(content), zlib.crc32(content))


def zip_chunks(
    pages: Iterable[list[PlacedProduct]], blobs: Blobs, *, request_id: UUID, modified_at: datetime
) -> Iterator[bytes]:
    """The archive. `modified_at` is the time of every member, so the same request gives the same bytes."""
    members = _members(pages, blobs, request_id=request_id, modified_at=modified_at)
    return iter(stream_zip(members, chunk_size=CHUNK))


def _members(
    pages: Iterable[list[PlacedProduct]], blobs: Blobs, *, request_id: UUID, modified_at: datetime
) -> Iterator[MemberFile]:
    sizes, missing = Sizes(), list[str]()
    for name, sha256, extension in _named(pages):
        try:
            content = blobs.get(output_key(request_id, sha256, extension))
        except BlobMissing:
            missing.append(name)
            continue
        yield name, modified_at, READABLE, sizes.method(content), (content,)
    if missing:
        text = "These files could not be found any more:\r\n" + "".join(f"{name}\r\n" for name in missing)
        yield MISSING, modified_at, READABLE, sizes.method(text.encode()), (text.encode(),)


def _named(pages: Iterable[list[PlacedProduct]]) -> Iterator[tuple[str, str, str]]:
    """Name, hash and extension of each rendition; the same image twice is two files."""
    stems = Stems()
    for page in pages:
        for product in page:
            stem = stems.stem(row=product.row, serial_number=product.serial_number, name=product.name)
            for position, image in enumerate(product.images, start=1):
                if image.rendition_sha256 and image.rendition_format:
                    extension = EXTENSIONS[image.rendition_format]
                    yield f"{stem}_{position}.{extension}", image.rendition_sha256, extension


def get_outputs_zip(http_request: HttpRequest) -> Response:
    account, request_id = params.account_of(http_request), params.request_id_of(http_request)
    stores = params.stores_of(http_request)
    found = stores.database.transact(lambda session: queries.find_request(session, account, request_id))
    if found is None:
        raise not_found()
    chunks = zip_chunks(
        products.read_products(stores.database, request_id, found.request.products),
        stores.blobs,
        request_id=request_id,
        modified_at=found.request.created_at.astimezone(UTC),
    )
    headers = attachment(f"outputs-{request_id}.zip")
    return stream(http_request, chunks, media_type="application/zip", headers=headers)


ROUTES = [Route("/v1/requests/{request_id}/outputs.zip", get_outputs_zip)]

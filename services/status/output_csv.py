"""The output CSV: the rows of the manifest, in order, with the new URLs beside the old. Pure.

Both URL lists are aligned by position, each in one quoted cell. A cell that a spreadsheet would run as a formula gets a
leading apostrophe. RFC 4180: lines end in CRLF, quotes are doubled.
"""

import re
from collections.abc import Iterable, Iterator
from uuid import UUID

from services.status.views import ExportImage, ExportRow, output_url

COLUMNS = ("S. No.", "Product Name", "Input Image Urls", "Output Image Urls")
DETAIL_COLUMNS = ("Status", "Errors")
FORMULA = re.compile(
    r"[\t\r\n]|[\s\x00-\x1f\x7f-\x9f\xad\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]*"
    r"[=+\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b]"
)
"""OWASP's characters, in their full-width and small forms too (which some locales of Excel read as ASCII), also behind
what a spreadsheet may strip or not show: spaces, control characters, zero-width characters, a byte order mark."""
NEEDS_QUOTES = frozenset(',"\r\n')
CHUNK = 64 * 1024


def csv_chunks(
    pages: Iterable[list[ExportRow]], *, request_id: UUID, public_url: str, details: bool
) -> Iterator[bytes]:
    """The file in UTF-8, in chunks of about CHUNK bytes; a whole page at once could be a hundred times as much."""
    chunk = bytearray(_line(cell(title) for title in (*COLUMNS, *(DETAIL_COLUMNS if details else ()))).encode())
    for page in pages:
        for product in page:
            chunk += product_line(product, request_id=request_id, public_url=public_url, details=details).encode()
            if len(chunk) >= CHUNK:
                yield bytes(chunk)
                chunk.clear()
    yield bytes(chunk)


def product_line(product: ExportRow, *, request_id: UUID, public_url: str, details: bool) -> str:
    images = product.images
    lists = [
        [image.url for image in images],
        [_output_url(image, request_id=request_id, public_url=public_url) for image in images],
    ]
    if details:
        lists += [[image.state for image in images], [_error(image) for image in images]]
    names = (cell(product.serial_number), cell(product.name))
    return _line((*names, *(cell(",".join(values), quoted=True) for values in lists)))


def cell(text: str, *, quoted: bool = False) -> str:
    """One cell, with an apostrophe before a formula, and quotes where they are needed or asked for."""
    if FORMULA.match(text):
        text = "'" + text
    if quoted or not NEEDS_QUOTES.isdisjoint(text):
        return '"' + text.replace('"', '""') + '"'
    return text


def _line(cells: Iterable[str]) -> str:
    return ",".join(cells) + "\r\n"


def _output_url(image: ExportImage, *, request_id: UUID, public_url: str) -> str:
    found = output_url(public_url, request_id, sha256=image.rendition_sha256, format_name=image.rendition_format)
    return found or ""


def _error(image: ExportImage) -> str:
    """`code: detail`, without the comma that separates positions."""
    if image.error_code is None:
        return ""
    detail = " ".join((image.error_detail or "").replace(",", ";").split())
    return f"{image.error_code}: {detail}" if detail else image.error_code

"""An HTTP request's upload as a file on disk: multipart, raw CSV or JSON."""

import re
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import IO, Any

from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest

from services.ingest.body import limited, too_large
from services.ingest.manifest.encoding import SUPPORTED, is_supported
from services.ingest.settings import IngestSettings
from shared.http.problems import Problem

CSV_TYPES = ("text/csv", "application/csv")
FILE_FIELDS = ("file", "csv_file", "csvFile")
MAX_FIELDS_BYTES = 2 << 20
"""Of all option fields together, which are held in memory: Starlette's own limit is 1 MB for each."""
FRAMING = 1_000_000
"""Bytes that a multipart body may have besides the file: boundaries, part headers, option fields."""
FORM_CHARSET = re.compile(r""";\s*charset[^=;]*=\s*(?:"[^"]*"|[^;]*)""", re.IGNORECASE)
"""A form has no charset of its own (RFC 7578). Python would keep each unknown name that it is asked for, forever."""
_IN_MEMORY = 1 << 18


class Kind(Enum):
    CSV = auto()
    JSON = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """`fields`: the options given with the file, as query parameters or form fields; form fields win."""

    kind: Kind
    file: IO[bytes]
    size: int
    fields: Mapping[str, Any]


@asynccontextmanager
async def received(http_request: HttpRequest, settings: IngestSettings) -> AsyncIterator[Upload]:
    """The upload; its file is open until the block ends.

    Raises:
        Problem: 400 malformed or without a file, 408 too slow, 413 too large, 415 another media type.

    """
    content_type = http_request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        upload = _multipart(http_request, settings)
    elif media_type in CSV_TYPES:
        upload = _raw(http_request, Kind.CSV, settings, settings.max_upload_bytes)
    elif media_type == "application/json":
        upload = _raw(http_request, Kind.JSON, settings, settings.max_json_bytes)
    else:
        detail = "Send multipart/form-data with a CSV file, text/csv or application/json."
        raise Problem(415, "unsupported_media_type", detail)
    if media_type in CSV_TYPES:
        _require_supported_charset(content_type)
    try:
        async with upload as complete:
            yield complete
    except ClientDisconnect:
        raise Problem(400, "incomplete_upload", "The connection closed before the upload was complete.") from None


def _require_supported_charset(content_type: str) -> None:
    """Refuse a charset that would be misread as another one."""
    charset = parse_options_header(content_type)[1].get(b"charset", b"").decode("latin-1")
    if charset and not is_supported(charset):
        detail = f"The charset {charset[:100]!r} is not supported; supported are {SUPPORTED}."
        raise Problem(415, "unsupported_charset", detail)


class _Parser(MultiPartParser):
    """Limits the fields, and records whether the closing boundary came: without it, a file or option may be missing."""

    spool_max_size = _IN_MEMORY
    closed = False
    fields_bytes = 0

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        super().on_part_data(data, start, end)
        if self._current_part.file is None:
            self.fields_bytes += end - start
            if self.fields_bytes > MAX_FIELDS_BYTES:
                raise MultiPartException(f"Its fields together exceed {MAX_FIELDS_BYTES >> 20} MB.")

    def on_end(self) -> None:
        self.closed = True


@asynccontextmanager
async def _multipart(http_request: HttpRequest, settings: IngestSettings) -> AsyncIterator[Upload]:
    max_bytes = settings.max_upload_bytes
    body = limited(http_request, settings, max_bytes + FRAMING, max_bytes)
    headers = Headers({"Content-Type": FORM_CHARSET.sub("", http_request.headers["content-type"])})
    parser = _Parser(headers, body, max_files=10, max_fields=100)
    try:
        form = await _parsed(parser)
        part = _file_of(form)
        _require_supported_charset(part.content_type or "")
        size = part.size or 0
        if size > max_bytes:
            raise too_large(max_bytes)
        given = {name: text for name, text in form.items() if isinstance(text, str) and name not in FILE_FIELDS}
        yield Upload(kind=Kind.CSV, file=part.file, size=size, fields=dict(http_request.query_params) | given)
    finally:
        for file in parser._files_to_close_on_error:  # noqa: SLF001 - the form lacks a part that was cut off
            file.close()


async def _parsed(parser: _Parser) -> FormData:
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Problem(400, "malformed", f"The multipart body cannot be read: {error.message}") from None
    if not parser.closed:
        raise Problem(400, "malformed", "The multipart body ended early: its closing boundary is missing.")
    return form


def _file_of(form: FormData) -> UploadFile:
    """The only file; a file field left empty, as browsers send it, does not count."""
    files = [(name, part) for name, part in form.multi_items() if isinstance(part, UploadFile)]
    files = [(name, part) for name, part in files if part.filename or part.size]
    if len(files) > 1:
        names = ", ".join(repr(part.filename or name) for name, part in files)
        raise Problem(400, "several_files", f"The form has {len(files)} files ({names[:200]}); send only one.")
    if not files or files[0][0] not in FILE_FIELDS:
        raise Problem(400, "missing_file", f"The form has no CSV file; send it in the field “{FILE_FIELDS[0]}”.")
    return files[0][1]


@asynccontextmanager
async def _raw(
    http_request: HttpRequest, kind: Kind, settings: IngestSettings, max_bytes: int
) -> AsyncIterator[Upload]:
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
        size = 0
        async for chunk in limited(http_request, settings, max_bytes, max_bytes):
            size += len(chunk)
            if size > _IN_MEMORY:
                await run_in_threadpool(file.write, chunk)
            else:
                file.write(chunk)
        yield Upload(kind=kind, file=file, size=size, fields=dict(http_request.query_params))

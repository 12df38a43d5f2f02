"""An HTTP request's upload as a file on disk: multipart, raw CSV or JSON."""

import re
import tempfile
from asyncio import Semaphore
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import IO, Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request as HttpRequest

from services.ingest.body import limited, too_large
from services.ingest.manifest.encoding import SUPPORTED, is_supported
from services.ingest.settings import IngestSettings
from services.ingest.space import Reservation, SpoolSpace
from shared.http.problems import Problem

FORM = "multipart/form-data"
CSV_TYPES = ("text/csv", "application/csv")
FILE_FIELDS = ("file", "csv_file", "csvFile")
MAX_FIELDS_BYTES = 256 << 10
"""Of all option fields together, which are held in memory: Starlette's own limit is 1 MB for each."""
CALLBACKS = (
    *("on_part_begin", "on_part_data", "on_part_end", "on_header_field", "on_header_value", "on_header_end"),
    *("on_headers_finished", "on_end"),
)
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
    """`fields`: the options given with the file, as query parameters or form fields; form fields win.

    `room`: the disk space that it has reserved, also for its rows.
    """

    kind: Kind
    file: IO[bytes]
    size: int
    fields: Mapping[str, Any]
    room: Reservation


@asynccontextmanager
async def received(
    http_request: HttpRequest, settings: IngestSettings, space: SpoolSpace, parsing: Semaphore
) -> AsyncIterator[Upload]:
    """The upload; its file is open, and its room reserved, until the block ends. Forms are parsed as `parsing` allows.

    Raises:
        Problem: 400 malformed or without a file, 408 too slow, 413 too large, 415 another media type, 503 no room.

    """
    content_type = http_request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "application/json":
        kind, most = Kind.JSON, settings.max_json_bytes
    elif media_type in {*CSV_TYPES, FORM}:
        kind, most = Kind.CSV, settings.max_upload_bytes
    else:
        detail = "Send multipart/form-data with a CSV file, text/csv or application/json."
        raise Problem(415, "unsupported_media_type", detail)
    if media_type in CSV_TYPES:
        _require_supported_charset(content_type)
    with space.reservation(http_request.scope.get("place")) as room:
        body = limited(http_request, settings, room, most + (FRAMING if media_type == FORM else 0), most)
        if media_type == FORM:
            upload = _multipart(http_request, body, room, parsing, most)
        else:
            upload = _raw(http_request, body, room, kind)
        async with upload as complete:
            yield complete


def _require_supported_charset(content_type: str) -> None:
    """Refuse a charset that would be misread as another one."""
    charset = parse_options_header(content_type)[1].get(b"charset", b"").decode("latin-1")
    if charset and not is_supported(charset):
        detail = f"The charset {charset[:100]!r} is not supported; supported are {SUPPORTED}."
        raise Problem(415, "unsupported_charset", detail)


class _Parser(MultiPartParser):
    """Parses in threads, limits the fields, and records whether the closing boundary came: without it, a file or option
    may be missing.
    """

    spool_max_size = _IN_MEMORY
    closed = False
    fields_bytes = 0

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        super().on_part_data(data, start, end)
        if self._current_part.file is None:
            self.fields_bytes += end - start
            if self.fields_bytes > MAX_FIELDS_BYTES:
                raise MultiPartException(f"Its fields together exceed {MAX_FIELDS_BYTES >> 10} kB.")

    def on_end(self) -> None:
        self.closed = True

    async def parse_in_threads(self, parsing: Semaphore) -> FormData:
        """What `parse` does, which would keep the event loop for 80 ms with 300 kB of hostile line ends."""
        boundary = parse_options_header(self.headers["Content-Type"])[1].get(b"boundary")
        if not boundary:
            raise MultiPartException("Missing boundary in multipart.")
        self._charset = "utf-8"
        callbacks: Any = {name: getattr(self, name) for name in CALLBACKS}
        parser = MultipartParser(boundary, callbacks)
        async for chunk in self.stream:
            async with parsing:
                await run_in_threadpool(self._feed, parser, chunk)
        parser.finalize()
        return FormData(self.items)

    def _feed(self, parser: MultipartParser, chunk: bytes) -> None:
        parser.write(chunk)
        for part, data in self._file_parts_to_write:
            assert part.file is not None
            part.file.file.write(data)
            part.file.size = (part.file.size or 0) + len(data)
        for part in self._file_parts_to_finish:
            assert part.file is not None
            part.file.file.seek(0)
        self._file_parts_to_write.clear()
        self._file_parts_to_finish.clear()


@asynccontextmanager
async def _multipart(
    http_request: HttpRequest, body: AsyncGenerator[bytes, None], room: Reservation, parsing: Semaphore, max_bytes: int
) -> AsyncIterator[Upload]:
    headers = Headers({"Content-Type": FORM_CHARSET.sub("", http_request.headers["content-type"])})
    parser = _Parser(headers, body, max_files=10, max_fields=100)
    try:
        form = await _parsed(parser, parsing)
        part = _file_of(form)
        _require_supported_charset(part.content_type or "")
        size = part.size or 0
        if size > max_bytes:
            raise too_large(max_bytes)
        given = {name: text for name, text in form.items() if isinstance(text, str) and name not in FILE_FIELDS}
        fields = dict(http_request.query_params) | given
        yield Upload(kind=Kind.CSV, file=part.file, size=size, fields=fields, room=room)
    finally:
        for file in parser._files_to_close_on_error:  # noqa: SLF001 - the form lacks a part that was cut off
            file.close()


async def _parsed(parser: _Parser, parsing: Semaphore) -> FormData:
    try:
        form = await parser.parse_in_threads(parsing)
    except MultiPartException as error:
        raise Problem(400, "malformed", f"The multipart body cannot be read: {error.message}") from None
    except FormParserError:
        raise Problem(400, "malformed", "The multipart body cannot be read: Invalid multipart data.") from None
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
    http_request: HttpRequest, body: AsyncGenerator[bytes, None], room: Reservation, kind: Kind
) -> AsyncIterator[Upload]:
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
        size = 0
        async for chunk in body:
            size += len(chunk)
            if size > _IN_MEMORY:
                await run_in_threadpool(file.write, chunk)
            else:
                file.write(chunk)
        yield Upload(kind=kind, file=file, size=size, fields=dict(http_request.query_params), room=room)

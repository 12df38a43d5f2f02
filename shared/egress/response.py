"""A host's answer as it comes: its head, its body within limits, and what it means (a body, a redirect, an error)."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from shared.errors import (
    BlockedUrl,
    ConnectFailure,
    FetchTimeout,
    HttpProtocol,
    HttpStatus,
    HttpStatusTransient,
    ImageError,
    IncompleteBody,
    TooLarge,
)
from shared.urls import REFUSED, InvalidUrl, Target

REDIRECTS = frozenset((301, 302, 303, 307, 308))
TRANSIENT = frozenset((408, 425, 429))
MAX_RETRY_AFTER = 3600.0
MAX_HEADER_BYTES = 32 * 1024
MAX_INTERIM_ANSWERS = 8  # 1xx: one or two are usual
LEFTOVER_SECONDS = 0.5
EXCERPT_SECONDS = 2.0  # of a webhook's answer the status counts; what is worth reading comes with it
LEFTOVER_BYTES = 64 * 1024  # an error page up to this size is read, so that the connection can be used again
# What a host may cost that sends its answer in crumbs. A TCP segment has more than 500 bytes, a chunk some thousand.
FREE_READS, READ_BYTES = 1000, 256
FREE_FRAMING, FRAMED_BYTES = MAX_HEADER_BYTES, 16
FIRST_BUFFER = 1024 * 1024  # a body's buffer grows with what has come, not with what was announced
_HEAD_END = re.compile(rb"\n\r?\n")
READ_SIZE = 64 * 1024
# Where heads and chunks arrive. All connections share it: the loop fills and reads it in one step.
_SCRATCH = memoryview(bytearray(1024 * 1024))


@dataclass(slots=True)
class Response:
    """Its head; the body is whole unless there is an `error`. Header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)
    error: ImageError | None = None
    reusable: bool = False

    def redirect(self, target: Target) -> Target | None:
        """Where it redirects to; None if it does not. Raises BlockedUrl for a URL that is refused by its form."""
        location = self.headers.get("location")
        if self.status not in REDIRECTS or not location:
            return None
        try:
            return target.join(location)
        except InvalidUrl as error:
            raise BlockedUrl(REFUSED) from error

    def whole_body(self, target: Target) -> bytearray:
        """Raises HttpStatus or HttpStatusTransient unless the status is 200, and what befell the body."""
        if self.status == 200:
            if self.error:
                raise self.error
            return self.body
        detail = f"{target.host} answered {self.status}."
        if self.status in TRANSIENT or self.status >= 500:
            asked = retry_after(self.headers.get("retry-after"), now=datetime.now(UTC))
            raise HttpStatusTransient(detail, retry_after=asked, status=self.status, host_port=target.host_port)
        raise HttpStatus(detail, status=self.status)


class ResponseReader:
    """Reads one answer: `room` is where its next bytes go, `received` takes them and says whether it is over.

    Without `excerpt` a body is wanted only with status 200, and read elsewhere only to keep the connection. With it the
    first `max_bytes` of any body are wanted, and what befalls the rest does not matter.
    """

    def __init__(self, host: str, *, max_bytes: int, excerpt: bool = False) -> None:
        self.response: Response | None = None  # as soon as its head has come
        self._host = host
        self._max_bytes = max_bytes
        self._excerpt = excerpt
        self._most = max_bytes - excerpt  # an excerpt is over when it is full, a body when it is too large
        self._reads = self._received = self._interim = 0
        self._head = b""
        self._headers: dict[str, str] = {}
        self._has_head = False
        self._body = bytearray()
        self._filled = 0  # bytes of `_body` that have come
        self._length: int | None = None  # Content-Length
        self._parser = HttpResponseParser(self)
        self._is_chunked = False
        self._has_last_chunk = self._has_surplus = self._keeps_alive = False

    @property
    def leftover_seconds(self) -> float:
        """How long to wait for a body that may be missing; 0 where there is no answer yet, or where its body counts."""
        if self.response is None or (self.response.status == 200 and not self._excerpt):
            return 0.0
        return EXCERPT_SECONDS if self._excerpt else LEFTOVER_SECONDS

    def room(self, hint: int) -> memoryview:
        """Where the next bytes go; beyond the end of a body there is one byte of room, so that surplus shows.

        At least `hint` bytes, unless the body ends before: at a close uvloop's TLS loses what did not fit.
        """
        hint = max(hint, READ_SIZE)
        if self.response is None or self._is_chunked:
            return _SCRATCH[:hint]
        most = 1 + (self._max_bytes if self._length is None else min(self._length, self._max_bytes))
        if len(self._body) < min(most, self._filled + hint):
            grown = bytearray(min(most, max(2 * self._filled, self._filled + hint, FIRST_BUFFER)))
            grown[: self._filled] = memoryview(self._body)[: self._filled]
            self._body = grown
        return memoryview(self._body)[self._filled :]

    def received(self, count: int) -> bool:
        """Raises HttpProtocol where there is no proper head."""
        self._reads += 1
        self._received += count
        if self._reads > FREE_READS + self._received // READ_BYTES:
            return self.refuse("sent its answer in too many small pieces")
        if self.response is None:
            return self._read_head(self._head + bytes(_SCRATCH[:count]))
        if self._is_chunked:
            return self._read_chunks(_SCRATCH[:count])
        self._filled += count
        return self._is_over()

    def ended(self, *, broken: bool) -> None:
        """The other side has closed, or the connection is `broken`. Raises ConnectFailure if there is no answer."""
        if self.response is None:
            raise ConnectFailure(f"{self._host} closed the connection without an answer.")
        is_cut = broken or self._is_chunked or self._length is not None
        detail = f"{self._host} closed the connection in the middle of the body."
        self._finish(IncompleteBody(detail) if is_cut else None)

    def late(self, what: str) -> None:
        """Its time is up. Raises FetchTimeout if there is no answer."""
        error = FetchTimeout(f"{self._host} {what}.")
        if self.response is None:
            raise error
        self._finish(error)

    def result(self) -> Response:
        """The answer, once it is over and `room` is no longer in use."""
        assert self.response
        length = self._filled if self._length is None else min(self._filled, self._length)
        del self._body[min(length, self._max_bytes) :]
        self.response.body = self._body
        del self._parser  # it refers to us
        return self.response

    def _read_head(self, data: bytes) -> bool:
        found = _HEAD_END.search(data, max(0, len(self._head) - 2))
        end = found.end() if found else len(data)
        if end > MAX_HEADER_BYTES:
            return self.refuse("sent too many headers")
        self._head = b"" if found else data
        if not found:
            return False
        self._parse(data[:end])
        status = self._parser.get_status_code()
        if status >= 200:
            return self._begin_body(status, memoryview(data)[end:])
        self._interim += 1
        if self._interim > MAX_INTERIM_ANSWERS:
            return self.refuse("sent too many interim answers")
        self._headers, self._has_head, self._parser = {}, False, HttpResponseParser(self)
        return end < len(data) and self._read_head(data[end:])

    def _parse(self, head: bytes) -> None:
        """Strict, but for a lone LF at the end of a header line, which every browser takes."""
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)
        try:
            self._parser.feed_data(head)
        except (HttpParserError, HttpParserUpgrade) as error:  # an upgrade: 101, for which we never asked
            raise self._not_http() from error
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=False)
        coding = self._headers.get("transfer-encoding", "chunked")
        if not (self._has_head and head.startswith(b"HTTP/") and coding.lower() == "chunked"):  # it takes RTSP too
            raise self._not_http()

    def _begin_body(self, status: int, begun: memoryview) -> bool:
        self.response = Response(status, self._headers)
        if status in (204, 304):
            self._length = 0
        elif "transfer-encoding" in self._headers:
            self._is_chunked = True
        elif "content-length" in self._headers:
            self._length = int(self._headers["content-length"])
        if objection := self._objection(status):
            return self._finish(objection)
        if self._is_chunked:
            return self._read_chunks(begun)
        self._body, self._filled = bytearray(begun), len(begun)
        return self._is_over()

    def _objection(self, status: int) -> ImageError | None:
        """Why the body is not read at all."""
        if self._excerpt:
            return None
        coding = self._headers.get("content-encoding", "").lower()
        if status == 200 and coding not in ("", "identity"):
            detail = f"{self._host} sent a body with Content-Encoding {coding[:40]}, which was not asked for."
            return HttpProtocol(detail)
        if status == 200:
            return self._too_large() if (self._length or 0) > self._max_bytes else None
        return self._too_large() if self._length is None or self._length > LEFTOVER_BYTES else None

    def _is_over(self) -> bool:
        if self._length is not None and self._filled >= self._length:
            self._has_surplus = self._filled > self._length
            return self._finish(None)
        return self._filled > self._most and self._finish(self._too_large())

    def _read_chunks(self, data: memoryview) -> bool:
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            if not self._has_last_chunk:
                return self._finish(self._not_http())
            self._has_surplus = True
        if self._filled > self._most:
            return self._finish(self._too_large())
        if self._has_last_chunk:
            return self._finish(None)
        if self._received - self._filled > FREE_FRAMING + self._filled // FRAMED_BYTES:
            return self.refuse("sent its answer in too many small pieces")
        return False

    def _too_large(self) -> TooLarge:
        return TooLarge(f"{self._host} sent more than {self._max_bytes} bytes.")

    def _not_http(self) -> HttpProtocol:
        return HttpProtocol(f"{self._host} does not speak proper HTTP.")

    def refuse(self, what: str) -> bool:
        """End the answer. Raises HttpProtocol if there is none yet."""
        error = HttpProtocol(f"{self._host} {what}.")
        if self.response is None:
            raise error
        return self._finish(error)

    def _finish(self, error: ImageError | None) -> bool:
        assert self.response
        self.response.error = error
        has_end = self._length is not None or self._has_last_chunk
        self.response.reusable = error is None and has_end and self._keeps_alive and not self._has_surplus
        return True

    # httptools calls these.

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_head:  # else it is a trailer
            key, text = name.decode().lower(), _text(value).strip()
            self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        self._has_head = True
        self._keeps_alive = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        if self._filled <= self._most:
            self._body += data
            self._filled += len(data)

    def on_message_complete(self) -> None:
        self._has_last_chunk = self._is_chunked

    def on_message_begin(self) -> None:
        self._has_surplus = self._has_last_chunk


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def retry_after(value: str | None, *, now: datetime, most: float = MAX_RETRY_AFTER) -> float | None:
    """Seconds from `Retry-After` (seconds or an HTTP date, RFC 9110 10.2.3), between 0 and `most`."""
    if not value:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:10]), most)
    try:
        then = parsedate_to_datetime(value)
    except (ValueError, IndexError, OverflowError):
        return None
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return min(max((then - now).total_seconds(), 0.0), most)

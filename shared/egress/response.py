"""A host's answer: its head, its body within limits, and what it means (a body, a redirect, or one of our errors)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpcore
import httpx

from shared.egress.connection import MAX_HEADER_BYTES, Connection, Deadline
from shared.errors import (
    BlockedUrl,
    ConnectFailure,
    FetchTimeout,
    HttpProtocol,
    HttpStatus,
    HttpStatusTransient,
    IncompleteBody,
    TooLarge,
)
from shared.urls import InvalidUrl, Target

REDIRECTS = frozenset((301, 302, 303, 307, 308))
TRANSIENT = frozenset((408, 425, 429))
MAX_RETRY_AFTER = 3600.0
LEFTOVER_BYTES = 64 * 1024  # an error page up to this size is read, so that the connection can be used again
LEFTOVER_SECONDS = 0.5

_BROKEN = (httpcore.NetworkError, httpcore.ProtocolError)


@dataclass(frozen=True, slots=True)
class Response:
    """Its head has come, its body has not."""

    target: Target
    connection: Connection
    raw: httpcore.Response
    headers: httpx.Headers

    @property
    def status(self) -> int:
        return self.raw.status

    def redirect(self) -> Target | None:
        """Where it redirects to; None if it does not. Raises BlockedUrl for a URL that is refused by its form."""
        location = self.headers.get("location")
        if self.status not in REDIRECTS or not location:
            return None
        try:
            return self.target.join(location)
        except InvalidUrl as error:
            raise BlockedUrl(f"{self.target.host} redirects to a URL that is refused. {error}") from error

    def check_status(self, *, now: datetime) -> None:
        """Raises HttpStatus or HttpStatusTransient unless the status is 200."""
        if self.status == 200:
            return
        self.skip_body()
        detail = f"{self.target.host} answered {self.status}."
        if self.status in TRANSIENT or self.status >= 500:
            raise HttpStatusTransient(detail, retry_after=retry_after(self.headers.get("retry-after"), now=now))
        raise HttpStatus(detail)

    def read_body(self, *, max_bytes: int) -> bytearray:
        """The whole body. Raises TooLarge as soon as that is known, HttpProtocol for a coding we did not ask for."""
        host = self.target.host
        coding = self.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("", "identity"):
            raise HttpProtocol(f"{host} sent a body with Content-Encoding {coding[:40]}, which was not asked for.")
        body = bytearray()
        too_large = TooLarge(f"{host} sent more than {max_bytes} bytes.")
        if (self._content_length() or 0) > max_bytes:
            raise too_large
        with _our_errors(self.target, self.connection, in_body=True):
            for chunk in self.raw.iter_stream():
                body += chunk
                if len(body) > max_bytes:
                    raise too_large
        return body

    def skip_body(self) -> None:
        """Read a small body so that the connection can be used again; a large or slow one is not waited for."""
        length = self._content_length()
        if length is not None and length <= LEFTOVER_BYTES:
            self.connection.network_stream.deadline = self.connection.network_stream.deadline.sooner(LEFTOVER_SECONDS)
            self.read_excerpt(LEFTOVER_BYTES + 1)

    def read_excerpt(self, max_bytes: int) -> str:
        """The beginning of the body as text; a body that breaks off or times out yields what had come."""
        body = bytearray()
        with suppress(httpcore.TimeoutException, *_BROKEN):
            for chunk in self.raw.iter_stream():
                body += chunk
                if len(body) >= max_bytes:
                    break
        return bytes(body[:max_bytes]).decode("utf-8", "replace")

    def close(self) -> None:
        """The connection becomes idle again if the body was read to its end."""
        self.raw.close()

    def _content_length(self) -> int | None:
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def request(
    connection: Connection,
    method: str,
    target: Target,
    headers: Mapping[str, str],
    body: bytes | None,
    *,
    deadline: Deadline,
) -> Response:
    """Send the request and wait for the head of the response; the connection is closed if that fails."""
    try:
        with _our_errors(target, connection, in_body=False):
            raw = connection.send(method, target, headers, body, deadline=deadline)
        if sum(len(name) + len(value) for name, value in raw.headers) > MAX_HEADER_BYTES:
            raise HttpProtocol(f"{target.host} sent too many headers.")
    except BaseException:
        connection.close()
        raise
    return Response(target, connection, raw, httpx.Headers(raw.headers))


@contextmanager
def _our_errors(target: Target, connection: Connection, *, in_body: bool) -> Iterator[None]:
    """Translate httpcore's errors: a break before the head is a ConnectFailure (tried once more), later a lost body."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise FetchTimeout(f"{target.host} did not answer in time.") from error
    except _BROKEN as error:
        if not (isinstance(error, httpcore.NetworkError) or connection.network_stream.ended):
            raise HttpProtocol(f"{target.host} does not speak proper HTTP.") from error
        if in_body:
            raise IncompleteBody(f"{target.host} closed the connection in the middle of the body.") from error
        raise ConnectFailure(f"{target.host} closed the connection without an answer.") from error


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

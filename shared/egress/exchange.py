"""One request on one connection: asked, answered, its body read, and httpcore's errors told as ours."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import httpcore

from shared.egress.deadline import Deadline
from shared.egress.line import MAX_HEADER_BYTES, Line
from shared.egress.target import Target
from shared.egress.verdict import check_body, content_length, too_large
from shared.errors import ConnectFailure, FetchTimeout, HttpProtocol, IncompleteBody

LEFTOVER_BYTES = 64 * 1024  # an error page up to this size is read, to keep the connection
LEFTOVER_SECONDS = 0.5

_BROKEN = (httpcore.NetworkError, httpcore.ProtocolError)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A response whose head has come and whose body has not. Header names are lower case."""

    target: Target
    line: Line
    response: httpcore.Response
    headers: Mapping[str, str]

    def read_body(self, *, max_bytes: int) -> bytearray:
        """The whole body; raises TooLarge as soon as that is known."""
        check_body(self.headers, self.target.host, max_bytes=max_bytes)
        body = bytearray()
        with _translated(self.target, self.line, in_body=True):
            for chunk in self.response.iter_stream():
                body += chunk
                if len(body) > max_bytes:
                    raise too_large(self.target.host, max_bytes)
        return body

    def skip_body(self) -> None:
        """Read a small body nobody wants, so that the connection can be used again; a slow one is not waited for."""
        length = content_length(self.headers)
        if length is not None and length <= LEFTOVER_BYTES:
            self.line.stream.deadline = self.line.stream.deadline.sooner(LEFTOVER_SECONDS)
            self.read_excerpt(LEFTOVER_BYTES + 1)

    def read_excerpt(self, max_bytes: int) -> str:
        """The beginning of the body as text, as far as it comes: one that breaks off does not change the answer."""
        body = bytearray()
        with suppress(httpcore.TimeoutException, *_BROKEN):
            for chunk in self.response.iter_stream():
                body += chunk
                if len(body) >= max_bytes:
                    break
        return bytes(body[:max_bytes]).decode("utf-8", "replace")

    def close(self) -> None:
        """Done with the response; the connection is idle again if the body was read to its end."""
        self.response.close()


def ask(
    line: Line, method: str, target: Target, fields: Mapping[str, str], body: bytes | None, *, deadline: Deadline
) -> Exchange:
    """Send the request and wait for the head of the response; the line is closed if that fails."""
    try:
        with _translated(target, line, in_body=False):
            response = line.send(method, target, fields, body, deadline=deadline)
        if sum(len(name) + len(value) for name, value in response.headers) > MAX_HEADER_BYTES:
            raise HttpProtocol(f"{target.host} sent too many headers.")
    except BaseException:
        line.close()
        raise
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
    return Exchange(target, line, response, headers)


@contextmanager
def _translated(target: Target, line: Line, *, in_body: bool) -> Iterator[None]:
    """What breaks off before the response is a failure to connect (tried once more), within it a lost body."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise FetchTimeout(f"{target.host} did not answer in time.") from error
    except _BROKEN as error:
        if not (isinstance(error, httpcore.NetworkError) or line.stream.ended):
            raise HttpProtocol(f"{target.host} does not speak proper HTTP.") from error
        if in_body:
            raise IncompleteBody(f"{target.host} closed the connection in the middle of the body.") from error
        raise ConnectFailure(f"{target.host} closed the connection without an answer.") from error

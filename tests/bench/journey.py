"""A request through the gateway of a real local stack, as a client sees it."""

import http.client
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from deploy.demo.catalogue import manifest
from tests.api import TERMINAL
from tests.bench.origin import Origin
from tests.stack import Stack

JSON = dict[str, Any]
URLS_PER_ROW = 10
MOST = 1800.0
LONGEST_PAUSE = 0.5
_tags = itertools.count(time.time_ns())


@contextmanager
def running(folder: Path, origin: Origin, *, workers: int = 1, **env: str) -> Iterator[Stack]:
    """A new stack as `make run` starts it (fsync on), which may fetch from this origin."""
    settings = {
        "HALFTONE_FETCH_ALLOW": origin.host,
        "HALFTONE_LOCAL_FSYNC": "on",
        "HALFTONE_WORKERS": str(workers),
        "HALFTONE_LOG_LEVEL": "warning",
    }
    with Stack(folder, env=settings | env) as stack:
        yield stack


def new_urls(origin: Origin, kind: str, images: int, *, delay_ms: int = 0) -> list[str]:
    """URLs that no earlier request had."""
    tag = f"{next(_tags):x}"
    return [origin.url(kind, tag, number, delay_ms=delay_ms) for number in range(images)]


def catalogue(urls: Sequence[str]) -> bytes:
    """A manifest with ten images to a product."""
    rows = range(0, len(urls), URLS_PER_ROW)
    return manifest((str(row), f"Product {row}", urls[row : row + URLS_PER_ROW]) for row in rows)


class Api:
    """The public API over one kept connection. Its clock begins when the 202 has come. `key` is an API key."""

    def __init__(self, stack: Stack, *, seconds: float = 600.0, key: str | None = None) -> None:
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def call(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, expected: int = 200
    ) -> bytes:
        """The body of the answer, which must have this status."""
        self._connection.request(method, path, body, {**self.headers, **(headers or {})})
        answer = self._connection.getresponse()
        read = answer.read()
        assert answer.status == expected, f"{method} {path} answered {answer.status}: {read[:300]!r}"
        return read

    def upload(self, body: Any, *, length: int | None = None) -> str:
        """Send a CSV, bytes or an open file of `length` bytes; the id of the request."""
        headers = {"Content-Type": "text/csv"} | ({"Content-Length": str(length)} if length else {})
        return str(json.loads(self.call("POST", "/v1/requests", body, headers=headers, expected=202))["request_id"])

    def request(self, request_id: str) -> JSON:
        return dict(json.loads(self.call("GET", f"/v1/requests/{request_id}")))

    def until(self, request_id: str, done: Callable[[JSON], bool], *, every: float, most: float = MOST) -> JSON:
        """Poll every so many seconds until `done`."""
        deadline = time.monotonic() + most
        while not done(request := self.request(request_id)):
            assert time.monotonic() < deadline, f"not within {most:.0f} s: {request['images']}"
            time.sleep(every)
        return request

    def settled(self, request_id: str, *, least_pause: float = 0.02) -> float:
        """Seconds from now until the request is terminal.

        It polls when half of the estimated rest has passed, so that a long run is not slowed by being watched.
        """
        begun = time.monotonic()
        while (request := self.request(request_id))["status"] not in TERMINAL:
            passed, share = time.monotonic() - begun, request["progress"]
            assert passed < MOST, f"not within {MOST:.0f} s: {request['images']}"
            rest = passed * (1 - share) / share if share else passed
            time.sleep(min(LONGEST_PAUSE, max(least_pause, rest / 2)))
        seconds = time.monotonic() - begun
        images = request["images"]
        assert images["completed"] == images["total"], f"images failed: {images}"
        return seconds


def journey(stack: Stack, origin: Origin, kind: str, images: int, *, delay_ms: int = 0) -> float:
    """Images a second from the 202 to terminal, of one request with new URLs."""
    body = catalogue(new_urls(origin, kind, images, delay_ms=delay_ms))
    with Api(stack) as api:
        return images / api.settled(api.upload(body))


def is_terminal(request: JSON) -> bool:
    return request["status"] in TERMINAL

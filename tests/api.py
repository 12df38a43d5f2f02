"""A client of the public API for tests: no retries, and whatever the wire carries.

It ignores the proxies of the environment, which cannot reach this machine's loopback.
"""

import csv
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import httpx

from halftone_client import HalftoneError

JSON = dict[str, Any]
EVERY = 0.1
TERMINAL = frozenset({"completed", "failed", "cancelled"})


class ApiError(HalftoneError):
    """A call that failed; the message is one sentence for a person."""


class Refused(ApiError):
    """An answer of 400 and above."""

    def __init__(self, url: str, answer: httpx.Response) -> None:
        problem = _problem(answer.content)
        self.status = answer.status_code
        self.retry_after = answer.headers.get("Retry-After")
        self.code = problem.get("code")
        super().__init__(f"{url} answered {self.status}: {problem.get('detail') or answer.text[:200]}")


class Client:
    """`base_url` is the gateway's address; `seconds` is the longest silence of a call, which is one connection.

    `key`: an API key, where the server requires them.
    """

    def __init__(self, base_url: str, *, seconds: float = 30.0, key: str | None = None) -> None:
        self.base_url = base_url
        limits = httpx.Limits(max_keepalive_connections=0)
        headers = {"Authorization": f"Bearer {key}"} if key else None
        self._http = httpx.Client(
            timeout=seconds, limits=limits, headers=headers, follow_redirects=True, trust_env=False
        )

    def call(
        self, method: str, target: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """The body of the answer; `target` is a path or an address that the API gave.

        Raises:
            Refused: the answer was an error.
            ApiError: there was no answer.

        """
        url = f"{self.base_url}{target}" if target.startswith("/") else target
        shown = url.partition("?")[0]
        try:
            answer = self._http.request(method, url, content=body, headers=headers)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL):
            raise ApiError(f"not an HTTP address: {url!r}") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ApiError(f"{shown} does not answer: {error}") from None
        except httpx.RequestError as error:
            raise ApiError(f"{shown} broke off: {error}") from None
        if answer.is_error:
            raise Refused(shown, answer)
        return answer.content

    def account(self) -> JSON:
        """The account whose key this client has; raises Refused with status 401 where it needs one."""
        return _object(self.read("/v1/account"))

    def upload(self, manifest: bytes, *, idempotency_key: str | None = None, **options: str) -> JSON:
        """Send a CSV; the request as the 202 shows it."""
        headers = {"Content-Type": "text/csv"} | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})
        return _object(self.call("POST", f"/v1/requests?{urlencode(options)}", body=manifest, headers=headers))

    def request(self, request_id: str) -> JSON:
        """The request as it is now."""
        return _object(self.read(f"/v1/requests/{request_id}"))

    def finished(
        self,
        request_id: str,
        *,
        within: float = 60.0,
        watch: Callable[[JSON], object] = lambda _: None,
    ) -> JSON:
        """Poll until the request is terminal; `watch` is called with each state of it."""
        deadline = time.monotonic() + within
        while True:
            request = self.request(request_id)
            watch(request)
            if request["status"] in TERMINAL:
                return request
            if time.monotonic() > deadline:
                raise ApiError(f"the request is not finished after {within:.0f} s: {request['images']}")
            time.sleep(EVERY)

    def items(self, path: str, **query: str) -> Iterator[JSON]:
        """All items of a paged list."""
        token: str | None = ""
        while token is not None:
            page = _object(self.read(f"{path}?{urlencode(query | ({'page_token': token} if token else {}))}"))
            yield from page["items"]
            token = page["next_page_token"]

    def output_rows(self, request_id: str) -> list[dict[str, str]]:
        """The output CSV by column."""
        text = self.read(f"/v1/requests/{request_id}/output.csv").decode()
        return list(csv.DictReader(io.StringIO(text, newline="")))

    def read(self, target: str) -> bytes:
        """The body of a GET."""
        return self.call("GET", target)


def _object(body: bytes) -> JSON:
    return dict(json.loads(body))


def _problem(body: bytes) -> JSON:
    try:
        return _object(body)
    except (ValueError, TypeError):
        return {}

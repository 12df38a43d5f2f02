"""A client of the public API, standard library only: what a shop's own program would do.

It goes round any proxy of the environment, which knows nothing of this machine's loopback.
"""

import http.client
import json
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

from deploy.local.demo.failure import DemoFailed

JSON = dict[str, Any]
ANSWER_WITHIN = 30.0
_opener = build_opener(ProxyHandler({}))


class Refused(DemoFailed):
    """An answer of 400 and above."""

    def __init__(self, url: str, status: int, body: bytes) -> None:
        problem = _problem(body)
        self.status = status
        self.code = problem.get("code")
        super().__init__(f"{url} answered {status}: {problem.get('detail') or body[:200].decode(errors='replace')}")


class Gateway:
    """`base_url` is where this machine reaches the stack."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def upload(self, manifest: bytes, *, webhook_url: str) -> JSON:
        """Send a manifest; the request as the 202 shows it."""
        url = f"{self.base_url}/v1/requests?{urlencode({'webhook_url': webhook_url})}"
        return _object(_send(Request(url, manifest, {"Content-Type": "text/csv"})))  # noqa: S310 - our own gateway

    def request(self, request_id: str) -> JSON:
        """The request as it is now."""
        return _object(self.read(f"{self.base_url}/v1/requests/{request_id}"))

    def items(self, request_id: str, name: str) -> list[JSON]:
        """A whole list of a request (`products`, `deliveries`), all its pages."""
        url = f"{self.base_url}/v1/requests/{request_id}/{name}?page_size=200"
        found: list[JSON] = []
        token: str | None = ""
        while token is not None:
            page = _object(self.read(f"{url}&{urlencode({'page_token': token})}" if token else url))
            found += page["items"]
            token = page["next_page_token"]
        return found

    def read(self, url: str) -> bytes:
        """The body at any address that the API gave."""
        if not url.startswith(("http://", "https://")):
            raise DemoFailed(f"the API gave an address that is none: {url!r}")
        return _send(Request(url))  # noqa: S310 - checked above


def _send(http_request: Request) -> bytes:
    url = http_request.full_url.partition("?")[0]
    try:
        with _opener.open(http_request, timeout=ANSWER_WITHIN) as answer:
            return bytes(answer.read())
    except HTTPError as error:
        with error:
            raise Refused(url, error.code, error.read()) from None
    except URLError as error:
        raise DemoFailed(f"{url} does not answer: {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise DemoFailed(f"{url} broke off: {error}") from None


def _object(body: bytes) -> JSON:
    return dict(json.loads(body))


def _problem(body: bytes) -> JSON:
    try:
        return _object(body)
    except (ValueError, TypeError):
        return {}

"""HTTP calls that are repeated where that is safe.

An answer of 429 or 503 says that nothing was done, so every call is repeated after it, when `Retry-After` says. A
connection that was never made sent nothing, so that is repeated too. A call that broke off may have had its effect:
only a `repeatable` one (GET, or with an idempotency key) is sent again.
"""

import json
import random
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any

import httpx

from halftone_client.errors import HalftoneError, Refused, Unreachable

AGAIN = frozenset({429, 503})
AGAIN_IF_REPEATABLE = frozenset({502, 504})
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
KEY = re.compile(r"[!-~]+", re.ASCII)
Pause = Callable[[float, HalftoneError], None]


def pause(seconds: float, _because: HalftoneError) -> None:
    time.sleep(seconds)


class Transport:
    """`patience`: seconds for which a call is repeated that the service refuses for now; `away`: for which it is
    repeated while the service does not answer at all. `silence`: the longest one of a connection.

    `pause` is called between two attempts with the seconds to wait and the reason, and has to wait.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        patience: float = 60.0,
        away: float = 10.0,
        silence: float = 30.0,
        agent: str = "halftone-client",
        pause: Pause = pause,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        key = (key or "").strip()  # a file that it was read from ends with a line end
        if key and not KEY.fullmatch(key):  # it would stand in the library's error
            raise HalftoneError("the API key has characters that no key has: copy it whole and alone")
        if "@" in self.base_url:  # messages name the address
            raise HalftoneError("an address with a name or a password in it is not taken")
        self.patience = patience
        self.away = away
        self.pause = pause
        headers = {"User-Agent": agent} | ({"Authorization": f"Bearer {key}"} if key else {})
        try:
            host = httpx.URL(self.base_url).host
            # A proxy of the environment cannot reach this machine's own loopback; its certificates hold there, too.
            trust_env, verify = not _is_loopback(host), httpx.create_ssl_context()
            self.http = httpx.Client(headers=headers, timeout=silence, trust_env=trust_env, verify=verify)
        except (httpx.InvalidURL, ValueError) as error:
            raise HalftoneError(f"not an HTTP address: {base_url!r}: {error}") from None
        if not host or not self.base_url.startswith(("http://", "https://")):
            raise HalftoneError(f"not an HTTP address: {base_url!r}; it looks like http://127.0.0.1:8080")

    def url(self, target: str) -> str:
        return f"{self.base_url}{target}"

    def call(
        self,
        method: str,
        target: str,
        *,
        repeatable: bool | None = None,
        again: frozenset[str] = frozenset(),
        arguments: Callable[[], Mapping[str, Any]] = dict,
    ) -> httpx.Response:
        """The answer, read. `arguments` of httpx are made for each attempt; `again`: further codes to repeat.

        Raises:
            Refused: the answer was an error.
            Unreachable: there was none.

        """
        with self.stream(method, target, repeatable=repeatable, again=again, arguments=arguments) as answer:
            try:
                answer.read()
            except httpx.HTTPError as error:
                raise Unreachable(f"the service at {self.base_url} broke off: {_reason(error)}") from None
            return answer

    @contextmanager
    def stream(
        self,
        method: str,
        target: str,
        *,
        repeatable: bool | None = None,
        again: frozenset[str] = frozenset(),
        once: bool = False,
        arguments: Callable[[], Mapping[str, Any]] = dict,
    ) -> Iterator[httpx.Response]:
        """The same, its body not yet read; what breaks off while it is read is not repeated. `once`: never repeated."""
        repeatable = method == "GET" if repeatable is None else repeatable
        begun, attempt = time.monotonic(), 0
        while True:
            try:
                answer = self._answer(method, target, arguments())
                break
            except (Refused, Unreachable) as caught:
                error = caught
                wait = _wait(error, attempt, repeatable=repeatable, again=again)
                allowed = self.patience if isinstance(error, Refused) else self.away
                if once or wait is None or time.monotonic() - begun + wait > allowed:
                    raise
            attempt += 1
            self.pause(wait, error)
        try:
            yield answer
        finally:
            answer.close()

    def _answer(self, method: str, target: str, arguments: Mapping[str, Any]) -> httpx.Response:
        request = self.http.build_request(method, self.url(target), **arguments)
        try:
            answer = self.http.send(request, stream=True, follow_redirects=method == "GET")
            if answer.is_error:
                answer.read()
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if found := _tls_error(error):
                raise NoTls(f"no secure connection to {self.base_url}: {_reason(found)}") from None
            raise NotConnected(f"cannot reach {self.base_url}: {_reason(error)}") from None
        except httpx.HTTPError as error:
            raise Unreachable(f"the service at {self.base_url} broke off: {_reason(error)}") from None
        if answer.is_error:
            raise refusal_of(answer)
        return answer


class NotConnected(Unreachable):
    """Nothing was sent."""


class NoTls(Unreachable):
    """Nothing was sent, and trying again changes nothing: a certificate, or no TLS at all."""


def refusal_of(answer: httpx.Response) -> Refused:
    """The error that an answer (read) is."""
    try:
        problem = dict(json.loads(answer.content))
    except (ValueError, TypeError):
        problem = {"detail": answer.text.strip()[:200]}
    return Refused(answer.status_code, problem, retry_after=_retry_after(answer.headers.get("retry-after")))


def _wait(error: Refused | Unreachable, attempt: int, *, repeatable: bool, again: frozenset[str]) -> float | None:
    """Seconds to the next attempt, None if there should be none."""
    backoff = min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt) * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
    if isinstance(error, Refused):
        if error.status in AGAIN or error.code in again or (repeatable and error.status in AGAIN_IF_REPEATABLE):
            return backoff if error.retry_after is None else max(error.retry_after, 0.1)
        return None
    if isinstance(error, NoTls):
        return None
    return backoff if repeatable or isinstance(error, NotConnected) else None


def _retry_after(value: str | None) -> float | None:
    """Seconds, from seconds or a date."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """The first cause, if it is one of TLS."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _reason(error: Exception) -> str:
    """The library's words, without errno numbers and lines of C."""
    if getattr(error, "reason", "") == "WRONG_VERSION_NUMBER":
        return "what answers there speaks no TLS; http:// may be meant"
    text = str(error).partition("] ")[2] or str(error) or type(error).__name__
    text = re.sub(r" ?\(?_ssl\.c:\d+\)?:? ?", "", text)
    return text.lower() if text[1:2].islower() else text

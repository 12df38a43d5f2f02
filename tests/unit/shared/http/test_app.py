"""The application around the routes: ids, counts, and answers to unexpected errors."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import psycopg
import pytest
import structlog
from prometheus_client import REGISTRY
from sqlalchemy.exc import OperationalError, ProgrammingError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from shared.http import app as web
from shared.http.app import application
from shared.http.context import Context
from shared.settings import HttpSettings
from tests.serving import serving
from tests.stack import until

THREADS = 40  # that Starlette has


async def bug(_: HttpRequest) -> Response:
    raise RuntimeError("unexpected")


def bug_in_a_statement(_: HttpRequest) -> Response:
    raise ProgrammingError("SELECT nothing", {}, ValueError("wrong"))


def refused_by_the_database(http_request: HttpRequest) -> Response:
    error = getattr(psycopg.errors, http_request.path_params["error"])("refused")
    if http_request.path_params["wrapped"] == "wrapped":
        raise OperationalError("SELECT", {}, error)
    raise error


async def bug_half_way(_: HttpRequest) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("unexpected")

    return StreamingResponse(chunks())


class Busy:
    """Holds every thread that Starlette has until it is `done`."""

    def __init__(self) -> None:
        self.held = 0
        self.done = Event()

    async def __call__(self, _: HttpRequest) -> Response:
        await asyncio.gather(*(run_in_threadpool(self._hold) for _ in range(THREADS)))
        return Response()

    def _hold(self) -> None:
        self.held += 1
        self.done.wait(60)


busy = Busy()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = HttpSettings(
        database_url="postgresql://nobody@127.0.0.1:1/nothing",  # asked by /readyz alone
        blob_url=tmp_path_factory.mktemp("blobs").as_uri(),
        http_at_once=2,
    )
    routes = [
        Route("/bug", bug),
        Route("/statement", bug_in_a_statement),
        Route("/refused/{error}/{wrapped}", refused_by_the_database),
        Route("/half", bug_half_way),
        Route("/busy", busy.__call__),
    ]
    with serving(application(Context(settings), routes)) as address, httpx.Client(base_url=address) as client:
        yield client


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> list[MutableMapping[str, Any]]:
    capture = structlog.testing.LogCapture()
    monkeypatch.setattr(
        web, "log", structlog.wrap_logger(None, processors=[structlog.contextvars.merge_contextvars, capture])
    )
    return capture.entries


@pytest.mark.parametrize("path", ["/bug", "/statement"])
def test_an_unexpected_error_is_a_problem_with_an_id_counted_and_logged_under_it(
    client: httpx.Client, logs: list[MutableMapping[str, Any]], path: str
) -> None:
    labels = {"method": "GET", "route": path, "status": "500"}
    before = REGISTRY.get_sample_value("halftone_http_requests_total", labels) or 0

    answer = client.get(path, headers={"X-Request-Id": "mine-1"})

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "mine-1"
    assert REGISTRY.get_sample_value("halftone_http_requests_total", labels) == before + 1
    unexpected, answered = logs
    assert (unexpected["event"], unexpected["id"], unexpected["log_level"]) == ("unexpected", "mine-1", "error")
    assert unexpected["exc_info"] is True
    assert (answered["event"], answered["status"], answered["id"]) == ("answered", 500, "mine-1")


@pytest.mark.parametrize("wrapped", ["bare", "wrapped"])
@pytest.mark.parametrize(
    ("error", "event"),
    [
        ("QueryCanceled", "database_overloaded"),  # by the statement timeout
        ("LockNotAvailable", "database_overloaded"),
        ("SerializationFailure", "database_overloaded"),
        ("DeadlockDetected", "database_overloaded"),
        ("AdminShutdown", "database_away"),
    ],
)
def test_a_database_that_is_too_busy_or_away_is_503_and_never_500(
    client: httpx.Client, logs: list[MutableMapping[str, Any]], error: str, event: str, wrapped: str
) -> None:
    answer = client.get(f"/refused/{error}/{wrapped}")
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "unavailable", "5")
    assert logs[0]["event"] == event


@pytest.mark.parametrize("sent", [["<script>"], ["x" * 65], ["mine-1", "mine-2"], [""]])
def test_an_unusable_id_is_not_repeated(client: httpx.Client, sent: list[str]) -> None:
    answer = client.get("/healthz", headers=[("X-Request-Id", value) for value in sent])
    (given,) = answer.headers.get_list("X-Request-Id")
    assert given not in sent
    assert len(given) == 36


def test_a_bug_half_way_closes_the_connection(client: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/half")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/requests/none/retry", "POST"),
        ("POST", "/v1/requests/none/products", "GET, HEAD"),
        ("DELETE", "/v1/requests", "GET, HEAD, POST"),
        ("POST", "/status/none/", "GET, HEAD"),
        ("PUT", "/docs", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_405_even_on_a_path_of_the_other_service(
    client: httpx.Client, method: str, path: str, allowed: str
) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == allowed
    assert client.request(method, "/nothing").status_code == 404


def test_errors_are_answered_without_a_thread(tmp_path: Path) -> None:
    settings = HttpSettings(database_url="postgresql://nobody@127.0.0.1:1/nothing", blob_url=tmp_path.as_uri())
    handlers = application(Context(settings), []).exception_handlers
    assert [handler for handler in handlers.values() if not inspect.iscoroutinefunction(handler)] == []


def test_readiness_and_errors_are_answered_while_every_thread_is_busy(client: httpx.Client) -> None:
    holding = Thread(target=client.get, args=("/busy",), kwargs={"timeout": 60})
    holding.start()
    try:
        until(lambda: busy.held == THREADS)
        assert client.get("/readyz", timeout=20).json()["code"] == "unavailable"
        other = {"X-Forwarded-For": "192.0.2.2"}
        assert client.get("/nothing", headers=other, timeout=20).json()["code"] == "not_found"
    finally:
        busy.done.set()
        holding.join()


def test_a_method_that_no_route_has_is_no_label_of_its_own(client: httpx.Client) -> None:
    client.request("PROPFIND", "/nowhere")
    counted = next(iter(web.REQUESTS.collect())).samples
    methods = {sample.labels["method"] for sample in counted}
    assert "other" in methods
    assert "PROPFIND" not in methods

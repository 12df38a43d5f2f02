"""The application around the routes of an HTTP service: problems, request ids, origins, limits, health and metrics."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from shared.db import is_down, is_overloaded
from shared.http import paths
from shared.http.authentication import Authentication
from shared.http.connection import EarlyAnswers
from shared.http.context import Context, context_of
from shared.http.limits import PROBES, ConcurrencyLimit
from shared.http.origin import AllowedHosts
from shared.http.problems import Problem, not_found, unavailable
from shared.http.rates import Rates
from shared.http.security_headers import SecurityHeaders
from shared.ids import uuid7
from shared.log import get_logger

log = get_logger(__name__)
REQUESTS = Counter("halftone_http_requests_total", "HTTP answers by route and status.", ["method", "route", "status"])
SECONDS = Histogram("halftone_http_seconds", "Time until an HTTP answer began.", ["method", "route"])
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
LOGGED = 500
"""Characters of a path that are logged."""
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
USABLE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
UNEXPECTED = Problem(500, "internal_error", "Internal error; its details are in the log, under the X-Request-Id.")


def application(
    context: Context,
    routes: Sequence[BaseRoute],
    *,
    closing: Callable[[], Awaitable[None]] | None = None,
    largest_body: int = 900_000,
) -> Starlette:
    """A Starlette application with this context, which it closes when it ends, after `closing`.

    `largest_body`: bytes of a body that is refused, but read; less than the gateway lets through.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        if closing is not None:
            await closing()
        context.close()

    settings = context.settings
    health = [Route("/healthz", _healthz), Route("/readyz", _readyz), Route("/metrics", _metrics)]
    others = [Route(path, WrongMethod(methods)) for path, methods in paths.METHODS.items()]
    # Coroutines: Starlette would run plain functions in its threads, all of which may wait for the database.
    handlers: Mapping[Any, Any] = {
        Problem: _problem,
        HTTPException: _http_exception,
        DBAPIError: _database_error,
        psycopg.Error: _database_error,
        PoolTimeout: _database_error,
    }
    app = Starlette(
        routes=[*health, *routes, *others],
        exception_handlers=handlers,
        middleware=[
            Middleware(EarlyAnswers, most=largest_body),
            Middleware(SecurityHeaders),
            Middleware(RequestIds),
            Middleware(PlainPaths),
            Middleware(AllowedHosts, hosts=settings.hosts),
            Middleware(Authentication, keyring=context.keyring),
            Middleware(Rates, redis_url=settings.redis_url, defaults=settings.limits),
            Middleware(ConcurrencyLimit, limit=settings.http_at_once),
        ],
        lifespan=lifespan,
    )
    app.state.context = context
    app.router.redirect_slashes = False
    return app


class RequestIds:
    """Gives each answer an `X-Request-Id` (the gateway's, if usable), counts it and logs it.

    An unexpected exception becomes a 500 here, because Starlette's own handler would run outside of ids and counts.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == b"x-request-id"]
        request_id = given[0] if len(given) == 1 and USABLE_ID.fullmatch(given[0]) else str(uuid7()).encode()
        begun = time.perf_counter()
        started = False

        async def tagged(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message.setdefault("headers", []).append((b"x-request-id", request_id))
                _count(scope, message["status"], time.perf_counter() - begun)
            await send(message)

        with bound_contextvars(id=request_id.decode("ascii")):  # in all lines of this call, also those of its thread
            try:
                await self.app(scope, receive, tagged)
            except Exception:
                if started:
                    raise  # the server closes the connection
                log.exception("unexpected", path=scope["path"][:LOGGED])
                await UNEXPECTED.response()(scope, receive, tagged)


class PlainPaths:
    """Answers 404 for a path with a control character.

    Starlette's routes overlook a line feed at the end. The rules of scopes, rates and places, and the gateway, do not,
    and so would judge another path than the one that is answered.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = scope["type"] == "http" and CONTROL.search(scope["path"])
        await (not_found().response() if refused else self.app)(scope, receive, send)


class WrongMethod:
    """Answers 405 on every known path; comes after the routes of the service."""

    def __init__(self, methods: Sequence[str]) -> None:
        self.allowed = {"Allow": ", ".join(methods)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = Problem(405, "method_not_allowed", "This path does not support this method.", headers=self.allowed)
        await problem.response()(scope, receive, send)


def _count(scope: Scope, status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", "-")
    method = scope["method"] if scope["method"] in METHODS else "other"  # or a client could make any number of series
    REQUESTS.labels(method, route, status).inc()
    SECONDS.labels(method, route).observe(seconds)
    if scope["path"] not in PROBES:
        log.info(
            "answered",
            method=scope["method"],
            path=scope["path"][:LOGGED],
            status=status,
            ms=round(seconds * 1000, 1),
            **_about(scope),
        )


def _about(scope: Scope) -> dict[str, str]:
    """The request or delivery in the path, under the name that it has in the other services' logs."""
    found = scope.get("path_params") or {}
    return {name: str(found[name])[:LOGGED] for name in ("request_id", "delivery_id") if name in found}


async def _healthz(_: HttpRequest) -> Response:
    return PlainTextResponse("ok\n")


async def _readyz(http_request: HttpRequest) -> Response:
    ping = context_of(http_request, Context).database.ping
    try:
        await asyncio.to_thread(ping)  # not in Starlette's thread pool: uploads may occupy all of it
    except psycopg.Error:
        return unavailable().response()
    return PlainTextResponse("ready\n")


def _metrics(_: HttpRequest) -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _problem(_: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _http_exception(_: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return not_found().response()
    code = {400: "malformed", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    return Problem(error.status_code, code, error.detail, headers=error.headers).response()


async def _database_error(_: HttpRequest, error: Exception) -> Response:
    if not is_down(error) and not is_overloaded(error):
        raise error
    log.warning("database_away" if is_down(error) else "database_overloaded", error=type(error).__name__)
    return unavailable().response()

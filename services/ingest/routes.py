"""The HTTP calls of ingest: HTTP in, one function call in a thread, HTTP out."""

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any
from uuid import UUID

import orjson
from sqlmodel import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from services.ingest import changes
from services.ingest.accept import Accepted
from services.ingest.context import IngestContext
from services.ingest.idempotency import read_key
from services.ingest.submit import Validated, submit
from services.ingest.upload import Kind, received
from shared import tracing
from shared.blobs import erase_files
from shared.db import allow_time
from shared.http.caller import account_of
from shared.http.context import context_of, id_of
from shared.http.limits import owner_of
from shared.http.problems import Problem
from shared.messages import CloseRequest, Deliver, DispatchRequest

LARGE = {Kind.CSV: 4_000_000, Kind.JSON: 256_000}
"""Bytes above which an upload counts as large. Parsed JSON needs up to 35 times its size in memory."""
OLDER_REFUSALS = frozenset({400, 408, 409, 413, 415, 422})


async def create_request(http_request: HttpRequest) -> Response:
    return _answer(await _submit(http_request), status=202)


async def create_older(http_request: HttpRequest, *, status: int) -> Response:
    """The two older contracts, in which every refusal is a 400."""
    try:
        return _answer(await _submit(http_request, older=True), status=status)
    except Problem as problem:
        if problem.status not in OLDER_REFUSALS:
            raise
        return problem.response(status=400)


async def _submit(http_request: HttpRequest, *, older: bool = False) -> Accepted | Validated:
    context, account, begun = _context_of(http_request), account_of(http_request), time.monotonic()
    key = read_key(http_request.headers.getlist("idempotency-key"))
    async with received(http_request, context.settings, context.space, context.parsing_forms) as upload:
        large = upload.size > LARGE[upload.kind]
        async with context.large_uploads.place(owner_of(http_request)) if large else nullcontext(), context.submitting:
            result = await run_in_threadpool(submit, context, account, upload, key=key, older=older)
    if isinstance(result, Accepted) and not result.replayed:
        tracing.uploaded(
            UUID(result.body["request_id"]),
            seconds=time.monotonic() - begun,
            route=http_request.url.path,
            caller=http_request.headers,
            attributes={"http.request.body.size": upload.size},
        )
    return result


def retry_request(http_request: HttpRequest) -> Response:
    context, account, request_id = _context_of(http_request), account_of(http_request), id_of(http_request)
    settings = context.settings

    def work(session: Session) -> Mapping[str, Any]:
        allow_time(session, settings.accept_timeout_seconds)
        request = changes.retry(session, account, request_id, deadline=settings.deadline, limits=settings.limits)
        return changes.view(session, request, public_url=settings.public_url)

    body = context.changes.run(account, request_id, work)
    context.send(DispatchRequest(request_id=request_id))
    return _json(body, 202, _poll(body))


def cancel_request(http_request: HttpRequest) -> Response:
    context, account, request_id = _context_of(http_request), account_of(http_request), id_of(http_request)

    def work(session: Session) -> Mapping[str, Any]:
        request = changes.cancel(session, account, request_id)
        return changes.view(session, request, public_url=context.settings.public_url)

    body = context.changes.run(account, request_id, work)
    context.send(CloseRequest(request_id=request_id))
    return _json(body, 202, _poll(body))


def delete_request(http_request: HttpRequest) -> Response:
    context, account, request_id = _context_of(http_request), account_of(http_request), id_of(http_request)

    if context.changes.run(account, request_id, lambda session: changes.erase_request(session, account, request_id)):
        erase_files(context.blobs, request_id)
    return Response(None, 204)


def redeliver_delivery(http_request: HttpRequest) -> Response:
    context, account, delivery_id = _context_of(http_request), account_of(http_request), id_of(http_request, "delivery")
    body = context.changes.run(account, delivery_id, lambda session: changes.redeliver(session, account, delivery_id))
    context.send(Deliver(delivery_id=delivery_id))
    return _json(body, 202)


def _context_of(http_request: HttpRequest) -> IngestContext:
    return context_of(http_request, IngestContext)


def _answer(result: Accepted | Validated, *, status: int) -> Response:
    if isinstance(result, Validated):
        return _json(result.body)
    headers = _poll(result.body) | ({"Idempotent-Replayed": "true"} if result.replayed else {})
    return _json(result.body, status, headers)


def _poll(body: Mapping[str, Any]) -> dict[str, str]:
    """Where to poll the request, and when first."""
    return {"Location": str(body["links"]["self"]), "Retry-After": "1"}


def _json(body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


def _post(path: str, endpoint: Callable[[HttpRequest], Any]) -> Route:
    return Route(path, endpoint, methods=["POST"])


ROUTES = (
    _post("/v1/requests", create_request),
    _post("/v1/requests/{request_id}/retry", retry_request),
    _post("/v1/requests/{request_id}/cancel", cancel_request),
    Route("/v1/requests/{request_id}", delete_request, methods=["DELETE"]),
    _post("/v1/deliveries/{delivery_id}/redeliver", redeliver_delivery),
    _post("/upload", partial(create_older, status=200)),
    _post("/api/upload-csv/", partial(create_older, status=202)),
)

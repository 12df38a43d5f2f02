"""The HTTP calls of ingest: translate in, one call, translate out. Database work is done in threads."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, TypeVar
from uuid import UUID

import orjson
from sqlmodel import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from services.ingest.accept import Accepted
from services.ingest.cancel import cancel
from services.ingest.erase import erase_rows
from services.ingest.idempotency import read_key
from services.ingest.locked import view
from services.ingest.redeliver import redeliver
from services.ingest.retry import retry
from services.ingest.stores import Stores, stores_of
from services.ingest.submit import Validated, submit
from services.ingest.upload import Kind, Upload, received
from shared.blobs import erase_files
from shared.db import allow_time
from shared.http.problems import Problem, not_found
from shared.ids import parse_id
from shared.messages import Deliver, DispatchRequest, GroupDone
from shared.schemas.tables import DEFAULT_ACCOUNT

T = TypeVar("T")
LARGE = {Kind.CSV: 4_000_000, Kind.JSON: 256_000}
"""Bytes above which an upload has to take its turn. JSON is in memory as a whole, up to 35 times its size."""
OLDER_REFUSALS = frozenset({400, 408, 409, 413, 415, 422})


async def create_request(http_request: HttpRequest) -> Response:
    return _answer(await _submit(http_request), status=202)


async def create_older(http_request: HttpRequest, *, status: int) -> Response:
    """The two older contracts, which know one refusal: 400."""
    try:
        return _answer(await _submit(http_request, older=True), status=status)
    except Problem as problem:
        if problem.status not in OLDER_REFUSALS:
            raise
        return problem.response(status=400)


async def upload_older(http_request: HttpRequest) -> Response:
    return await create_older(http_request, status=200)


async def upload_csv_older(http_request: HttpRequest) -> Response:
    return await create_older(http_request, status=202)


async def _submit(http_request: HttpRequest, *, older: bool = False) -> Accepted | Validated:
    stores, account = stores_of(http_request), account_of(http_request)
    key = read_key(http_request.headers.getlist("idempotency-key"))
    async with received(http_request, stores.settings) as upload:
        return await _read(stores, upload, lambda: submit(stores, account, upload, key=key, older=older))


async def _read(stores: Stores, upload: Upload, work: Callable[[], T]) -> T:
    """Small uploads go ahead of large ones, which take their turn: each takes a core and some 60 MB."""
    async with stores.large_uploads.taken() if upload.size > LARGE[upload.kind] else nullcontext():
        return await run_in_threadpool(work)


def retry_request(http_request: HttpRequest) -> Response:
    stores, request_id = stores_of(http_request), _id_of(http_request)

    def work(session: Session) -> Mapping[str, Any]:
        allow_time(session, stores.settings.accept_timeout_seconds)
        request = retry(session, account_of(http_request), request_id, deadline=stores.settings.deadline)
        return view(session, request, public_url=stores.settings.public_url)

    body = stores.database.transact(work)
    stores.send(DispatchRequest(request_id=request_id))
    return _json(body, 202, _followed(body))


def cancel_request(http_request: HttpRequest) -> Response:
    stores, request_id = stores_of(http_request), _id_of(http_request)

    def work(session: Session) -> tuple[Mapping[str, Any], list[int]]:
        request, groups = cancel(session, account_of(http_request), request_id)
        return view(session, request, public_url=stores.settings.public_url), groups

    body, groups = stores.database.transact(work)
    for group in groups:
        if not stores.send(GroupDone(request_id=request_id, group=group, dispatch_no=-1)):
            break
    return _json(body, 202, _followed(body))


def delete_request(http_request: HttpRequest) -> Response:
    stores, request_id = stores_of(http_request), _id_of(http_request)

    def work(session: Session) -> None:
        allow_time(session, stores.settings.accept_timeout_seconds)
        erase_rows(session, account_of(http_request), request_id)

    stores.database.transact(work)
    erase_files(stores.blobs, request_id)
    return Response(None, 204)


def redeliver_delivery(http_request: HttpRequest) -> Response:
    stores, delivery_id = stores_of(http_request), _id_of(http_request, "delivery_id")
    body = stores.database.transact(lambda session: redeliver(session, account_of(http_request), delivery_id))
    stores.send(Deliver(delivery_id=delivery_id))
    return _json(body, 202)


def account_of(_http_request: HttpRequest) -> UUID:
    """The account that asks. There is one so far."""
    return DEFAULT_ACCOUNT


def _id_of(http_request: HttpRequest, name: str = "request_id") -> UUID:
    """The id in the path; a malformed one is as unknown as any other."""
    found = parse_id(http_request.path_params[name])
    if found is None:
        raise not_found()
    return found


def _answer(given: Accepted | Validated, *, status: int) -> Response:
    if isinstance(given, Validated):
        return _json(given.body)
    headers = _followed(given.body) | ({"Idempotent-Replayed": "true"} if given.replayed else {})
    return _json(given.body, status, headers)


def _followed(body: Mapping[str, Any]) -> dict[str, str]:
    """Where the request is to be watched, and when to look first."""
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
    _post("/upload", upload_older),
    _post("/api/upload-csv/", upload_csv_older),
)

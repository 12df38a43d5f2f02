"""The JSON and CSV calls: translate in, one query function, one view, translate out."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import orjson
from sqlmodel import Session
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from services.status import output_csv, paging, params, products, queries, views
from services.status.streaming import attachment, stream
from shared.http.problems import not_found
from shared.lifecycle import ImageState, RequestStatus
from shared.schemas.api import request_view
from shared.schemas.tables import Image

T = TypeVar("T")
POLL_AFTER = {"Retry-After": "1"}
PRIVATE = {"Cache-Control": "private, no-cache"}


def list_requests(http_request: HttpRequest) -> Response:
    account, size = params.account_of(http_request), params.size_of(http_request)
    status = params.status_of(http_request, RequestStatus)
    before = params.before_of(http_request)
    stores = params.stores_of(http_request)
    found = stores.database.transact(
        lambda session: queries.list_requests(session, account, status=status, before=before, limit=size + 1)
    )
    page, token = paging.cut(found, size, lambda last: paging.moment_token(last.request.created_at, last.request.id))
    return answer({"items": [_view(http_request, one) for one in page], "next_page_token": token})


def get_request(http_request: HttpRequest) -> Response:
    view = _requested(http_request)
    headers = PRIVATE | {"ETag": views.entity_tag(view)}
    if not RequestStatus(view["status"]).terminal:
        headers |= POLL_AFTER
    if views.matches(headers["ETag"], http_request.headers.get("if-none-match")):
        return Response(None, 304, headers)
    return answer(view, headers)


def get_older_status(http_request: HttpRequest) -> Response:
    """`GET /status/{id}` and `GET /api/check-status/{id}/`."""
    return answer(views.older_view(_requested(http_request)))


def list_products(http_request: HttpRequest) -> Response:
    request_id, size = params.request_id_of(http_request), params.size_of(http_request)
    after = params.after_of(http_request)

    def read(session: Session) -> tuple[products.ProductPage, dict[int, Image]]:
        page = products.list_products(session, request_id, after=after, limit=size)
        numbers = {number for product in page.products for number in product.images}
        return page, queries.images_by_number(session, request_id, numbers)

    page, images = _of_own_request(http_request, request_id, read)
    public_url = params.stores_of(http_request).public_url
    items = [views.product_view(product, images, public_url=public_url) for product in page.products]
    token = paging.number_token(page.products[-1].row) if page.more else None
    return answer({"items": items, "next_page_token": token})


def list_rejected(http_request: HttpRequest) -> Response:
    request_id, size = params.request_id_of(http_request), params.size_of(http_request)
    after = params.after_of(http_request)
    found = _of_own_request(
        http_request,
        request_id,
        lambda session: queries.list_rejected(session, request_id, after=after, limit=size + 1),
    )
    page, token = paging.cut(found, size, lambda last: paging.number_token(last.number))
    return answer({"items": [row.error for row in page], "next_page_token": token})


def list_images(http_request: HttpRequest) -> Response:
    request_id, size = params.request_id_of(http_request), params.size_of(http_request)
    after = params.after_of(http_request)
    state = params.status_of(http_request, ImageState)
    found = _of_own_request(
        http_request,
        request_id,
        lambda session: queries.list_images(session, request_id, state=state, after=after, limit=size + 1),
    )
    page, token = paging.cut(found, size, lambda last: paging.number_token(last.number))
    public_url = params.stores_of(http_request).public_url
    return answer({"items": [views.image_view(one, public_url=public_url) for one in page], "next_page_token": token})


def list_deliveries(http_request: HttpRequest) -> Response:
    request_id, size = params.request_id_of(http_request), params.size_of(http_request)
    before = params.before_of(http_request)
    found = _of_own_request(
        http_request,
        request_id,
        lambda session: queries.list_deliveries(session, request_id, before=before, limit=size + 1),
    )
    page, token = paging.cut(found, size, lambda last: paging.moment_token(last.delivery.created_at, last.delivery.id))
    return answer({"items": [views.delivery_view(*one) for one in page], "next_page_token": token})


def get_output_csv(http_request: HttpRequest) -> Response:
    request_id, stores = params.request_id_of(http_request), params.stores_of(http_request)
    details = params.boolean_of(http_request, "details")
    count = _of_own_request(http_request, request_id, lambda session: products.product_count(session, request_id))
    chunks = output_csv.csv_chunks(
        products.read_products(stores.database, request_id, count),
        request_id=request_id,
        public_url=stores.public_url,
        details=details,
    )
    headers = attachment(f"output-{request_id}.csv")
    return stream(http_request, chunks, media_type="text/csv; charset=utf-8", headers=headers)


def answer(body: Any, headers: dict[str, str] = PRIVATE) -> Response:
    return Response(orjson.dumps(body), headers=headers, media_type="application/json")


def _requested(http_request: HttpRequest) -> dict[str, Any]:
    """The view of the request in the path."""
    account, request_id = params.account_of(http_request), params.request_id_of(http_request)
    database = params.stores_of(http_request).database
    found = database.transact(lambda session: queries.find_request(session, account, request_id))
    if found is None:
        raise not_found()
    return _view(http_request, found)


def _view(http_request: HttpRequest, found: queries.Found) -> dict[str, Any]:
    public_url = params.stores_of(http_request).public_url
    return request_view(found.request, found.counts, public_url=public_url, now=datetime.now(UTC))


def _of_own_request(http_request: HttpRequest, request_id: UUID, read: Callable[[Session], T]) -> T:
    """Read something of a request, which must be the asking account's."""
    account = params.account_of(http_request)

    def checked(session: Session) -> T:
        queries.one_snapshot(session)
        if not queries.is_owner(session, account, request_id):
            raise not_found()
        return read(session)

    return params.stores_of(http_request).database.transact(checked)


ROUTES = [
    Route("/v1/requests", list_requests),
    Route("/v1/requests/{request_id}", get_request),
    Route("/v1/requests/{request_id}/products", list_products),
    Route("/v1/requests/{request_id}/rejected", list_rejected),
    Route("/v1/requests/{request_id}/images", list_images),
    Route("/v1/requests/{request_id}/deliveries", list_deliveries),
    Route("/v1/requests/{request_id}/output.csv", get_output_csv),
    Route("/status/{request_id}", get_older_status),
    Route("/status/{request_id}/", get_older_status),
    Route("/api/check-status/{request_id}/", get_older_status),
    Route("/api/check-status/{request_id}", get_older_status),
]

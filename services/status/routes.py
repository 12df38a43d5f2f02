"""The JSON calls: translate in, one query function, one view, translate out."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import orjson
from sqlmodel import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from services.status import images, paging, params, products, queries, report, views
from services.status.images import ImageFilter, ImageOrder
from shared.http.caller import account_of
from shared.http.context import Context, context_of, id_of
from shared.http.limits import QueuedLimit, owner_of
from shared.http.problems import not_found
from shared.lifecycle import ImageState, RequestStatus
from shared.schemas import api
from shared.schemas.tables import Image, RejectedRow

T = TypeVar("T")
Item = api.Shape | dict[str, Any]
PRIVATE = {"Cache-Control": "private, no-cache"}
LONG_READS, MAY_WAIT = 2, 8
"""Reports and lists for which the database reads all images of a request; each keeps one of its processors busy."""


def list_requests(http_request: HttpRequest) -> Response:
    account, size = account_of(http_request), params.size_of(http_request)
    status = params.status_of(http_request, RequestStatus)
    before = params.before_of(http_request)
    found = context_of(http_request, Context).database.transact(
        lambda session: queries.list_requests(session, account, status=status, before=before, limit=size + 1)
    )
    page, token = paging.cut(found, size, lambda last: paging.moment_token(last.request.created_at, last.request.id))
    return page_of([_view(http_request, one) for one in page], token)


async def get_request(http_request: HttpRequest) -> Response:
    found = await params.requested(http_request)
    public_url = context_of(http_request, Context).settings.public_url
    headers = PRIVATE | {"ETag": views.entity_tag(*found, public_url=public_url)}
    if not RequestStatus(found.request.status).terminal:
        headers["Retry-After"] = "1"
    if views.matches(headers["ETag"], http_request.headers.get("if-none-match")):
        return Response(None, 304, headers)
    return answer(_view(http_request, found), headers)


async def get_older_status(http_request: HttpRequest) -> Response:
    """`GET /status/{id}` and `GET /api/check-status/{id}/`."""
    return answer(views.older_view(_view(http_request, await params.requested(http_request))), PRIVATE)


def list_products(http_request: HttpRequest) -> Response:
    request_id, size = id_of(http_request), params.size_of(http_request)
    after = params.after_of(http_request)

    def read(session: Session) -> tuple[products.ProductPage, dict[int, Image]]:
        page = products.list_products(session, request_id, after=after, limit=size)
        numbers = {number for product in page.products for number in product.images}
        return page, images.images_by_number(session, request_id, numbers)

    page, shown = _of_own_request(http_request, request_id, read)
    public_url = context_of(http_request, Context).settings.public_url
    items = [views.product_view(product, shown, public_url=public_url) for product in page.products]
    return page_of(items, paging.number_token(page.products[-1].row) if page.more else None)


def list_rejected(http_request: HttpRequest) -> Response:
    read = partial(queries.list_rejected, after=params.after_of(http_request))
    return _list(http_request, read, _number_token, lambda row: row.error)


async def list_images(http_request: HttpRequest) -> Response:
    """In turn with the reports where all images may have to be read for one page."""
    public_url = context_of(http_request, Context).settings.public_url
    order = params.sort_of(http_request)
    kept_original = params.optional_boolean_of(http_request, "kept_original")
    only = ImageFilter(params.status_of(http_request, ImageState), kept_original)

    def saved_token(last: Image) -> str:
        return paging.saved_token(order, images.saved_by(last), last.number)

    def view(image: Image) -> api.Image:
        return views.image_view(image, public_url=public_url)

    if order is ImageOrder.NUMBER:
        read = partial(images.list_images, only=only, after=params.after_of(http_request))
        listed = partial(_list, http_request, read, _number_token, view)
    else:
        after = params.saved_after_of(http_request, order)
        read = partial(images.list_images_by_saved, order=order, only=only, after=after)
        listed = partial(_list, http_request, read, saved_token, view)
    if order is ImageOrder.NUMBER and kept_original is None:
        return await run_in_threadpool(listed)
    return await _in_turn(http_request, listed)


async def get_report(http_request: HttpRequest) -> Response:
    """In turn: for a million images the database works on it for seconds."""
    request = (await params.requested(http_request)).request
    tag = views.report_tag(request.id, request.run, request.status)
    if tag and views.matches(tag, http_request.headers.get("if-none-match")):
        return Response(None, 304, PRIVATE | {"ETag": tag})
    read = partial(report.read, request_id=request.id)
    found = await _in_turn(http_request, partial(_of_own_request, http_request, request.id, read))
    tag = views.report_tag(request.id, found.run, found.status)  # it may have been retried, or ended, meanwhile
    return answer(found, PRIVATE | ({"ETag": tag} if tag else {}))


async def _in_turn(http_request: HttpRequest, read: Callable[[], T]) -> T:
    """With few others at a time: each holds a connection, and the database, for as long as a large request takes."""
    long_reads: QueuedLimit = http_request.app.state.long_reads
    async with long_reads.place(owner_of(http_request)):
        return await run_in_threadpool(read)


def list_deliveries(http_request: HttpRequest) -> Response:
    request_id, size = id_of(http_request), params.size_of(http_request)
    read = partial(queries.list_deliveries, request_id=request_id, before=params.before_of(http_request), limit=size)
    found, more = _of_own_request(http_request, request_id, read)
    last = found[-1].delivery if more else None
    token = paging.moment_token(last.created_at, last.id) if last else None
    return page_of([views.delivery_view(*one) for one in found], token)


def _number_token(last: Image | RejectedRow) -> str:
    return paging.number_token(last.number)


def _list(
    http_request: HttpRequest, read: Callable[..., Sequence[T]], token_of: Callable[[T], str], view: Callable[[T], Item]
) -> Response:
    """A page of what `read` finds of the request in the path."""
    request_id, size = id_of(http_request), params.size_of(http_request)
    found = _of_own_request(http_request, request_id, lambda session: read(session, request_id, limit=size + 1))
    page, token = paging.cut(found, size, token_of)
    return page_of([view(one) for one in page], token)


def page_of(items: Sequence[Item], next_page_token: str | None) -> Response:
    """A page of a list. The rejected rows are stored as the JSON that they are answered with."""
    body = orjson.dumps({"items": items, "next_page_token": next_page_token}, default=_fragment)
    return Response(body, headers=PRIVATE, media_type="application/json")


def _fragment(shape: api.Shape) -> orjson.Fragment:
    return orjson.Fragment(shape.model_dump_json())


def answer(shape: api.Shape, headers: dict[str, str]) -> Response:
    return Response(shape.model_dump_json(), headers=headers, media_type="application/json")


def _view(http_request: HttpRequest, found: queries.Found) -> api.Request:
    public_url = context_of(http_request, Context).settings.public_url
    return api.Request.of(found.request, found.counts, public_url=public_url, now=datetime.now(UTC))


def _of_own_request(http_request: HttpRequest, request_id: UUID, read: Callable[[Session], T]) -> T:
    """Read a part of a request; 404 if it is another account's."""
    account = account_of(http_request)

    def checked(session: Session) -> T:
        queries.one_snapshot(session)
        if not queries.is_owner(session, account, request_id):
            raise not_found("request")
        return read(session)

    return context_of(http_request, Context).database.transact(checked)


ROUTES = [
    Route("/v1/requests", list_requests),
    Route("/v1/requests/{request_id}", get_request),
    Route("/v1/requests/{request_id}/products", list_products),
    Route("/v1/requests/{request_id}/rejected", list_rejected),
    Route("/v1/requests/{request_id}/images", list_images),
    Route("/v1/requests/{request_id}/report", get_report),
    Route("/v1/requests/{request_id}/deliveries", list_deliveries),
    Route("/status/{request_id}", get_older_status),
    Route("/status/{request_id}/", get_older_status),
    Route("/api/check-status/{request_id}/", get_older_status),
    Route("/api/check-status/{request_id}", get_older_status),
]

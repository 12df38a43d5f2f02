"""Products and their images by position, read a page at a time.

A page is bounded by its text as well as by its rows, and the database counts the text before it hands out a row: a name
may be megabytes long, and a row has up to a hundred images.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple, cast
from uuid import UUID

import sqlalchemy
from sqlalchemy import case, func, literal, null
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from services.status.images import any_of, is_of_earlier_run, run_of
from services.status.queries import one_snapshot
from services.status.views import ExportImage, ExportRow
from shared.db import Database
from shared.errors import HalftoneError
from shared.lifecycle import ImageState
from shared.schemas.tables import Image, Product

ROWS_PER_READ = 250
PAGE_BYTES = 1_000_000
"""Text of a page. The row that passes this limit is the last of its page, so a page has at least one row."""
IMAGE_BYTES = 1_024
"""Assumed text of one image: half of the longest URL allowed by default. Reading the true lengths would cost as much as
reading the images."""


class RequestGone(HalftoneError):
    """The request was deleted while it was read."""


class ProductPage(NamedTuple):
    """Products in input order, and whether there are more behind them."""

    products: list[Product]
    more: bool


def list_products(session: Session, request_id: UUID, *, after: int, limit: int) -> ProductPage:
    page = _page(request_id, after=after, limit=limit)
    chosen = sqlalchemy.select(aliased(Product, page), page.c.more).where(page.c.before < PAGE_BYTES)
    rows = session.execute(chosen.order_by(page.c.row)).all()
    return ProductPage([product for product, _ in rows], more=bool(rows) and rows[-1].more)


def export_rows(database: Database, request_id: UUID, count: int) -> Iterator[list[ExportRow]]:
    """All `count` products in input order, with one short transaction per page: a slow client holds none open.

    Raises:
        RequestGone: the request was deleted before the last page was read.

    """
    after, left = 0, count
    while left > 0:
        page = database.transact(partial(_export_page, request_id=request_id, after=after))
        if not page:
            raise RequestGone(f"the request was deleted with {left} of {count} products unread")
        yield page
        after, left = page[-1].row, left - len(page)


def _export_page(session: Session, *, request_id: UUID, after: int) -> list[ExportRow]:
    """Plain columns: entities would double the time of a large answer."""
    one_snapshot(session)
    page = _page(request_id, after=after, limit=ROWS_PER_READ)
    chosen = sqlalchemy.select(page.c.row, page.c.serial_number, page.c.name, page.c.images)
    products = session.execute(chosen.where(page.c.before < PAGE_BYTES).order_by(page.c.row)).all()
    written: Any = [getattr(Image, field) for field in ExportImage._fields]
    again = is_of_earlier_run(run_of(request_id))
    pending = {"state": literal(ImageState.PENDING.value), "error_code": null(), "error_detail": null()}
    columns = [
        case((again, pending[column.key]), else_=column) if column.key in pending else column for column in written
    ]
    numbers = {number for *_, product_images in products for number in product_images}
    wanted = (col(Image.request_id) == request_id, col(Image.number) == any_of(numbers))
    found: Any = session.exec(cast("Any", sqlalchemy.select(*columns).where(*wanted))) if numbers else ()
    images = {row[0]: ExportImage._make(row) for row in found}
    return [
        ExportRow(row, serial_number, name, [images[number] for number in product_images])
        for row, serial_number, name, product_images in products
    ]


def _page(request_id: UUID, *, after: int, limit: int) -> sqlalchemy.Subquery:
    """At most `limit` products, each with the text of those `before` it and whether there are `more` behind it."""
    row, names = col(Product.row), (col(Product.serial_number), col(Product.name))
    size = IMAGE_BYTES * func.cardinality(col(Product.images)) + sum(func.octet_length(name) for name in names)
    before = func.coalesce(func.sum(size).over(order_by=row, rows=(None, -1)), 0)
    more = func.lead(row).over(order_by=row).is_not(None)
    return (
        sqlalchemy.select(Product, before.label("before"), more.label("more"))
        .where(col(Product.request_id) == request_id, row > after)
        .order_by(row)
        .limit(limit)
        .subquery()
    )

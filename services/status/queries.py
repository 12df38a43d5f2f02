"""The SELECTs of the status service (those of products are in `products`); a page is one statement, or one per table.

The condition on groups stands literally in the statement: with parameters, a prepared statement could not use the
partial index `group_counted`. Requests are read by plain SQL: to compose a statement costs more than to run it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy import ARRAY, Integer, any_, literal, not_, true, tuple_
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from shared.db import connection_of
from shared.lifecycle import IMAGES_PER_GROUP, ImageState, group_of
from shared.schemas.api import Counts
from shared.schemas.progress import RequestRow
from shared.schemas.tables import Delivery, DeliveryAttempt, Event, Image, ImageGroup, ProcessingRequest, RejectedRow

Numbered = TypeVar("Numbered", Image, RejectedRow)
ID, OWNER = col(ProcessingRequest.id), col(ProcessingRequest.account_id)
ATTEMPTS_SHOWN = 50
"""The last ones of each delivery: every redelivery adds some."""
ATTEMPTS_OF_PAGE = 500
"""A page ends with the delivery that passes this limit: an attempt may have 500 characters of a receiver's answer."""
OF_OPEN_GROUPS = """
    SELECT coalesce(sum(completed), 0) AS completed, coalesce(sum(failed), 0) AS failed,
           coalesce(sum(cancelled), 0) AS cancelled, coalesce(sum(source_bytes), 0) AS source_bytes,
           coalesce(sum(rendition_bytes), 0) AS rendition_bytes
    FROM image_group
    WHERE image_group.request_id = request.id AND state <> 'settled' AND dispatch_no > 0
"""
"""Only these groups have counts that the request has not: a settled one has added its own, and one that was not
dispatched in this run has none, or they are still the request's. A large request has thousands of the latter."""
SELECT = f"""
    SELECT {", ".join(f"request.{name}" for name in RequestRow._fields)},
           {", ".join(f"(request.{name} + of_open.{name})::bigint" for name in Counts.__dataclass_fields__)}
    FROM processing_request AS request CROSS JOIN LATERAL ({OF_OPEN_GROUPS}) AS of_open
"""  # noqa: S608 - the names are ours
FIND = f"{SELECT} WHERE request.id = ANY(%(ids)s)".encode()
"""Requests by their ids; who asks must compare `account_id`."""


class Found(NamedTuple):
    """A request and its counts, open groups included."""

    request: RequestRow
    counts: Counts


class ImageOrder(StrEnum):
    """By number, or by the bytes that the rendition saves; images without one come last in both of those."""

    NUMBER = "number"
    LEAST_SAVED = "saved"
    MOST_SAVED = "-saved"


class ImageFilter(NamedTuple):
    """Which images are listed; None: all."""

    state: ImageState | None
    kept_original: bool | None


class DeliveryFound(NamedTuple):
    """A delivery, the type of its event, and its last attempts in order."""

    delivery: Delivery
    event_type: str
    attempts: list[DeliveryAttempt]


class DeliveryPage(NamedTuple):
    """Deliveries, newest first, and whether there are more behind them."""

    deliveries: list[DeliveryFound]
    more: bool


def one_snapshot(session: Session) -> None:
    """All statements of the transaction see one moment: a DELETE between two of them must not leave half a row."""
    session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


def found_of(row: Sequence[Any]) -> Found:
    """A row of SELECT."""
    columns = len(RequestRow._fields)
    counts = dict(zip(Counts.__dataclass_fields__, row[columns:], strict=True))
    return Found(RequestRow._make(row[:columns]), Counts(**counts))


def list_requests(
    session: Session, account: UUID, *, status: str | None, before: tuple[datetime, UUID] | None, limit: int
) -> list[Found]:
    """Newest first."""
    created_at, request_id = before or (None, None)
    values = {"account": account, "status": status, "at": created_at, "id": request_id, "limit": limit}
    chosen = "account_id = %(account)s"
    chosen += " AND status = %(status)s" if status is not None else ""
    chosen += " AND (created_at, id) < (%(at)s, %(id)s)" if before is not None else ""
    # The page is cut before groups are read: the planner may otherwise sum up those of all requests, and sort then.
    query = f"""{SELECT}
        WHERE request.id IN (
            SELECT id FROM processing_request WHERE {chosen} ORDER BY created_at DESC, id DESC LIMIT %(limit)s
        )
        ORDER BY request.created_at DESC, request.id DESC
    """  # noqa: S608 - the values are parameters
    return [found_of(row) for row in connection_of(session).execute(query.encode(), values)]


def is_owner(session: Session, account: UUID, request_id: UUID) -> bool:
    query = select(ID).where(account == OWNER, request_id == ID)
    return session.exec(query).first() is not None


def find_image(session: Session, account: UUID, request_id: UUID, number: int) -> tuple[Image, datetime | None] | None:
    """An image, and when the sources of its request were deleted."""
    query = (
        select(Image, ProcessingRequest.sources_deleted_at)
        .join(ProcessingRequest, col(Image.request_id) == ID)
        .where(account == OWNER, Image.request_id == request_id, Image.number == number)
    )
    row = session.exec(query).first()
    return (row[0], row[1]) if row else None


def list_rejected(session: Session, request_id: UUID, *, after: int, limit: int) -> list[RejectedRow]:
    return _by_number(session, RejectedRow, request_id, after=after, limit=limit)


def list_images(session: Session, request_id: UUID, *, only: ImageFilter, after: int, limit: int) -> list[Image]:
    """By number."""
    if only.state is not None and only.kept_original is None:
        return _images_in_state(session, request_id, only.state, after=after, limit=limit)
    number = col(Image.number)
    query = _images(request_id, only).where(number > after).order_by(number).limit(limit)
    return as_of_run(session, request_id, session.exec(query))


def list_images_by_saved(
    session: Session,
    request_id: UUID,
    *,
    order: ImageOrder,
    only: ImageFilter,
    after: tuple[int | None, int] | None,
    limit: int,
) -> list[Image]:
    """Each page reads all images: an index on what they save would have to be written by every settle."""
    query, number = _images(request_id, only), col(Image.number)
    saves: Any = col(Image.source_bytes) - col(Image.rendition_bytes)
    most_first = order is ImageOrder.MOST_SAVED
    if after is not None:
        saved, last = after
        if saved is None:
            query = query.where(saves.is_(None), number > last)
        else:
            beyond = saves < saved if most_first else saves > saved
            query = query.where(beyond | ((saves == saved) & (number > last)) | saves.is_(None))
    direction = saves.desc() if most_first else saves.asc()
    query = query.order_by(direction.nulls_last(), number).limit(limit)
    return as_of_run(session, request_id, session.exec(query))


def saved_by(image: Image) -> int | None:
    """The bytes that the rendition has less than the source; None without a rendition."""
    if image.source_bytes is None or image.rendition_bytes is None:
        return None
    return image.source_bytes - image.rendition_bytes


def _images(request_id: UUID, only: ImageFilter) -> SelectOfScalar[Image]:
    query = select(Image).where(Image.request_id == request_id)
    if only.state is not None:
        query = query.where(is_in(only.state, run_of(request_id)))
    return query if only.kept_original is None else query.where(col(Image.kept_original).is_(only.kept_original))


def _by_number(session: Session, kind: type[Numbered], request_id: UUID, *, after: int, limit: int) -> list[Numbered]:
    number = col(kind.number)
    query = select(kind).where(kind.request_id == request_id, number > after).order_by(number).limit(limit)
    return list(session.exec(query))


def _images_in_state(session: Session, request_id: UUID, state: ImageState, *, after: int, limit: int) -> list[Image]:
    """Searches only groups that count such an image: to find five failures, a million images need not be read.

    An index on the state would cost more: every claim and every settle would have to write it. The limit on groups
    holds whatever the planner knows: without it, a sort by number may search all groups of the request.
    """
    groups = (
        select(col(ImageGroup.number))
        .where(ImageGroup.request_id == request_id, ImageGroup.number >= group_of(after + 1), _counts_any(state))
        .order_by(col(ImageGroup.number))
        .limit(limit + 1)  # all such images of the first may be on earlier pages; each other group has at least one
        .subquery("groups")
    )
    first = (groups.c.number - 1) * IMAGES_PER_GROUP
    of_group = (
        select(Image)
        .where(
            Image.request_id == request_id,
            col(Image.number).between(first + 1, first + IMAGES_PER_GROUP),
            Image.number > after,
            is_in(state, run_of(request_id)),
        )
        .order_by(col(Image.number))
        .limit(limit)
        .lateral("of_group")  # with a limit of its own, or the planner may read all images
    )
    image = aliased(Image, of_group)
    query = select(image).select_from(groups).join(of_group, true()).order_by(col(image.number)).limit(limit)
    return as_of_run(session, request_id, session.exec(query))


def _counts_any(state: ImageState) -> Any:
    """The group has an image in this state."""
    settled = {name: col(getattr(ImageGroup, name)) for name in ("completed", "failed", "cancelled")}
    if state is ImageState.PENDING:
        return sum(settled.values()) < col(ImageGroup.images)
    return settled[state] > 0


def images_by_number(session: Session, request_id: UUID, numbers: Iterable[int]) -> dict[int, Image]:
    query = select(Image).where(Image.request_id == request_id, col(Image.number) == any_of(numbers))
    return {image.number: image for image in as_of_run(session, request_id, session.exec(query))}


def run_of(request_id: UUID) -> Any:
    """The request's run, read once in a statement."""
    return select(ProcessingRequest.run).where(request_id == ID).scalar_subquery()


def is_of_earlier_run(run: Any) -> Any:
    """Whether an image that failed is to be tried again: `retry` leaves it to dispatch to write it."""
    return col(Image.state).in_((ImageState.FAILED, ImageState.CANCELLED)) & (col(Image.run) < run)


def is_in(state: ImageState, run: Any) -> Any:
    """Whether an image is in this state in the request's run."""
    if state is ImageState.PENDING:
        return (col(Image.state) == state) | is_of_earlier_run(run)
    return (col(Image.state) == state) & not_(is_of_earlier_run(run))


def as_of_run(session: Session, request_id: UUID, images: Iterable[Image]) -> list[Image]:
    """The images as they are in the request's run."""
    found = list(images)
    failed = [image for image in found if image.state in {ImageState.FAILED, ImageState.CANCELLED}]
    run = session.exec(select(ProcessingRequest.run).where(request_id == ID)).one() if failed else 0
    for image in failed:
        if image.run < run:
            session.expunge(image)  # to be shown, not stored
            image.state, image.attempts, image.error_code, image.error_detail = ImageState.PENDING, 0, None, None
    return found


def list_deliveries(
    session: Session, request_id: UUID, *, before: tuple[datetime, UUID] | None, limit: int
) -> DeliveryPage:
    """At most `limit`; fewer, though there are more, where they have many attempts."""
    created_at, delivery_id = col(Delivery.created_at), col(Delivery.id)
    query = (
        select(Delivery, Event.type)
        .join(Event, col(Event.id) == col(Delivery.event_id))
        .where(Delivery.request_id == request_id)
        .order_by(created_at.desc(), delivery_id.desc())
        .limit(limit + 1)
    )
    if before is not None:
        query = query.where(tuple_(created_at, delivery_id) < before)
    rows = session.exec(query).all()
    before_each = accumulate((min(delivery.attempt, ATTEMPTS_SHOWN) for delivery, _ in rows), initial=0)
    page = [row for row, attempts in zip(rows[:limit], before_each, strict=False) if attempts < ATTEMPTS_OF_PAGE]
    attempts = _attempts(session, [delivery.id for delivery, _ in page])
    found = [DeliveryFound(delivery, kind, attempts.get(delivery.id, [])) for delivery, kind in page]
    return DeliveryPage(found, more=len(page) < len(rows))


def _attempts(session: Session, deliveries: Sequence[UUID]) -> dict[UUID, list[DeliveryAttempt]]:
    by_delivery: dict[UUID, list[DeliveryAttempt]] = {}
    last = (
        select(DeliveryAttempt)
        .where(DeliveryAttempt.delivery_id == Delivery.id)
        .order_by(col(DeliveryAttempt.number).desc())
        .limit(ATTEMPTS_SHOWN)
        .lateral("last")
    )
    attempt = aliased(DeliveryAttempt, last)
    query = (
        select(attempt)
        .select_from(Delivery)
        .join(last, true())
        .where(col(Delivery.id).in_(deliveries))
        .order_by(col(attempt.number))
    )
    for found in session.exec(query) if deliveries else ():
        by_delivery.setdefault(found.delivery_id, []).append(found)
    return by_delivery


def any_of(numbers: Iterable[int]) -> Any:
    return any_(literal(list(numbers), ARRAY(Integer)))

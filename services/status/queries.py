"""The SELECTs of the status service (those of products are in `products`); a page is one statement, or one per table.

The condition on groups stands literally in the statement: with parameters, a prepared statement could not use the
partial index.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar, cast
from uuid import UUID

import sqlalchemy
from sqlalchemy import ARRAY, Integer, any_, func, literal, text, true, tuple_
from sqlalchemy.orm import InstrumentedAttribute, aliased, defer
from sqlmodel import Session, col, select

from shared.lifecycle import IMAGES_PER_GROUP, ImageState, group_of
from shared.schemas.api import Counts
from shared.schemas.tables import Delivery, DeliveryAttempt, Event, Image, ImageGroup, ProcessingRequest, RejectedRow

Numbered = TypeVar("Numbered", Image, RejectedRow)
ID, OWNER = col(ProcessingRequest.id), col(ProcessingRequest.account_id)
ATTEMPTS_SHOWN = 50
"""The last ones of each delivery: every redelivery adds some."""
COUNTED = text("image_group.state <> 'settled' AND image_group.dispatch_no > 0")
"""Groups that hold counts themselves: a settled one has added its counts to the request, and one that was never
dispatched has none. A large request has thousands of the latter."""


class Found(NamedTuple):
    """A request and its counts, open groups included."""

    request: ProcessingRequest
    counts: Counts


class DeliveryFound(NamedTuple):
    """A delivery, the type of its event, and its last attempts in order."""

    delivery: Delivery
    event_type: str
    attempts: list[DeliveryAttempt]


def one_snapshot(session: Session) -> None:
    """All statements of the transaction see one moment: a DELETE between two of them must not leave half a row."""
    session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


def find_request(session: Session, account: UUID, request_id: UUID) -> Found | None:
    rows = session.exec(_requests().where(account == OWNER, request_id == ID))
    return next(map(_found, rows), None)


def find_requests(session: Session, request_ids: Iterable[UUID]) -> dict[UUID, Found]:
    """Requests whose owner was checked before."""
    rows = session.exec(_requests().where(ID.in_(request_ids)))
    return {found.request.id: found for found in map(_found, rows)}


def list_requests(
    session: Session, account: UUID, *, status: str | None, before: tuple[datetime, UUID] | None, limit: int
) -> list[Found]:
    """Newest first."""
    order = col(ProcessingRequest.created_at).desc(), ID.desc()
    page = select(ID).where(account == OWNER).order_by(*order).limit(limit)
    if status is not None:
        page = page.where(col(ProcessingRequest.status) == status)
    if before is not None:
        page = page.where(tuple_(col(ProcessingRequest.created_at), ID) < before)
    # The page is cut before groups are read: the planner may otherwise sum up those of all requests, and sort then.
    return [_found(row) for row in session.exec(_requests().where(ID.in_(page)).order_by(*order))]


def is_owner(session: Session, account: UUID, request_id: UUID) -> bool:
    query = select(ID).where(account == OWNER, request_id == ID)
    return session.exec(query).first() is not None


def list_rejected(session: Session, request_id: UUID, *, after: int, limit: int) -> list[RejectedRow]:
    return _by_number(session, RejectedRow, request_id, after=after, limit=limit)


def list_images(session: Session, request_id: UUID, *, state: str | None, after: int, limit: int) -> list[Image]:
    if state is not None:
        return _images_in_state(session, request_id, ImageState(state), after=after, limit=limit)
    return _by_number(session, Image, request_id, after=after, limit=limit)


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
            Image.state == state,
        )
        .order_by(col(Image.number))
        .limit(limit)
        .lateral("of_group")  # with a limit of its own, or the planner may read all images
    )
    image = aliased(Image, of_group)
    query = select(image).select_from(groups).join(of_group, true()).order_by(col(image.number)).limit(limit)
    return list(session.exec(query))


def _counts_any(state: ImageState) -> Any:
    """The group has an image in this state."""
    settled = {name: col(getattr(ImageGroup, name)) for name in ("completed", "failed", "cancelled")}
    if state is ImageState.PENDING:
        return sum(settled.values()) < col(ImageGroup.images)
    return settled[state] > 0


def images_by_number(session: Session, request_id: UUID, numbers: Iterable[int]) -> dict[int, Image]:
    query = select(Image).where(Image.request_id == request_id, col(Image.number) == any_of(numbers))
    return {image.number: image for image in session.exec(query)}


def list_deliveries(
    session: Session, request_id: UUID, *, before: tuple[datetime, UUID] | None, limit: int
) -> list[DeliveryFound]:
    """Newest first."""
    created_at, delivery_id = col(Delivery.created_at), col(Delivery.id)
    query = (
        select(Delivery, Event.type)
        .join(Event, col(Event.id) == col(Delivery.event_id))
        .where(Delivery.request_id == request_id)
        .order_by(created_at.desc(), delivery_id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(tuple_(created_at, delivery_id) < before)
    rows = session.exec(query).all()
    attempts = _attempts(session, [delivery.id for delivery, _ in rows])
    return [DeliveryFound(delivery, kind, attempts.get(delivery.id, [])) for delivery, kind in rows]


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


def _requests() -> Any:
    """Requests with the sums over their open groups, as one statement, for the caller to narrow down."""
    sums = [func.coalesce(func.sum(getattr(ImageGroup, name)), 0) for name in Counts.__dataclass_fields__]
    open_groups = sqlalchemy.select(*sums).where(col(ImageGroup.request_id) == ID, COUNTED).lateral("open_groups")
    unread = defer(cast("InstrumentedAttribute[Any]", ProcessingRequest.accepted_body))
    return sqlalchemy.select(ProcessingRequest, open_groups).join(open_groups, true()).options(unread)


def _found(row: Any) -> Found:
    request, *of_open_groups = row
    names = Counts.__dataclass_fields__
    counts = {name: getattr(request, name) + int(extra) for name, extra in zip(names, of_open_groups, strict=True)}
    return Found(request, Counts(**counts))


def any_of(numbers: Iterable[int]) -> Any:
    return any_(literal(list(numbers), ARRAY(Integer)))

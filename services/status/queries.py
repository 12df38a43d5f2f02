"""The SELECTs of the status service; products, images and the report have their own. A page is one statement or two.

The condition on groups stands literally in the statement: with parameters, a prepared statement could not use the
partial index `group_counted`. Requests are read by plain SQL: to compose a statement costs more than to run it.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy import true, tuple_
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from shared.db import connection_of
from shared.schemas.api import Counts
from shared.schemas.progress import RequestRow
from shared.schemas.tables import Delivery, DeliveryAttempt, Event, Image, ProcessingRequest, RejectedRow

Numbered = TypeVar("Numbered", Image, RejectedRow)
ID, OWNER = col(ProcessingRequest.id), col(ProcessingRequest.account_id)
ATTEMPTS_SHOWN = 50
"""The last ones of each delivery: every redelivery adds some."""
PAGE_BYTES = 1_000_000
"""Text of a page of deliveries. The delivery that passes this limit is the last of its page."""
ATTEMPT_BYTES = 2_000
"""Assumed text of an attempt: 500 characters of a receiver's answer, of up to three bytes, and two signatures."""
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


class DeliveryFound(NamedTuple):
    """A delivery, its event, and its last attempts in order."""

    delivery: Delivery
    event: Event
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


def list_rejected(session: Session, request_id: UUID, *, after: int, limit: int) -> list[RejectedRow]:
    return _by_number(session, RejectedRow, request_id, after=after, limit=limit)


def _by_number(session: Session, kind: type[Numbered], request_id: UUID, *, after: int, limit: int) -> list[Numbered]:
    number = col(kind.number)
    query = select(kind).where(kind.request_id == request_id, number > after).order_by(number).limit(limit)
    return list(session.exec(query))


def list_deliveries(
    session: Session, request_id: UUID, *, before: tuple[datetime, UUID] | None, limit: int
) -> DeliveryPage:
    """At most `limit`; fewer, though there are more, where they have long bodies or many attempts."""
    created_at, delivery_id = col(Delivery.created_at), col(Delivery.id)
    query = (
        select(Delivery, Event)
        .join(Event, col(Event.id) == col(Delivery.event_id))
        .where(Delivery.request_id == request_id)
        .order_by(created_at.desc(), delivery_id.desc())
        .limit(limit + 1)
    )
    if before is not None:
        query = query.where(tuple_(created_at, delivery_id) < before)
    rows = session.exec(query).all()
    before_each = accumulate((_text_of(delivery, event) for delivery, event in rows), initial=0)
    page = [row for row, text in zip(rows[:limit], before_each, strict=False) if text < PAGE_BYTES]
    attempts = _attempts(session, [delivery.id for delivery, _ in page])
    found = [DeliveryFound(delivery, event, attempts.get(delivery.id, [])) for delivery, event in page]
    return DeliveryPage(found, more=len(page) < len(rows))


def _text_of(delivery: Delivery, event: Event) -> int:
    """About how many bytes of an answer it is. A body is some 2 kB, so that a page of them is read before it is cut."""
    return len(event.body) + ATTEMPT_BYTES * min(delivery.attempt, ATTEMPTS_SHOWN)


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

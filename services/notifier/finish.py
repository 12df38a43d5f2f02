"""Finish a request whose last group is settled: its state, its event and its delivery, in one transaction."""

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlmodel import Session

from shared.db import execute
from shared.ids import uuid7
from shared.lifecycle import RequestStatus, StopReason, final_status
from shared.schemas.api import counts_of, request_view, timestamp
from shared.schemas.tables import ProcessingRequest

EVENT_TYPES = {
    RequestStatus.COMPLETED: "request.completed",
    RequestStatus.FAILED: "request.failed",
    RequestStatus.CANCELLED: "request.cancelled",
}


def finish(session: Session, request_id: UUID, *, public_url: str) -> UUID | None:
    """Make the request terminal and record its one event of this run; returns the delivery to send, if there is one.

    The caller holds the request's lock and has found no group open.
    """
    request = session.get_one(ProcessingRequest, request_id, populate_existing=True)
    stop = StopReason(request.stop_reason) if request.stop_reason else None
    status = final_status(stop=stop, completed=request.completed)
    rows = execute(
        session,
        """
        UPDATE processing_request SET status = %(status)s, finished_at = now(), dispatch_at = NULL
        WHERE id = %(id)s AND status IN ('pending', 'processing') RETURNING finished_at
        """,
        {"id": request_id, "status": status.value},
    )
    if not rows:
        return None
    session.refresh(request)
    return _record_event(session, request, EVENT_TYPES[status], now=rows[0]["finished_at"], public_url=public_url)


def _record_event(
    session: Session, request: ProcessingRequest, kind: str, *, now: datetime, public_url: str
) -> UUID | None:
    event_id = uuid7()
    data = request_view(request, counts_of(request), public_url=public_url, now=now)
    execute(
        session,
        """
        INSERT INTO event (id, request_id, run, type, body)
        VALUES (%(id)s, %(request_id)s, %(run)s, %(type)s, %(body)s)
        """,
        {
            "id": event_id,
            "request_id": request.id,
            "run": request.run,
            "type": kind,
            "body": event_body(kind, data, now=now),
        },
    )
    return _record_delivery(session, event_id, request) if request.webhook_url else None


def event_body(kind: str, data: dict[str, Any], *, now: datetime) -> str:
    """The exact text that every delivery of the event carries."""
    return orjson.dumps({"type": kind, "timestamp": timestamp(now), "data": data}).decode()


def _record_delivery(session: Session, event_id: UUID, request: ProcessingRequest) -> UUID:
    delivery_id = uuid7()
    execute(
        session,
        """
        INSERT INTO delivery (id, event_id, request_id, url, next_attempt_at)
        VALUES (%(id)s, %(event_id)s, %(request_id)s, %(url)s, now())
        """,
        {"id": delivery_id, "event_id": event_id, "request_id": request.id, "url": request.webhook_url},
    )
    return delivery_id

"""Finishes a request whose last group is settled: its state, its event and its delivery, in one transaction."""

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlmodel import Session, func, select

from shared.lifecycle import RequestStatus, StopReason, final_status
from shared.schemas.api import counts_of, request_view, timestamp
from shared.schemas.tables import Delivery, Event, ProcessingRequest

EVENT_TYPES = {
    RequestStatus.COMPLETED: "request.completed",
    RequestStatus.FAILED: "request.failed",
    RequestStatus.CANCELLED: "request.cancelled",
}


def finish(session: Session, request: ProcessingRequest, *, public_url: str) -> UUID | None:
    """Make the request terminal and record the one event of this run; returns the delivery to send, if there is one.

    The caller holds the request's lock and has found no open group.
    """
    session.refresh(request)
    stop = StopReason(request.stop_reason) if request.stop_reason else None
    status = final_status(stop=stop, completed=request.completed)
    now: datetime = session.exec(select(func.now())).one()
    request.status, request.finished_at, request.dispatch_at = status, now, None
    return _record_event(session, request, EVENT_TYPES[status], now=now, public_url=public_url)


def _record_event(
    session: Session, request: ProcessingRequest, kind: str, *, now: datetime, public_url: str
) -> UUID | None:
    data = request_view(request, counts_of(request), public_url=public_url, now=now)
    event = Event(request_id=request.id, run=request.run, type=kind, body=event_body(kind, data, now=now))
    session.add(event)
    session.flush()
    if not request.webhook_url:
        return None
    delivery = Delivery(event_id=event.id, request_id=request.id, url=request.webhook_url, next_attempt_at=now)
    session.add(delivery)
    return delivery.id


def event_body(kind: str, data: dict[str, Any], *, now: datetime) -> str:
    """The exact text that every delivery of the event carries."""
    return orjson.dumps({"type": kind, "timestamp": timestamp(now), "data": data}).decode()

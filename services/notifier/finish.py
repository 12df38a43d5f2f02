"""Finishes a request whose last group is settled: its state, its event and its delivery, in one transaction."""

from uuid import UUID

import orjson
from sqlmodel import Session, func, select

from shared import tracing
from shared.lifecycle import StopReason, final_status
from shared.log import get_logger
from shared.messages import Deliver
from shared.schemas.api import counts_of, request_view, timestamp
from shared.schemas.tables import Delivery, Event, ProcessingRequest

log = get_logger(__name__)


def finish(session: Session, request_id: UUID, *, public_url: str) -> Deliver | None:
    """Make the request terminal and record the one event of this run; returns the message if there is a webhook.

    The caller holds the request's lock and has found no open group.
    """
    with tracing.step_of(request_id, "finish") as about:
        request, now = session.exec(
            select(ProcessingRequest, func.now()).where(ProcessingRequest.id == request_id)
        ).one()
        stop = StopReason(request.stop_reason) if request.stop_reason else None
        request.status = final_status(stop=stop, completed=request.completed)
        request.finished_at, request.dispatch_at = now, None
        about |= {
            "halftone.status": request.status,
            "halftone.images": request.images,
            "halftone.failed": request.failed,
        }
        log.info("finished", request_id=str(request_id), run=request.run, status=request.status)
        kind = f"request.{request.status}"
        data = request_view(request, counts_of(request), public_url=public_url, now=now)
        # The exact text that every delivery of the event carries.
        body = orjson.dumps({"type": kind, "timestamp": timestamp(now), "data": data}).decode()
        event = Event(request_id=request.id, run=request.run, type=kind, body=body)
        session.add(event)
        session.flush()
    if not request.webhook_url:
        return None
    delivery = Delivery(event_id=event.id, request_id=request.id, url=request.webhook_url, next_attempt_at=now)
    session.add(delivery)
    return Deliver(delivery_id=delivery.id)

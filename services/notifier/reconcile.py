"""Reconciles a group: the completion callback and the sweeper both call it, and calling it too often is harmless.

Nothing pending: the group is settled, its counters go to the request, and the last group finishes the request. Images
due: the group is to be dispatched again. Otherwise it is reconciled again when the first image is due. Everything is
written and committed under the request's lock before anything is sent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlmodel import Session, func, select

from services.notifier.finish import finish
from shared.db import Database, execute
from shared.errors import Cancelled, Expired, ImageError, WorkerLost
from shared.lifecycle import DUE, MAX_ATTEMPTS, GroupState, ImageState, StopReason, images_of
from shared.messages import DispatchGroup, DispatchRequest, Message
from shared.schemas.tables import ImageGroup, ProcessingRequest

RESEND_GROUP = timedelta(seconds=30)
"""The group is reconciled again after this, in case its `DispatchGroup` is lost."""
RESEND_REQUEST = timedelta(seconds=5)
"""The sweeper sends `DispatchRequest` after this, in case ours is lost."""
BETWEEN_MARKS = timedelta(seconds=30)
"""Least time between two marks of how many images are settled: the rate behind `eta_seconds`."""
CLOSED_AS: dict[str | None, tuple[ImageState, ImageError]] = {
    StopReason.CANCELLED: (ImageState.CANCELLED, Cancelled("The request was cancelled before this image was done.")),
    StopReason.EXPIRED: (ImageState.FAILED, Expired("The request's deadline came before this image was done.")),
    None: (ImageState.FAILED, WorkerLost("Five attempts at this image never reported back.")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
    """Reconciles in one transaction, then sends. `send` is best effort: the sweeper repeats what was not sent."""

    database: Database
    send: Callable[[Message], bool]
    public_url: str

    def run(self, request_id: UUID, group: int, *, dispatch_no: int | None) -> None:
        message = self.database.transact(
            lambda session: reconcile(session, request_id, group, dispatch_no=dispatch_no, public_url=self.public_url)
        )
        if message:
            self.send(message)


def reconcile(
    session: Session, request_id: UUID, number: int, *, dispatch_no: int | None, public_url: str
) -> Message | None:
    """Returns what is to be sent: dispatch the group again, dispatch waiting groups, or deliver the event.

    `dispatch_no`: the callback's, which may settle the group but dispatches it only if it is still the group's.
    """
    # FOR NO KEY UPDATE: foreign keys to the rows stay checkable. By the keys alone: `finished_at IS NULL` would offer
    # the planner the index of all open requests.
    request = session.exec(
        select(ProcessingRequest).where(ProcessingRequest.id == request_id).with_for_update(key_share=True)
    ).one_or_none()
    group = session.exec(
        select(ImageGroup)
        .where(ImageGroup.request_id == request_id, ImageGroup.number == number)
        .where(ImageGroup.state != GroupState.SETTLED)
        .with_for_update(key_share=True)
    ).one_or_none()
    if request is None or request.finished_at or group is None:
        return None
    _close_hopeless(session, request, number)
    pending = _pending(session, request_id, number)
    now: datetime = pending["now"]
    if pending["pending"] == 0:
        return _settle_group(session, request, number, now=now, public_url=public_url)
    if group.state == GroupState.WAITING:  # due images wait for room; the others may be lost meanwhile
        group.reconcile_at = None if pending["due"] else pending["next"]
    elif not pending["due"]:
        group.reconcile_at = pending["next"]
        # Images that wait for a retry leave room in the window, and must not hold up the groups behind them.
        return _fill_window(session, request, now=now)
    elif dispatch_no in (None, group.dispatch_no):
        group.reconcile_at = now + RESEND_GROUP
        return DispatchGroup(request_id=request_id, group=number, dispatch_no=group.dispatch_no)
    return None


def _close_hopeless(session: Session, request: ProcessingRequest, group: int) -> None:
    """Settle images that no worker will report: all pending ones of a stopped request, else the lost fifth attempts.

    If lost in a shared batch, the fifth attempt is repeated in isolation: a neighbour may have killed the worker.
    """
    state, error = CLOSED_AS[request.stop_reason]
    first, last = images_of(group)
    execute(
        session,
        """
        WITH again AS (
            UPDATE image SET attempts = attempts - 1, isolated = true, claimed_by = NULL
            WHERE request_id = %(id)s AND number BETWEEN %(first)s AND %(last)s AND state = 'pending'
              AND run = %(run)s AND NOT %(stopped)s
              AND attempts >= %(max_attempts)s AND not_before <= now() AND NOT isolated
        ), closed AS (
            UPDATE image SET state = %(state)s, claimed_by = NULL, error_code = %(code)s, error_detail = %(detail)s
            WHERE request_id = %(id)s AND number BETWEEN %(first)s AND %(last)s AND state = 'pending'
              AND run = %(run)s
              AND (%(stopped)s OR attempts >= %(max_attempts)s AND not_before <= now() AND isolated)
            RETURNING 1
        ), total AS (SELECT count(*) AS closed FROM closed)
        UPDATE image_group g
        SET failed = g.failed + CASE WHEN %(state)s = 'failed' THEN t.closed ELSE 0 END,
            cancelled = g.cancelled + CASE WHEN %(state)s = 'cancelled' THEN t.closed ELSE 0 END,
            in_flight = greatest(0, g.in_flight - t.closed)
        FROM total t
        WHERE g.request_id = %(id)s AND g.number = %(group)s AND t.closed > 0
        """,
        {
            "id": request.id, "run": request.run, "group": group, "first": first, "last": last,
            "state": state.value, "code": error.code, "detail": error.detail, "max_attempts": MAX_ATTEMPTS,
            "stopped": request.stop_reason is not None,
        },
    )  # fmt: skip


def _pending(session: Session, request_id: UUID, group: int) -> dict[str, Any]:
    first, last = images_of(group)
    return execute(
        session,
        f"""
        SELECT count(*) AS pending, count(*) FILTER (WHERE {DUE}) AS due, min(not_before) AS next, now() AS now
        FROM image
        WHERE request_id = %(id)s AND number BETWEEN %(first)s AND %(last)s AND state = 'pending'
        """,  # noqa: S608 - a constant of ours
        {"id": request_id, "first": first, "last": last},
    )[0]


def _settle_group(
    session: Session, request: ProcessingRequest, group: int, *, now: datetime, public_url: str
) -> Message | None:
    """Move the group's counters to the request; `open_groups` tells which group is the last without counting them."""
    execute(
        session,
        """
        WITH closed AS (
            UPDATE image_group SET state = 'settled', reconcile_at = NULL, in_flight = 0
            WHERE request_id = %(id)s AND number = %(group)s AND state <> 'settled'
            RETURNING completed, failed, cancelled, source_bytes, rendition_bytes
        )
        UPDATE processing_request r
        SET completed = r.completed + c.completed, failed = r.failed + c.failed,
            cancelled = r.cancelled + c.cancelled, source_bytes = r.source_bytes + c.source_bytes,
            rendition_bytes = r.rendition_bytes + c.rendition_bytes, open_groups = r.open_groups - 1
        FROM closed c WHERE r.id = %(id)s
        """,
        {"id": request.id, "group": group},
    )
    session.refresh(request)
    _mark_rate(session, request, now=now)
    if request.open_groups == 0:
        return finish(session, request, now=now, public_url=public_url)
    return _fill_window(session, request, now=now)


def _fill_window(session: Session, request: ProcessingRequest, *, now: datetime) -> DispatchRequest | None:
    """If groups wait, there may be room for them now; the sweeper is to ask again soon.

    Many groups of a request end at once. A message that was sent within a second and has not been handled (that would
    have moved the timer) fills the room of this group too; were it lost, the sweeper sends the next one.
    """
    if request.dispatch_at and abs(request.dispatch_at - RESEND_REQUEST - now) < timedelta(seconds=1):
        return None
    waiting = select(ImageGroup.number).where(
        ImageGroup.request_id == request.id, ImageGroup.state == GroupState.WAITING
    )
    if request.stop_reason is not None or session.exec(waiting.limit(1)).first() is None:
        return None
    request.dispatch_at = now + RESEND_REQUEST
    return DispatchRequest(request_id=request.id)


def _mark_rate(session: Session, request: ProcessingRequest, *, now: datetime) -> None:
    """Note how many images are settled now; of the open groups only dispatched ones hold any (`group_counted`)."""
    if request.mark_at and request.mark_at > now - BETWEEN_MARKS:
        return
    in_open_groups: int = session.exec(
        select(func.coalesce(func.sum(ImageGroup.completed + ImageGroup.failed + ImageGroup.cancelled), 0)).where(
            ImageGroup.request_id == request.id, ImageGroup.state != GroupState.SETTLED, ImageGroup.dispatch_no > 0
        )
    ).one()
    if request.mark_at:
        request.previous_mark_at, request.previous_mark_settled = request.mark_at, request.mark_settled
    else:
        request.previous_mark_at = request.started_at
    request.mark_at = now
    request.mark_settled = request.completed + request.failed + request.cancelled + in_open_groups

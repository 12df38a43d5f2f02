"""Reconciles a group: the completion callback and the sweeper both call it, and calling it too often is harmless.

Nothing pending: the group is settled, its counters go to the request, and the last group finishes the request. Images
due: the group is to be dispatched again. Otherwise it is reconciled again when the first image is due. Everything is
written and committed under the request's lock before anything is sent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement
from sqlmodel import Session, case, col, func, or_, select, update

from services.notifier.finish import finish
from shared.db import Database, execute
from shared.lifecycle import MAX_ATTEMPTS, GroupState, StopReason, images_of
from shared.messages import Deliver, DispatchGroup, DispatchRequest, Message
from shared.schemas.tables import ImageGroup, ProcessingRequest

RESEND_GROUP_SECONDS = 30
"""The group is reconciled again after this, in case its `DispatchGroup` is lost."""
RESEND_REQUEST_SECONDS = 5
"""The sweeper sends `DispatchRequest` after this, in case ours is lost."""
RATE_MARK_SECONDS = 30
"""Least time between two marks of how many images are settled: the rate behind `eta_seconds`."""
CLOSED_AS = {
    StopReason.CANCELLED: ("cancelled", "cancelled", "The request was cancelled before this image was done."),
    StopReason.EXPIRED: ("failed", "expired", "The request's deadline came before this image was done."),
    None: ("failed", "worker_lost", "Five attempts at this image never reported back."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """What to send after reconciling: fill the request's window, dispatch the group again, deliver an event."""

    fill_window: bool = False
    dispatch: DispatchGroup | None = None
    delivery: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
    """Reconciles in one transaction, then sends. `send` is best effort: the sweeper repeats what was not sent."""

    database: Database
    send: Callable[[Message], bool]
    public_url: str

    def run(self, request_id: UUID, group: int, *, dispatch_no: int | None) -> None:
        actions = self.database.transact(
            lambda session: reconcile(session, request_id, group, dispatch_no=dispatch_no, public_url=self.public_url)
        )
        if actions.dispatch:
            self.send(actions.dispatch)
        if actions.fill_window:
            self.send(DispatchRequest(request_id=request_id))
        if actions.delivery:
            self.send(Deliver(delivery_id=actions.delivery))


def reconcile(session: Session, request_id: UUID, group: int, *, dispatch_no: int | None, public_url: str) -> Actions:
    """`dispatch_no`: the callback's, which may settle the group but dispatches it only if it is still the group's."""
    request, state = _lock_request(session, request_id), _lock_group(session, request_id, group)
    if request is None or state is None:
        return Actions()
    _close_hopeless(session, request, group)
    pending = _pending(session, request_id, group)
    if pending["pending"] == 0:
        return _settle_group(session, request, group, public_url)
    if state.state == GroupState.WAITING:  # due images wait for room; the others may be lost meanwhile
        _set_timer(session, request_id, group, seconds=None if pending["due"] else pending["next_seconds"])
    elif not pending["due"]:
        _set_timer(session, request_id, group, seconds=pending["next_seconds"])
        # Images that wait for a retry leave room in the window, and must not hold up the groups behind them.
        return Actions(fill_window=_fill_window(session, request))
    elif dispatch_no in (None, state.dispatch_no):
        _set_timer(session, request_id, group, seconds=RESEND_GROUP_SECONDS)
        again = DispatchGroup(request_id=request_id, group=group, dispatch_no=state.dispatch_no)
        return Actions(dispatch=again)
    return Actions()


def _lock_request(session: Session, request_id: UUID) -> ProcessingRequest | None:
    return session.exec(
        select(ProcessingRequest)
        .where(ProcessingRequest.id == request_id, col(ProcessingRequest.finished_at).is_(None))
        .with_for_update(key_share=True)  # FOR NO KEY UPDATE: foreign keys to the row stay checkable
    ).one_or_none()


def _lock_group(session: Session, request_id: UUID, group: int) -> ImageGroup | None:
    return session.exec(
        select(ImageGroup)
        .where(*_is(request_id, group), ImageGroup.state != GroupState.SETTLED)
        .with_for_update(key_share=True)
    ).one_or_none()


def _is(request_id: UUID, group: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return col(ImageGroup.request_id) == request_id, col(ImageGroup.number) == group


def _close_hopeless(session: Session, request: ProcessingRequest, group: int) -> None:
    """Settle images that no worker will report: all pending ones of a stopped request, else the lost fifth attempts.

    If lost in a shared batch, the fifth attempt is repeated in isolation: a neighbour may have killed the worker.
    """
    stop = StopReason(request.stop_reason) if request.stop_reason else None
    state, code, detail = CLOSED_AS[stop]
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
            "state": state, "code": code, "detail": detail, "stopped": stop is not None,
            "max_attempts": MAX_ATTEMPTS,
        },
    )  # fmt: skip


def _pending(session: Session, request_id: UUID, group: int) -> dict[str, Any]:
    first, last = images_of(group)
    return execute(
        session,
        """
        SELECT count(*) AS pending, count(*) FILTER (WHERE not_before <= now()) AS due,
               greatest(0, extract(epoch FROM min(not_before) - now()))::float8 AS next_seconds
        FROM image
        WHERE request_id = %(id)s AND number BETWEEN %(first)s AND %(last)s AND state = 'pending'
        """,
        {"id": request_id, "first": first, "last": last},
    )[0]


def _set_timer(session: Session, request_id: UUID, group: int, *, seconds: float | None) -> None:
    """Reconcile the group again in `seconds`; None: not until it is dispatched."""
    at = None if seconds is None else func.now() + timedelta(seconds=seconds)
    session.exec(update(ImageGroup).where(*_is(request_id, group)).values({col(ImageGroup.reconcile_at): at}))


def _settle_group(session: Session, request: ProcessingRequest, group: int, public_url: str) -> Actions:
    """Move the group's counters to the request; `open_groups` tells which group is the last without counting them."""
    rows = execute(
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
        RETURNING r.open_groups
        """,
        {"id": request.id, "group": group},
    )
    _mark_rate(session, request.id)
    if rows[0]["open_groups"] == 0:
        return Actions(delivery=finish(session, request, public_url=public_url))
    return Actions(fill_window=_fill_window(session, request))


def _fill_window(session: Session, request: ProcessingRequest) -> bool:
    """Whether groups wait that there may be room for now; if so, the sweeper is to ask again soon."""
    waiting = select(ImageGroup.number).where(
        ImageGroup.request_id == request.id, ImageGroup.state == GroupState.WAITING
    )
    if request.stop_reason is not None or session.exec(waiting.limit(1)).first() is None:
        return False
    session.exec(
        update(ProcessingRequest)
        .where(col(ProcessingRequest.id) == request.id)
        .values({col(ProcessingRequest.dispatch_at): func.now() + timedelta(seconds=RESEND_REQUEST_SECONDS)})
    )
    return True


def _mark_rate(session: Session, request_id: UUID) -> None:
    """Note how many images are settled now; of the open groups only dispatched ones hold any (`group_counted`)."""
    in_open_groups = (
        select(func.coalesce(func.sum(ImageGroup.completed + ImageGroup.failed + ImageGroup.cancelled), 0))
        .where(
            ImageGroup.request_id == request_id,
            ImageGroup.state != GroupState.SETTLED,
            ImageGroup.dispatch_no > 0,
        )
        .scalar_subquery()
    )
    r = ProcessingRequest
    earliest = func.now() - timedelta(seconds=RATE_MARK_SECONDS)
    session.exec(
        update(r)
        .where(col(r.id) == request_id, or_(col(r.mark_at).is_(None), col(r.mark_at) < earliest))
        .values(
            {
                col(r.previous_mark_at): func.coalesce(r.mark_at, r.started_at),
                col(r.previous_mark_settled): case(
                    (col(r.mark_at).is_(None), r.previous_mark_settled), else_=r.mark_settled
                ),
                col(r.mark_at): func.now(),
                col(r.mark_settled): col(r.completed) + col(r.failed) + col(r.cancelled) + in_open_groups,
            }
        )
    )

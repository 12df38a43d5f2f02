"""Reconciles a group: the completion callback and the sweeper both call it, and calling it too often is harmless.

Nothing pending: the group is settled, its counters go to the request, and the last group finishes the request. Images
due: the group is to be dispatched again. Otherwise it is reconciled again when the first image is due. Everything is
written and committed under the request's lock before anything is sent. Nearly every call finds the group done, and two
statements do.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from prometheus_client import Counter
from sqlmodel import Session

from services.notifier.close import close
from services.notifier.finish import finish
from services.notifier.still_queued import is_queued
from shared.broker.backlog import Backlog
from shared.db import Database, execute
from shared.errors import WorkerLost
from shared.lifecycle import DUE, MAX_ATTEMPTS, OF_EARLIER_RUN, GroupState, images_of
from shared.messages import Deliver, DispatchGroup, DispatchRequest, Message

RESEND_GROUP = timedelta(seconds=30)
"""The group is reconciled again after this, in case its `DispatchGroup` is lost."""
RESEND_REQUEST = timedelta(seconds=5)
"""The sweeper sends `DispatchRequest` after this, in case ours is lost."""
ASKED = """
dispatch_at BETWEEN now() + %(resend)s - interval '1 s' AND now() + %(resend)s + interval '1 s'"""
"""The SQL predicate of a request for which `DispatchRequest` was sent within a second and has not been handled: that
would have moved the timer. Many groups end at once, and the message fills the room of them all. It may be true by
chance, of a timer that `dispatch` set a minute ago; then the sweeper asks within six seconds."""
BETWEEN_MARKS = timedelta(seconds=30)
"""Least time between two marks of how many images are settled: the rate behind `images_per_second`."""
LOST = WorkerLost("Five attempts at this image never reported back.")
IMAGES_LOST = Counter("halftone_images_lost_total", "Images that failed as `worker_lost`: no attempt reported back.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
    """Reconciles in one transaction, then sends. `send` is best effort: the sweeper repeats what was not sent.

    A group is not dispatched again while `backlog` may hold what was sent of it; the timer is set all the same.
    """

    database: Database
    send: Callable[[Message], bool]
    public_url: str
    backlog: Backlog = field(default_factory=Backlog)

    def run(self, request_id: UUID, group: int, *, dispatch_no: int | None) -> None:
        message = self.database.transact(
            lambda session: reconcile(session, request_id, group, dispatch_no=dispatch_no, public_url=self.public_url)
        )
        if message and not (isinstance(message, DispatchGroup) and is_queued(self.database, self.backlog, message)):
            self.send(message)

    def close(self, request_id: UUID) -> None:
        """Close some groups of a stopped request."""
        messages = self.database.transact(lambda session: close(session, request_id, public_url=self.public_url))
        for message in messages or ():
            self.send(message)


def reconcile(
    session: Session, request_id: UUID, number: int, *, dispatch_no: int | None, public_url: str
) -> Message | None:
    """Returns what is to be sent: dispatch the group again, dispatch waiting groups, or deliver the event.

    `dispatch_no`: the callback's, which may settle the group but dispatches it only if it is still the group's. A group
    of a stopped request is closed with its neighbours.
    """
    group: dict[str, Any] = {"id": request_id, "group": number} | dict(
        zip(("first", "last"), images_of(number), strict=True)
    )
    request = _lock_request(session, group)
    if request is None:
        return None
    if request["stopped"]:
        messages = close(session, request_id, public_url=public_url) or ()
        # `CloseRequest`, or the sweeper, goes on: one such chain is enough.
        return next((message for message in messages if isinstance(message, Deliver)), None)
    group["run"] = request["run"]
    settled = _settle_group(session, group)
    if settled is None:
        held = _lock_group(session, group)
        if held is None:
            return None
        _close_lost(session, group)
        settled = _settle_group(session, group)
        if settled is None:
            return _wait_or_dispatch(session, group, held, dispatch_no=dispatch_no)
    if settled["open_groups"] == 0:
        return finish(session, request_id, public_url=public_url)
    return DispatchRequest(request_id=request_id) if settled["waits"] else None


def _lock_request(session: Session, group: dict[str, Any]) -> dict[str, Any] | None:
    """None if it is finished. FOR NO KEY UPDATE: foreign keys to the row stay checkable.

    By the key alone: `finished_at IS NULL` would offer the planner the index of all open requests.
    """
    rows = execute(
        session,
        """
        SELECT run, stop_reason IS NOT NULL AS stopped, finished_at FROM processing_request
        WHERE id = %(id)s FOR NO KEY UPDATE
        """,
        group,
    )
    return rows[0] if rows and rows[0]["finished_at"] is None else None


def _lock_group(session: Session, group: dict[str, Any]) -> dict[str, Any] | None:
    """In a statement of its own: what workers settled while it waited for them is found by the next one."""
    rows = execute(
        session,
        """
        SELECT state, dispatch_no FROM image_group
        WHERE request_id = %(id)s AND number = %(group)s AND state <> 'settled' FOR NO KEY UPDATE
        """,
        group,
    )
    return rows[0] if rows else None


def _settle_group(session: Session, group: dict[str, Any]) -> dict[str, Any] | None:
    """If no image is pending, move the group's counters to the request; None if some are, or it was settled before.

    `open_groups` tells which group is the last without counting them. If groups wait, there is room for them now, and
    the sweeper is to ask again soon. An image that is settled stays so while the request runs, so the group needs no
    lock before: where the last images are being settled just now, they count as pending here.
    """
    rows = execute(
        session,
        f"""
        WITH closed AS (
            UPDATE image_group SET state = 'settled', reconcile_at = NULL, in_flight = 0
            WHERE request_id = %(id)s AND number = %(group)s AND state <> 'settled'
              AND NOT EXISTS (SELECT 1 FROM image WHERE request_id = %(id)s AND number BETWEEN %(first)s AND %(last)s
                                                    AND (state = 'pending' OR {OF_EARLIER_RUN}))
            RETURNING completed, failed, cancelled, source_bytes, rendition_bytes
        ), waiting AS (
            SELECT EXISTS (SELECT 1 FROM image_group
                           WHERE request_id = %(id)s AND state = 'waiting' AND number <> %(group)s)
               AND NOT EXISTS (SELECT 1 FROM processing_request WHERE id = %(id)s AND {ASKED}) AS waits
        )
        UPDATE processing_request r
        SET completed = r.completed + c.completed, failed = r.failed + c.failed,
            cancelled = r.cancelled + c.cancelled, source_bytes = r.source_bytes + c.source_bytes,
            rendition_bytes = r.rendition_bytes + c.rendition_bytes, open_groups = r.open_groups - 1,
            dispatch_at = CASE WHEN w.waits THEN now() + %(resend)s ELSE r.dispatch_at END
        FROM closed c, waiting w WHERE r.id = %(id)s
        RETURNING r.open_groups, w.waits, coalesce(r.mark_at <= now() - %(between_marks)s, true) AS mark
        """,  # noqa: S608 - a constant of ours
        group | {"resend": RESEND_REQUEST, "between_marks": BETWEEN_MARKS},
    )
    if rows and rows[0]["mark"]:
        _mark_rate(session, group)
    return rows[0] if rows else None


def _close_lost(session: Session, group: dict[str, Any]) -> None:
    """Settle images that no worker will report: the lost fifth attempts.

    If lost in a shared batch, the fifth attempt is repeated in isolation: a neighbour may have killed the worker.
    """
    closed = execute(
        session,
        """
        WITH again AS (
            UPDATE image SET attempts = attempts - 1, isolated = true, claimed_by = NULL
            WHERE request_id = %(id)s AND number BETWEEN %(first)s AND %(last)s AND state = 'pending'
              AND run = %(run)s
              AND attempts >= %(max_attempts)s AND not_before <= now() AND NOT isolated
        ), closed AS (
            UPDATE image SET state = 'failed', claimed_by = NULL, error_code = %(code)s, error_detail = %(detail)s,
                             settled_at = now()
            WHERE request_id = %(id)s AND number BETWEEN %(first)s AND %(last)s AND state = 'pending'
              AND run = %(run)s
              AND attempts >= %(max_attempts)s AND not_before <= now() AND isolated
            RETURNING 1
        ), total AS (SELECT count(*) AS closed FROM closed)
        UPDATE image_group g
        SET failed = g.failed + t.closed, in_flight = greatest(0, g.in_flight - t.closed)
        FROM total t
        WHERE g.request_id = %(id)s AND g.number = %(group)s AND t.closed > 0
        RETURNING t.closed
        """,
        group | {"code": LOST.code, "detail": LOST.detail, "max_attempts": MAX_ATTEMPTS},
    )
    IMAGES_LOST.inc(closed[0]["closed"] if closed else 0)  # before the commit: once more where that is done again


def _wait_or_dispatch(
    session: Session, group: dict[str, Any], held: dict[str, Any], *, dispatch_no: int | None
) -> Message | None:
    """Images are pending: set the timer to when the first one is due, or have those that are due dispatched."""
    pending = _pending(session, group)
    if held["state"] == GroupState.WAITING:  # due images wait for room; the others may be lost meanwhile
        _set_timer(session, group, None if pending["due"] else pending["next"])
    elif not pending["due"]:
        _set_timer(session, group, pending["next"])
        # Images that wait for a retry leave room in the window, and must not hold up the groups behind them.
        return _fill_window(session, group)
    elif dispatch_no in (None, held["dispatch_no"]):
        _set_timer(session, group, pending["resend"])
        return DispatchGroup(request_id=group["id"], group=group["group"], dispatch_no=held["dispatch_no"])
    return None


def _pending(session: Session, group: dict[str, Any]) -> dict[str, Any]:
    return execute(
        session,
        f"""
        SELECT count(*) FILTER (WHERE {DUE}) AS due, min(not_before) AS next, now() + %(resend)s AS resend
        FROM image
        WHERE request_id = %(id)s AND number BETWEEN %(first)s AND %(last)s AND state = 'pending'
        """,  # noqa: S608 - a constant of ours
        group | {"resend": RESEND_GROUP},
    )[0]


def _set_timer(session: Session, group: dict[str, Any], at: datetime | None) -> None:
    execute(
        session,
        "UPDATE image_group SET reconcile_at = %(at)s WHERE request_id = %(id)s AND number = %(group)s",
        group | {"at": at},
    )


def _fill_window(session: Session, group: dict[str, Any]) -> DispatchRequest | None:
    """If groups wait, there may be room for them now; the sweeper is to ask again soon."""
    waits = execute(
        session,
        f"""
        UPDATE processing_request SET dispatch_at = now() + %(resend)s
        WHERE id = %(id)s AND EXISTS (SELECT 1 FROM image_group WHERE request_id = %(id)s AND state = 'waiting')
          AND ({ASKED}) IS NOT TRUE
        RETURNING 1
        """,  # noqa: S608 - a constant of ours
        group | {"resend": RESEND_REQUEST},
    )
    return DispatchRequest(request_id=group["id"]) if waits else None


def _mark_rate(session: Session, group: dict[str, Any]) -> None:
    """Note how many images are settled now; of the open groups only dispatched ones hold any (`group_counted`)."""
    execute(
        session,
        """
        UPDATE processing_request r
        SET previous_mark_at = coalesce(r.mark_at, r.started_at),
            previous_mark_settled = CASE WHEN r.mark_at IS NULL THEN r.previous_mark_settled ELSE r.mark_settled END,
            mark_at = now(),
            mark_settled = r.completed + r.failed + r.cancelled + (
                SELECT coalesce(sum(completed + failed + cancelled), 0) FROM image_group
                WHERE request_id = %(id)s AND state <> 'settled' AND dispatch_no > 0
            )
        WHERE r.id = %(id)s
        """,
        group,
    )

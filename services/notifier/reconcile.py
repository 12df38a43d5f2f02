"""Reconcile a group (step 8): the one function that the completion callback and the sweeper call.

Nothing pending: the group is settled, its counters go to the request, and the last group finishes the request. Images
due: they are to be dispatched again. Otherwise: reconcile again when the first is due. Marks under the request's lock,
commits, and leaves the sending to its caller.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlmodel import Session

from services.notifier.finish import finish
from shared.db import execute
from shared.lifecycle import StopReason, images_of
from shared.messages import DispatchGroup

RECONCILE_AGAIN_SECONDS = 30
"""Until a group is looked at again whose `DispatchGroup` may have been lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """What reconciling found to do: fill the request's window, dispatch the group again, deliver an event."""

    fill_window: bool = False
    dispatch: DispatchGroup | None = None
    delivery: UUID | None = None


def reconcile(session: Session, request_id: UUID, group: int, *, dispatch_no: int | None, public_url: str) -> Actions:
    """`dispatch_no`: the one that the callback names, which may settle any group but dispatch only its own."""
    request, state = _lock_request(session, request_id), _lock_group(session, request_id, group)
    if request is None or state is None:
        return Actions()
    _close_hopeless(session, request, group)
    pending = _pending(session, request, group)
    if pending["pending"] == 0:
        return _settle_group(session, request, group, public_url)
    if state["state"] == "waiting":  # what is due waits for room; what is not may be lost meanwhile
        _reconcile_at(session, request_id, group, seconds=None if pending["due"] else pending["next_seconds"])
        return Actions()
    if pending["due"] and dispatch_no in (None, state["dispatch_no"]):
        _reconcile_at(session, request_id, group, seconds=RECONCILE_AGAIN_SECONDS)
        again = DispatchGroup(request_id=request_id, group=group, dispatch_no=state["dispatch_no"])
        return Actions(dispatch=again)
    if not pending["due"]:
        _reconcile_at(session, request_id, group, seconds=pending["next_seconds"])
        # What waits for a retry leaves room, and must not hold up the groups behind it.
        return Actions(fill_window=_has_waiting(session, request_id) and _wants_dispatch(session, request_id))
    return Actions()


def _lock_request(session: Session, request_id: UUID) -> dict[str, Any] | None:
    rows = execute(
        session,
        """
        SELECT id, run, stop_reason FROM processing_request WHERE id = %(id)s AND finished_at IS NULL
        FOR NO KEY UPDATE
        """,
        {"id": request_id},
    )
    return rows[0] if rows else None


def _lock_group(session: Session, request_id: UUID, group: int) -> dict[str, Any] | None:
    rows = execute(
        session,
        """
        SELECT state, dispatch_no FROM image_group
        WHERE request_id = %(id)s AND number = %(group)s AND state <> 'settled' FOR NO KEY UPDATE
        """,
        {"id": request_id, "group": group},
    )
    return rows[0] if rows else None


def _close_hopeless(session: Session, request: dict[str, Any], group: int) -> None:
    """Close what nobody will report: all that is pending of a stopped request, else the fifth attempt that was lost.

    One that was lost in company may have been another's victim: it has its fifth attempt again, isolated.
    """
    stop = request["stop_reason"]
    state = "cancelled" if stop == StopReason.CANCELLED else "failed"
    code, detail = {
        StopReason.CANCELLED: ("cancelled", "The request was cancelled before this image was done."),
        StopReason.EXPIRED: ("expired", "The request's deadline came before this image was done."),
        None: ("worker_lost", "Five attempts at this image never reported back."),
    }[stop]
    first, last = images_of(group)
    execute(
        session,
        """
        WITH again AS (
            UPDATE image SET attempts = attempts - 1, isolated = true, claimed_by = NULL
            WHERE request_id = %(id)s AND number BETWEEN %(first)s AND %(last)s AND state = 'pending'
              AND run = %(run)s AND NOT %(stopped)s AND attempts >= 5 AND not_before <= now() AND NOT isolated
        ), closed AS (
            UPDATE image SET state = %(state)s, claimed_by = NULL, error_code = %(code)s, error_detail = %(detail)s
            WHERE request_id = %(id)s AND number BETWEEN %(first)s AND %(last)s AND state = 'pending'
              AND run = %(run)s AND (%(stopped)s OR attempts >= 5 AND not_before <= now() AND isolated)
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
            "id": request["id"], "run": request["run"], "group": group, "first": first, "last": last,
            "state": state, "code": code, "detail": detail, "stopped": stop is not None,
        },
    )  # fmt: skip


def _pending(session: Session, request: dict[str, Any], group: int) -> dict[str, Any]:
    first, last = images_of(group)
    return execute(
        session,
        """
        SELECT count(*) AS pending, count(*) FILTER (WHERE not_before <= now()) AS due,
               greatest(0, extract(epoch FROM min(not_before) - now()))::float8 AS next_seconds
        FROM image
        WHERE request_id = %(id)s AND number BETWEEN %(first)s AND %(last)s AND state = 'pending'
        """,
        {"id": request["id"], "first": first, "last": last},
    )[0]


def _reconcile_at(session: Session, request_id: UUID, group: int, *, seconds: float | None) -> None:
    """None: no more, until it is dispatched."""
    execute(
        session,
        """
        UPDATE image_group SET reconcile_at = now() + make_interval(secs => %(seconds)s)
        WHERE request_id = %(id)s AND number = %(group)s
        """,
        {"id": request_id, "group": group, "seconds": seconds},
    )


def _settle_group(session: Session, request: dict[str, Any], group: int, public_url: str) -> Actions:
    """Move the group's counters to the request, and a rate mark with them every 30 seconds."""
    rows = execute(
        session,
        """
        WITH closed AS (
            UPDATE image_group SET state = 'settled', reconcile_at = NULL, in_flight = 0
            WHERE request_id = %(id)s AND number = %(group)s
            RETURNING completed, failed, cancelled, source_bytes, rendition_bytes
        )
        UPDATE processing_request r
        SET completed = r.completed + c.completed, failed = r.failed + c.failed,
            cancelled = r.cancelled + c.cancelled, source_bytes = r.source_bytes + c.source_bytes,
            rendition_bytes = r.rendition_bytes + c.rendition_bytes
        FROM closed c WHERE r.id = %(id)s
        RETURNING (SELECT count(*) FILTER (WHERE state = 'waiting') FROM image_group
                   WHERE request_id = %(id)s AND state <> 'settled') AS waiting,
                  (SELECT count(*) FROM image_group
                   WHERE request_id = %(id)s AND state <> 'settled' AND number <> %(group)s) AS open
        """,
        {"id": request["id"], "group": group},
    )
    _mark_rate(session, request["id"])
    if rows[0]["open"] == 0:
        return Actions(delivery=finish(session, request["id"], public_url=public_url))
    return Actions(fill_window=_wants_dispatch(session, request["id"]) if rows[0]["waiting"] else False)


def _has_waiting(session: Session, request_id: UUID) -> bool:
    rows = execute(
        session,
        "SELECT 1 FROM image_group WHERE request_id = %(id)s AND state = 'waiting' LIMIT 1",
        {"id": request_id},
    )
    return bool(rows)


def _wants_dispatch(session: Session, request_id: UUID) -> bool:
    """There may be room in the window. Should the message be lost, the sweeper sends it again in five seconds."""
    execute(
        session,
        """
        UPDATE processing_request SET dispatch_at = now() + interval '5 s'
        WHERE id = %(id)s AND stop_reason IS NULL
        """,
        {"id": request_id},
    )
    return True


def _mark_rate(session: Session, request_id: UUID) -> None:
    execute(
        session,
        """
        UPDATE processing_request
        SET previous_mark_at = coalesce(mark_at, started_at),
            previous_mark_settled = CASE WHEN mark_at IS NULL THEN previous_mark_settled ELSE mark_settled END,
            mark_at = now(),
            mark_settled = completed + failed + cancelled + (
                SELECT coalesce(sum(g.completed + g.failed + g.cancelled), 0) FROM image_group g
                WHERE g.request_id = %(id)s AND g.state <> 'settled')
        WHERE id = %(id)s AND (mark_at IS NULL OR mark_at < now() - interval '30 s')
        """,
        {"id": request_id},
    )

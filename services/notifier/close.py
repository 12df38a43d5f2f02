"""Closes a stopped request, cancelled or expired, some groups in a transaction: a million images hold no lock for long.

`CloseRequest` goes on from one transaction to the next; where that message was lost, the sweeper does.
"""

from typing import LiteralString
from uuid import UUID

from sqlmodel import Session

from services.notifier.finish import finish
from shared import lifecycle
from shared.db import execute
from shared.errors import Cancelled, Expired, ImageError
from shared.lifecycle import OF_EARLIER_RUN, ImageState, StopReason, images_of
from shared.messages import CloseRequest, Message

GROUPS_AT_ONCE = 32
"""Up to 4,096 images: some 50 ms."""
CLOSED_AS: dict[StopReason, tuple[ImageState, ImageError]] = {
    StopReason.CANCELLED: (ImageState.CANCELLED, Cancelled("The request was cancelled before this image was done.")),
    StopReason.EXPIRED: (ImageState.FAILED, Expired("The request's deadline came before this image was done.")),
}


def close(session: Session, request_id: UUID, *, public_url: str, wait: bool = True) -> list[Message] | None:
    """Settle some open groups of a stopped request with all that is left in them.

    Returns what is to be sent: `CloseRequest` if more are open, `Deliver` at the end of a request with a webhook; None
    if there is nothing to close, or, without `wait`, another transaction holds the request.
    """
    locked = execute(
        session,
        f"""
        SELECT run, stop_reason FROM processing_request
        WHERE id = %(id)s AND finished_at IS NULL AND stop_reason IS NOT NULL
        FOR NO KEY UPDATE {"" if wait else "SKIP LOCKED"}
        """,  # noqa: S608 - a constant of ours
        {"id": request_id},
    )
    if not locked:
        return None
    run, reason = locked[0]["run"], StopReason(locked[0]["stop_reason"])
    first = _first_open(session, request_id)
    if first is not None and _settle_groups(session, request_id, run, reason, first, first + GROUPS_AT_ONCE - 1):
        return [CloseRequest(request_id=request_id)]
    deliver = finish(session, request_id, public_url=public_url)
    return [deliver] if deliver else []


def _first_open(session: Session, request_id: UUID) -> int | None:
    """Two looks into the index `group_open`, which has an order only within a state."""
    rows = execute(
        session,
        """
        SELECT least(
            (SELECT min(number) FROM image_group WHERE request_id = %(id)s AND state = 'waiting'),
            (SELECT min(number) FROM image_group WHERE request_id = %(id)s AND state = 'dispatched')
        ) AS first
        """,
        {"id": request_id},
    )
    first: int | None = rows[0]["first"]
    return first


def _settle_groups(session: Session, request_id: UUID, run: int, reason: StopReason, first: int, last: int) -> int:
    """Close the pending images of these groups and settle the groups; returns how many of the request are open still.

    The groups are locked first, in a statement of their own: a worker that holds one of them settles images meanwhile.
    """
    state, error = CLOSED_AS[reason]
    params = {
        "id": request_id, "run": run, "first": first, "last": last, "size": lifecycle.IMAGES_PER_GROUP,
        "first_image": images_of(first)[0], "last_image": images_of(last)[1],
        "state": state.value, "code": error.code, "detail": error.detail,
    }  # fmt: skip
    execute(
        session,
        """
        SELECT 1 FROM image_group WHERE request_id = %(id)s AND number BETWEEN %(first)s AND %(last)s
        ORDER BY number FOR NO KEY UPDATE
        """,
        params,
    )
    open_groups: int = execute(session, _SETTLE_GROUPS, params)[0]["open_groups"]
    return open_groups


_SETTLE_GROUPS: LiteralString = f"""
WITH closed AS (
    UPDATE image SET state = %(state)s, run = %(run)s, claimed_by = NULL, error_code = %(code)s,
                     error_detail = %(detail)s, attempts = CASE WHEN run < %(run)s THEN 0 ELSE attempts END,
                     settled_at = now(), fetch_ms = CASE WHEN run < %(run)s THEN NULL ELSE fetch_ms END
    WHERE request_id = %(id)s AND number BETWEEN %(first_image)s AND %(last_image)s
      AND (state = 'pending' OR {OF_EARLIER_RUN})
    RETURNING (number - 1) / %(size)s + 1 AS number
), counted AS (
    SELECT n AS number, count(c.number) AS closed
    FROM generate_series(%(first)s::int, %(last)s::int) AS n LEFT JOIN closed c ON c.number = n GROUP BY n
), settled AS (
    UPDATE image_group g
    SET state = 'settled', reconcile_at = NULL, in_flight = 0,
        failed = g.failed + CASE WHEN %(state)s = 'failed' THEN c.closed ELSE 0 END,
        cancelled = g.cancelled + CASE WHEN %(state)s = 'cancelled' THEN c.closed ELSE 0 END
    FROM counted c
    WHERE g.request_id = %(id)s AND g.number BETWEEN %(first)s AND %(last)s AND g.number = c.number
      AND g.state <> 'settled'
    RETURNING g.failed, g.cancelled, g.dispatch_no >= 0 AS counts, g.completed, g.source_bytes, g.rendition_bytes
), total AS (
    SELECT count(*) AS groups, sum(failed) AS failed, sum(cancelled) AS cancelled,
           coalesce(sum(completed) FILTER (WHERE counts), 0) AS completed,
           coalesce(sum(source_bytes) FILTER (WHERE counts), 0) AS source_bytes,
           coalesce(sum(rendition_bytes) FILTER (WHERE counts), 0) AS rendition_bytes
    FROM settled
)
UPDATE processing_request r
SET completed = r.completed + t.completed, failed = r.failed + t.failed,
    cancelled = r.cancelled + t.cancelled, source_bytes = r.source_bytes + t.source_bytes,
    rendition_bytes = r.rendition_bytes + t.rendition_bytes, open_groups = r.open_groups - t.groups
FROM total t WHERE r.id = %(id)s
RETURNING r.open_groups
"""  # noqa: S608 - a constant of ours

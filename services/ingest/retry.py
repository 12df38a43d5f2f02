"""Retry a finished request: its failed and cancelled images alone run again, as the next run.

The counters of a group that is open count on the group alone, so whatever a reopened group had added to the request is
taken off it again. The way out of a terminal state is `run` growing in the same statement; a trigger refuses any other.
"""

from datetime import timedelta
from uuid import UUID

from sqlmodel import Session

from services.ingest.locked import is_terminal, locked_request
from shared.db import execute
from shared.http.problems import Problem
from shared.schemas.tables import ProcessingRequest


def retry(session: Session, account: UUID, request_id: UUID, *, deadline: timedelta) -> ProcessingRequest:
    """Start the next run.

    Raises:
        Problem: 404, 409 if it is not terminal or nothing failed.

    """
    request = locked_request(session, account, request_id)
    if not is_terminal(request):
        raise Problem(409, "not_terminal", "The request is still running; retry it once it is finished.")
    if request.failed + request.cancelled == 0:
        raise Problem(409, "nothing_to_retry", "No image of the request failed or was cancelled.")
    run = request.run + 1
    _reopen_groups(session, request_id)
    _reopen_images(session, request_id, run)
    _begin_run(session, request_id, run, settled=request.completed, deadline=deadline)
    session.refresh(request)
    return request


def _reopen_groups(session: Session, request_id: UUID) -> None:
    """Groups with anything failed or cancelled wait again; the request gives back what they had added to it."""
    execute(
        session,
        """
        WITH reopened AS (
            SELECT number, completed, failed, cancelled, source_bytes, rendition_bytes FROM image_group
            WHERE request_id = %(id)s AND failed + cancelled > 0 ORDER BY number FOR UPDATE
        ), taken AS (
            SELECT count(*) AS groups, sum(completed) AS completed, sum(failed) AS failed, sum(cancelled) AS cancelled,
                   sum(source_bytes) AS source_bytes, sum(rendition_bytes) AS rendition_bytes FROM reopened
        ), groups AS (
            UPDATE image_group g SET state = 'waiting', reconcile_at = NULL, reconcile_delay = 60, in_flight = 0,
                                     failed = 0, cancelled = 0
            FROM reopened o WHERE g.request_id = %(id)s AND g.number = o.number
        )
        UPDATE processing_request r
        SET completed = r.completed - t.completed, failed = r.failed - t.failed, cancelled = r.cancelled - t.cancelled,
            source_bytes = r.source_bytes - t.source_bytes, rendition_bytes = r.rendition_bytes - t.rendition_bytes,
            open_groups = r.open_groups + t.groups
        FROM taken t WHERE r.id = %(id)s
        """,
        {"id": request_id},
    )


def _reopen_images(session: Session, request_id: UUID, run: int) -> None:
    execute(
        session,
        """
        UPDATE image SET state = 'pending', run = %(run)s, attempts = 0, not_before = now(), claimed_by = NULL,
                         isolated = false, error_code = NULL, error_detail = NULL
        WHERE request_id = %(id)s AND state IN ('failed', 'cancelled')
        """,
        {"id": request_id, "run": run},
    )


def _begin_run(session: Session, request_id: UUID, run: int, *, settled: int, deadline: timedelta) -> None:
    """`settled`: images that the runs before have completed; the rate of this run does not count them."""
    execute(
        session,
        """
        UPDATE processing_request
        SET run = %(run)s, status = 'pending', stop_reason = NULL, started_at = NULL, finished_at = NULL,
            dispatch_at = now(), deadline_at = now() + %(deadline)s, sources_deleted_at = NULL,
            mark_at = NULL, mark_settled = 0, previous_mark_at = NULL, previous_mark_settled = %(settled)s
        WHERE id = %(id)s
        """,
        {"id": request_id, "run": run, "settled": settled, "deadline": deadline},
    )

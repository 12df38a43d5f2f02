"""Cancel a request: from here on nothing of it is claimed or dispatched, and the notifier's look closes its groups.

Images that are being compressed this moment may still be completed; they settle first or not at all.
"""

from uuid import UUID

from sqlmodel import Session

from services.ingest.locked import is_terminal, locked_request
from shared.db import execute
from shared.http.problems import Problem
from shared.lifecycle import StopReason
from shared.schemas.tables import ProcessingRequest

PROMPT_GROUPS = 8
"""Open groups that are looked at right away; the sweeper comes for the others within seconds."""


def cancel(session: Session, account: UUID, request_id: UUID) -> tuple[ProcessingRequest, list[int]]:
    """The request, stopping, and some of its open groups. Cancelling twice is the same as once.

    Raises:
        Problem: 404, 409 if it is terminal.

    """
    request = locked_request(session, account, request_id)
    if is_terminal(request):
        raise Problem(409, "terminal", "The request is finished; there is nothing left to cancel.")
    request.stop_reason = request.stop_reason or StopReason.CANCELLED
    request.dispatch_at = None
    session.flush()
    groups = execute(
        session,
        """
        UPDATE image_group SET reconcile_at = now()
        WHERE request_id = %(id)s AND number IN (
            SELECT number FROM image_group WHERE request_id = %(id)s AND state <> 'settled' ORDER BY number FOR UPDATE
        )
        RETURNING number
        """,
        {"id": request_id},
    )
    return request, sorted(group["number"] for group in groups)[:PROMPT_GROUPS]

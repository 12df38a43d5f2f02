"""Erase the rows of a finished request, its pending deliveries among them; its files only after the commit.

Should the process die in between, the housekeeper removes files of requests that are unknown.
"""

from uuid import UUID

from sqlmodel import Session

from services.ingest.locked import is_terminal, locked_request
from shared.db import execute
from shared.http.problems import Problem
from shared.lifecycle import StopReason


def erase_rows(session: Session, account: UUID, request_id: UUID) -> None:
    """Delete the request and all that hangs on it.

    Raises:
        Problem: 404, 409 while it is running.

    """
    request = locked_request(session, account, request_id)
    if not is_terminal(request):
        cancelled = request.stop_reason == StopReason.CANCELLED
        now = "being cancelled; try again in a moment" if cancelled else "still running; cancel it first"
        raise Problem(409, "not_terminal", f"The request is {now}.")
    execute(session, "DELETE FROM processing_request WHERE id = %(id)s", {"id": request_id})
    session.expunge(request)

"""Erase a finished request: its rows, its pending deliveries, and after the commit its files.

Should the process die in between, the sweeper removes files of requests that are unknown.
"""

from uuid import UUID

from sqlmodel import Session

from services.ingest.locked import is_terminal, locked_request
from shared.blobs import Blobs
from shared.db import execute
from shared.errors import StorageError
from shared.lifecycle import StopReason
from shared.log import get_logger
from shared.problems import Problem

log = get_logger(__name__)


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


def erase_files(blobs: Blobs, request_id: UUID) -> None:
    """Remove its files; a store that is away just now is the sweeper's affair."""
    try:
        blobs.delete_prefix(str(request_id))
    except StorageError as error:
        log.warning("files_not_erased", request_id=str(request_id), error=str(error))

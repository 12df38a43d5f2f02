"""What was written for a request that was deleted meanwhile: whoever finds no image of its own asks, and erases it.

DELETE and retention commit first and remove files then; a worker writes files first and asks then. So whoever comes
last finds them all. A killed worker is followed by its message; where that is lost too, housekeeping finds the files.
"""

from uuid import UUID

from shared.blobs import Blobs, erase_files, identity
from shared.db import Database, execute


def erase_if_deleted(database: Database, blobs: Blobs, request_id: UUID) -> None:
    """Erase the request's files, unless it is still there: cancelled perhaps, or another worker's.

    Only where database and store belong together: a wrong database knows no request at all.
    """
    known = database.transact(
        lambda session: execute(session, "SELECT 1 FROM processing_request WHERE id = %(id)s", {"id": request_id})
    )
    if not known and identity.is_shared(database, blobs):
        erase_files(blobs, request_id)

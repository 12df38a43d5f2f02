"""The id that a database and its blob store share: files are cleaned up only in a store with the database's own id.

A wrong or empty database knows none of the requests in a store; without this check it would delete all their files.
"""

from uuid import UUID

from sqlmodel import Session

from shared.blobs import BlobMissing, Blobs
from shared.blobs.store import STORE_ID
from shared.db import Database, execute
from shared.errors import StorageError
from shared.ids import parse_id
from shared.log import get_logger

log = get_logger(__name__)


def introduce(database: Database, blobs: Blobs) -> None:
    """Give the database's id to a store that has neither an id nor a request; call this before anything is stored.

    Replicas that do it at the same time write the same. A store that cannot be written to stays without an id, which
    only disables the cleaning up.
    """
    ours = database.transact(of_database)
    try:
        if of_store(blobs) is None and not any(parse_id(name) for name in blobs.folders()):
            blobs.put(STORE_ID, str(ours).encode())
    except StorageError as error:
        log.warning("store_not_introduced", error=str(error))


def is_shared(database: Database, blobs: Blobs) -> bool:
    """Whether both have the same id; False if the store cannot be read."""
    try:
        return of_store(blobs) == database.transact(of_database)
    except StorageError as error:
        log.warning("store_not_asked", error=str(error))
        return False


def of_database(session: Session) -> UUID:
    found: UUID = execute(session, "SELECT store_id FROM store_identity")[0]["store_id"]
    return found


def of_store(blobs: Blobs) -> UUID | None:
    """None if it has no id. Raises StorageError."""
    try:
        return parse_id(blobs.get(STORE_ID).decode(errors="replace").strip())
    except BlobMissing:
        return None

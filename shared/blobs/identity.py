"""The id that a database and its blob store share: only who finds its own id in a store may clear up there.

A wrong or empty database knows none of the requests whose files it sees; without this it would delete them all.
"""

from uuid import UUID

from sqlmodel import Session

from shared.blobs import BlobMissing, Blobs
from shared.db import Database, execute
from shared.errors import StorageError
from shared.ids import parse_id
from shared.log import get_logger

log = get_logger(__name__)
KEY = "store-id"
"""At the top of the store: no request's folder, and nothing that the gateway serves."""


def introduce(database: Database, blobs: Blobs) -> None:
    """Give a store that holds no request and has no id the id of our database; call it before anything is stored.

    However many replicas do it at once, they write the same. A store that cannot be written to just now stays without
    an id, which stops nothing but the clearing up.
    """
    ours = database.transact(of_database)
    try:
        if of_store(blobs) is None and not any(parse_id(name) for name in blobs.folders()):
            blobs.put(KEY, str(ours).encode())
    except StorageError as error:
        log.warning("store_not_introduced", error=str(error))


def is_shared(database: Database, blobs: Blobs) -> bool:
    """Whether both have the same id. A store that cannot be asked counts as a stranger's."""
    try:
        return of_store(blobs) == database.transact(of_database)
    except StorageError as error:
        log.warning("store_not_asked", error=str(error))
        return False


def of_database(session: Session) -> UUID:
    found: UUID = execute(session, "SELECT store_id FROM store_identity")[0]["store_id"]
    return found


def of_store(blobs: Blobs) -> UUID | None:
    """None where it has none. Raises StorageError."""
    try:
        return parse_id(blobs.get(KEY).decode(errors="replace").strip())
    except BlobMissing:
        return None

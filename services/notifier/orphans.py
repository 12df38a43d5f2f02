"""Deletes folders whose request is unknown: deleted while a worker still wrote to them, or only half deleted.

Nothing is deleted in a store that does not have our database's id: another database knows none of its requests.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from uuid import UUID

from sqlmodel import Session, col, select

from services.notifier.periodic import TimeBudget
from shared.blobs import Blobs, identity
from shared.blobs.store import STORE_ID
from shared.db import Database
from shared.errors import StorageError
from shared.ids import parse_id
from shared.log import get_logger
from shared.schemas.tables import ProcessingRequest

log = get_logger(__name__)
EVERY_SECONDS = 3600.0
IDS_AT_ONCE = 1000


class Orphans:
    """`delete_orphans` goes through the whole store, once an hour."""

    def __init__(self, database: Database, blobs: Blobs, *, hours: float) -> None:
        self._database = database
        self._blobs = blobs
        self._kept = timedelta(hours=hours)
        self._next = time.monotonic()
        self._warned = False

    def delete_orphans(self, budget: TimeBudget) -> int:
        """Delete unknown folders that were not written to for long; the next call goes on where the time ran out."""
        if time.monotonic() < self._next or not self._is_ours():
            return 0
        deleted = 0
        for request_id in self._unknown():
            deleted += self._delete_if_old(str(request_id))
            if deleted and budget.is_spent():  # one at least: just to list a large store may take as long
                return deleted
        self._next = time.monotonic() + EVERY_SECONDS
        return deleted

    def _delete_if_old(self, folder: str) -> bool:
        try:
            changed = self._blobs.changed_at(folder)
            if changed is None or changed > datetime.now(UTC) - self._kept:
                return False
            self._blobs.delete_prefix(folder)
        except StorageError as error:
            log.warning("not_deleted", request_id=folder, error=str(error))
            return False
        return True

    def _unknown(self) -> Iterator[UUID]:
        """The age is read for unknown folders alone: most folders belong to a request."""
        ids = (found for name in self._blobs.folders() if (found := parse_id(name)) and str(found) == name)
        while some := list(islice(ids, IDS_AT_ONCE)):
            known = self._database.transact(partial(_known, ids=some))
            yield from (request_id for request_id in some if request_id not in known)

    def _is_ours(self) -> bool:
        ours, theirs = self._database.transact(identity.of_database), identity.of_store(self._blobs)
        if ours != theirs and not self._warned:
            self._warned = True
            log.warning(
                "orphans_not_deleted",
                reason=f"the store has the id {theirs}, of another database" if theirs else "the store has no id",
                advice=f"Check DATABASE_URL and BLOB_URL. If this database alone uses this store: "
                f"write {ours} into the file {STORE_ID} at its top.",
            )
        return ours == theirs


def _known(session: Session, ids: list[UUID]) -> set[UUID]:
    return set(session.exec(select(ProcessingRequest.id).where(col(ProcessingRequest.id).in_(ids))))

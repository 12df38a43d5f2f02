"""Housekeeping: a thread of its own that deletes what has been kept long enough; a large request may take minutes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Thread
from uuid import UUID

import psycopg
from sqlalchemy.exc import DBAPIError

from services.notifier import retention
from services.notifier.orphans import Orphans
from services.notifier.periodic import Turn, each, play
from services.notifier.settings import NotifierSettings
from shared.blobs import Blobs
from shared.db import Database
from shared.errors import StorageError
from shared.log import get_logger

log = get_logger(__name__)
EVERY_SECONDS = 300.0
TURN_SECONDS = 60.0
TEMPORARY_SECONDS = 3600.0


@dataclass(slots=True, kw_only=True)
class Housekeeper:
    """What keeping house needs from its process."""

    database: Database
    blobs: Blobs
    settings: NotifierSettings
    stop: Event
    _orphans: Orphans = field(init=False)
    _later: set[UUID] = field(init=False, default_factory=set)  # what failed; tried again once all the rest is done

    def __post_init__(self) -> None:
        self._orphans = Orphans(self.database, self.blobs, hours=self.settings.orphan_hours)

    def start(self) -> Thread:
        """Keep house in a daemon thread until `stop` is set."""
        thread = Thread(target=self._run, name="housekeeper", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        unfinished = True
        while not self.stop.wait(self.settings.sweep_seconds if unfinished else EVERY_SECONDS):
            unfinished = self.keep_house()

    def keep_house(self) -> bool:
        """One round; True where there is more to do soon."""
        duties = (self.delete_sources, self.forget_requests, self.delete_orphans, self.delete_temporary)
        unfinished = play(duties, seconds=TURN_SECONDS, stop=self.stop)
        if not unfinished:
            self._later.clear()
        return unfinished

    def delete_sources(self, turn: Turn) -> int:
        """Files first: once it is written down that they are deleted, nobody looks for them again."""
        hours = self.settings.source_retention_hours

        def delete(request_id: UUID) -> None:
            self.blobs.delete_prefix(f"{request_id}/source")
            self.database.transact(lambda session: retention.sources_deleted(session, request_id, hours=hours))

        return each(
            self.database,
            lambda session: retention.sources_to_delete(session, hours=hours, but=self._later),
            lambda request_id: self._try(delete, request_id),
            turn,
        )

    def forget_requests(self, turn: Turn) -> int:
        """Rows first: files without a row are orphans, rows without files a broken promise."""
        days = self.settings.retention_days
        if days is None:
            return 0

        def forget(request_id: UUID) -> None:
            if self.database.transact(lambda session: retention.forget(session, request_id, days=days)):
                self.blobs.delete_prefix(str(request_id))
            else:
                self._later.add(request_id)

        return each(
            self.database,
            lambda session: retention.requests_to_forget(session, days=days, but=self._later),
            lambda request_id: self._try(forget, request_id),
            turn,
        )

    def delete_orphans(self, turn: Turn) -> int:
        return self._orphans.delete(turn)

    def delete_temporary(self, _: Turn) -> int:
        """Files that a crash left half written."""
        return self.blobs.sweep_temporary(TEMPORARY_SECONDS)

    def _try(self, act: Callable[[UUID], None], request_id: UUID) -> bool:
        """One request that cannot be deleted just now does not stop the others."""
        try:
            act(request_id)
        except (StorageError, DBAPIError, psycopg.Error) as error:
            log.warning("not_deleted", request_id=str(request_id), error=str(error)[:500])
            self._later.add(request_id)
        return True

"""Housekeeping: deletes what has been kept long enough, in a thread of its own as one large request may take minutes.

Several notifiers do it at once: files are deleted before that is recorded, so now and then twice, but never forgotten.
Only the database's clock counts.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event, Thread
from uuid import UUID

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, func, update

from services.notifier.orphans import Orphans
from services.notifier.periodic import PeriodicTasks, TimeBudget, for_each, repeat
from services.notifier.settings import NotifierSettings
from shared.blobs import Blobs
from shared.db import Database, allow_time, execute
from shared.errors import StorageError
from shared.log import get_logger
from shared.schemas.tables import ProcessingRequest

log = get_logger(__name__)
EVERY_SECONDS = 300.0
TASK_SECONDS = 60.0
TEMPORARY_SECONDS = 3600.0
FORGET_SECONDS = 600
"""Time limit for deleting the rows of one request: there may be millions."""


@dataclass(slots=True, kw_only=True)
class Housekeeper:
    """What housekeeping needs from its process."""

    database: Database
    blobs: Blobs
    settings: NotifierSettings
    stop: Event
    _orphans: Orphans = field(init=False)
    _failed: set[UUID] = field(init=False, default_factory=set)  # tried again once everything else is done

    def __post_init__(self) -> None:
        self._orphans = Orphans(self.database, self.blobs, hours=self.settings.orphan_hours)

    def start(self) -> Thread:
        return repeat(
            self.run_once,
            name="housekeeper",
            seconds=EVERY_SECONDS,
            seconds_if_unfinished=self.settings.sweep_seconds,
            stop=self.stop,
        )

    def run_once(self) -> bool:
        """True if there is more to do soon."""
        tasks = (self.delete_sources, self.forget_requests, self._orphans.delete_orphans, self.delete_temporary)
        unfinished = PeriodicTasks(tasks=tasks, seconds=TASK_SECONDS, stop=self.stop).run_once()
        if not unfinished:
            self._failed.clear()
        return unfinished

    def delete_sources(self, budget: TimeBudget) -> int:
        """Files first: once their deletion is recorded, they are never looked for again."""
        kept = timedelta(hours=self.settings.source_retention_hours)

        def delete(request_id: UUID) -> None:
            self.blobs.delete_prefix(f"{request_id}/source")
            self.database.transact(lambda session: sources_deleted(session, request_id, kept=kept))

        return for_each(
            self.database,
            lambda session, limit: sources_to_delete(session, limit, kept=kept, without=self._failed),
            lambda request_id: self._try(delete, request_id),
            budget,
        )

    def forget_requests(self, budget: TimeBudget) -> int:
        """Rows first: files without a row are orphans, rows without files a broken promise."""
        if self.settings.retention_days is None:
            return 0
        kept = timedelta(days=self.settings.retention_days)

        def forget(request_id: UUID) -> None:
            if self.database.transact(lambda session: forget_request(session, request_id, kept=kept)):
                self.blobs.delete_prefix(str(request_id))
            else:
                self._failed.add(request_id)

        return for_each(
            self.database,
            lambda session, limit: requests_to_forget(session, limit, kept=kept, without=self._failed),
            lambda request_id: self._try(forget, request_id),
            budget,
        )

    def delete_temporary(self, _: TimeBudget) -> int:
        """Files that a crash left half written."""
        return self.blobs.sweep_temporary(TEMPORARY_SECONDS)

    def _try(self, act: Callable[[UUID], None], request_id: UUID) -> bool:
        """A request that cannot be deleted now does not stop the others."""
        try:
            act(request_id)
        except (StorageError, DBAPIError, psycopg.Error) as error:
            log.warning("not_deleted", request_id=str(request_id), error=str(error)[:500])
            self._failed.add(request_id)
        return True


def sources_to_delete(session: Session, limit: int, *, kept: timedelta, without: Collection[UUID]) -> list[UUID]:
    """Finished requests whose sources have been kept long enough."""
    rows = execute(
        session,
        """
        SELECT id FROM processing_request
        WHERE sources_deleted_at IS NULL AND finished_at < now() - %(kept)s AND id <> ALL(%(without)s::uuid[])
        ORDER BY finished_at LIMIT %(limit)s
        """,
        {"kept": kept, "without": list(without), "limit": limit},
    )
    return [row["id"] for row in rows]


def sources_deleted(session: Session, request_id: UUID, *, kept: timedelta) -> None:
    """Record it, unless the request runs again meanwhile: then there may be new ones."""
    r = ProcessingRequest
    session.exec(
        update(r)
        .where(col(r.id) == request_id, col(r.sources_deleted_at).is_(None), col(r.finished_at) < func.now() - kept)
        .values({col(r.sources_deleted_at): func.now()})
    )


def requests_to_forget(session: Session, limit: int, *, kept: timedelta, without: Collection[UUID]) -> list[UUID]:
    """Finished requests that are older than the retention and have no delivery pending."""
    rows = execute(
        session,
        """
        SELECT r.id FROM processing_request r
        WHERE r.finished_at < now() - %(kept)s AND r.id <> ALL(%(without)s::uuid[])
          AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.request_id = r.id AND d.status = 'pending')
        ORDER BY r.finished_at LIMIT %(limit)s
        """,
        {"kept": kept, "without": list(without), "limit": limit},
    )
    return [row["id"] for row in rows]


def forget_request(session: Session, request_id: UUID, *, kept: timedelta) -> bool:
    """Delete the rows of one request; False if another process holds it, or it runs or delivers again."""
    allow_time(session, FORGET_SECONDS)
    rows = execute(
        session,
        """
        DELETE FROM processing_request
        WHERE id IN (SELECT r.id FROM processing_request r
                     WHERE r.id = %(id)s AND r.finished_at < now() - %(kept)s
                       AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.request_id = r.id AND d.status = 'pending')
                     FOR UPDATE SKIP LOCKED)
        RETURNING id
        """,
        {"id": request_id, "kept": kept},
    )
    return bool(rows)

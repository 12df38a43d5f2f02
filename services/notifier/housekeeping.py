"""Housekeeping: deletes what has been kept long enough, in a thread of its own as one large request may take minutes.

Several notifiers do it at once: files are deleted before that is recorded, so now and then twice, but never forgotten.
Only the database's clock counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event, Thread
from uuid import UUID

import psycopg
from sqlalchemy import ARRAY, Uuid, all_, literal
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, delete, func, select, update
from sqlmodel.sql.expression import SelectOfScalar

from services.notifier.orphans import Orphans
from services.notifier.periodic import TimeBudget, for_each, repeat, run_tasks
from services.notifier.settings import NotifierSettings
from shared.blobs import Blobs
from shared.db import Database, allow_time
from shared.errors import StorageError
from shared.lifecycle import DeliveryStatus
from shared.log import get_logger
from shared.schemas.tables import Delivery, ProcessingRequest

log = get_logger(__name__)
EVERY_SECONDS = 300.0
TASK_SECONDS = 60.0
TEMPORARY_SECONDS = 3600.0
FORGET_SECONDS = 600
"""Time limit for deleting the rows of one request: there may be millions."""

Requests = SelectOfScalar[UUID]


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
        unfinished = run_tasks(tasks, seconds=TASK_SECONDS, stop=self.stop)
        if not unfinished:
            self._failed.clear()
        return unfinished

    def delete_sources(self, budget: TimeBudget) -> int:
        """Files first: once their deletion is recorded, they are never looked for again."""
        kept = timedelta(hours=self.settings.source_retention_hours)

        def delete(request_id: UUID) -> None:
            self.blobs.delete_prefix(f"{request_id}/source")
            self.database.transact(lambda session: sources_deleted(session, request_id, kept=kept))

        with_sources = finished_for(kept).where(col(ProcessingRequest.sources_deleted_at).is_(None))
        return self._each(with_sources, delete, budget)

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

        return self._each(forgettable(kept), forget, budget)

    def delete_temporary(self, _: TimeBudget) -> int:
        """Files that a crash left half written."""
        return self.blobs.sweep_temporary(TEMPORARY_SECONDS)

    def _each(self, requests: Requests, act: Callable[[UUID], None], budget: TimeBudget) -> int:
        """Oldest first. A request that cannot be deleted now does not stop the others."""

        def take(session: Session, limit: int) -> Sequence[UUID]:
            failed = literal(list(self._failed), ARRAY(Uuid))  # one parameter: there may be more than a statement takes
            others = requests.where(col(ProcessingRequest.id) != all_(failed))
            return session.exec(others.order_by(col(ProcessingRequest.finished_at)).limit(limit)).all()

        def attempt(request_id: UUID) -> None:
            try:
                act(request_id)
            except (StorageError, DBAPIError, psycopg.Error) as error:
                log.warning("not_deleted", request_id=str(request_id), error=str(error)[:500])
                self._failed.add(request_id)

        return for_each(self.database, take, attempt, budget)


def finished_for(kept: timedelta) -> Requests:
    """Requests that have been finished for so long."""
    return select(ProcessingRequest.id).where(col(ProcessingRequest.finished_at) < func.now() - kept)


def forgettable(kept: timedelta) -> Requests:
    """Those of them without a pending delivery."""
    pending = select(Delivery.id).where(
        Delivery.request_id == ProcessingRequest.id, Delivery.status == DeliveryStatus.PENDING
    )
    return finished_for(kept).where(~pending.exists())


def sources_deleted(session: Session, request_id: UUID, *, kept: timedelta) -> None:
    """Record it, unless the request runs again meanwhile: then there may be new ones."""
    r = ProcessingRequest
    session.exec(
        update(r)
        .where(col(r.id) == request_id, col(r.sources_deleted_at).is_(None), col(r.finished_at) < func.now() - kept)
        .values(sources_deleted_at=func.now())
    )


def forget_request(session: Session, request_id: UUID, *, kept: timedelta) -> bool:
    """Delete the rows of one request; False if another process holds it, or it runs or delivers again."""
    allow_time(session, FORGET_SECONDS)
    this = forgettable(kept).where(ProcessingRequest.id == request_id)
    locked = session.exec(this.with_for_update(skip_locked=True)).one_or_none()
    session.exec(delete(ProcessingRequest).where(col(ProcessingRequest.id) == locked))
    return locked is not None

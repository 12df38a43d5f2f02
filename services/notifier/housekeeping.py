"""Housekeeping: deletes what has been kept long enough, in a thread of its own as one large request may take minutes.

Large requests that were deleted are erased at once, everything else every few minutes.

Several notifiers do it at once: files are deleted before that is recorded, so now and then twice, but never forgotten.
Only the database's clock counts.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Event, Thread
from typing import Any
from uuid import UUID

from redis import Redis
from redis.exceptions import RedisError, WatchError
from sqlalchemy import ARRAY, Uuid, all_, literal
from sqlmodel import Session, col, delete, func, select, update
from sqlmodel.sql.expression import SelectOfScalar

from services.notifier.orphans import Orphans
from services.notifier.periodic import FAILURES, TimeBudget, for_each, repeat, run_tasks
from services.notifier.settings import NotifierSettings
from shared.blobs import Blobs
from shared.db import Database, execute
from shared.lifecycle import DeliveryStatus
from shared.log import get_logger
from shared.schemas.tables import Delivery, Erasure, ProcessingRequest
from shared.valkey import USED

log = get_logger(__name__)
EVERY_SECONDS = 300.0
TASK_SECONDS = 60.0
TEMPORARY_SECONDS = 3600.0
ERASED_AT_ONCE = 10_000
"""Images, and products, that one transaction erases: some 0.1 s."""

Requests = SelectOfScalar[UUID]


@dataclass(slots=True, kw_only=True)
class Housekeeper:
    """What housekeeping needs from its process."""

    database: Database
    blobs: Blobs
    settings: NotifierSettings
    stop: Event
    valkey: Redis
    _orphans: Orphans = field(init=False)
    _failed: set[UUID] = field(init=False, default_factory=set)  # tried again once everything else is done
    _next: float = field(init=False, default=-math.inf)

    def __post_init__(self) -> None:
        self._orphans = Orphans(self.database, self.blobs, hours=self.settings.orphan_hours)

    def start(self) -> Thread:
        seconds = self.settings.sweep_seconds
        return repeat(self._run, name="housekeeper", seconds=seconds, seconds_if_unfinished=seconds, stop=self.stop)

    def _run(self) -> bool:
        if time.monotonic() < self._next:
            return run_tasks((self.erase_deleted,), seconds=TASK_SECONDS, stop=self.stop)
        unfinished = self.run_once()
        self._next = -math.inf if unfinished else time.monotonic() + EVERY_SECONDS
        return unfinished

    def run_once(self) -> bool:
        """True if there is more to do soon."""
        tasks = (
            self.erase_deleted,
            self.delete_sources,
            self.forget_requests,
            self._orphans.delete_orphans,
            self.delete_temporary,
            self.record_key_uses,
        )
        unfinished = run_tasks(tasks, seconds=TASK_SECONDS, stop=self.stop)
        if not unfinished:
            self._failed.clear()
        return unfinished

    def erase_deleted(self, budget: TimeBudget) -> int:
        """Rows first, batch by batch: a run that was killed goes on where it was. The record goes last."""

        def erase(request_id: UUID) -> bool:
            while self.database.transact(lambda session: erase_batch(session, request_id)):
                if budget.is_spent():
                    return False
            self.blobs.delete_prefix(str(request_id))
            self.database.transact(lambda session: erased(session, request_id))
            return True

        return self._each(select(Erasure.request_id), Erasure.request_id, Erasure.created_at, erase, budget)

    def delete_sources(self, budget: TimeBudget) -> int:
        """Files first: once their deletion is recorded, they are never looked for again."""
        kept = timedelta(hours=self.settings.source_retention_hours)

        def delete(request_id: UUID) -> None:
            self.blobs.delete_prefix(f"{request_id}/source")
            self.database.transact(lambda session: sources_deleted(session, request_id, kept=kept))

        with_sources = finished_for(kept).where(col(ProcessingRequest.sources_deleted_at).is_(None))
        return self._each_request(with_sources, delete, budget)

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

        return self._each_request(forgettable(kept), forget, budget)

    def delete_temporary(self, _: TimeBudget) -> int:
        """Files that a crash left half written."""
        return self.blobs.sweep_temporary(TEMPORARY_SECONDS)

    def record_key_uses(self, _: TimeBudget) -> int:
        """Move the uses of API keys from Valkey to their rows. What is noted meanwhile stays for the next time."""
        try:
            with self.valkey.pipeline() as pipeline:
                pipeline.watch(USED)  # type: ignore[no-untyped-call]
                noted: Any = pipeline.hgetall(USED)
                used = {key_id.decode(): int(seconds) for key_id, seconds in noted.items()}
                if used:
                    self.database.transact(lambda session: record_uses(session, used))
                    pipeline.multi()
                    pipeline.hdel(USED, *used)
                    pipeline.execute()
        except WatchError:
            pass
        except RedisError as error:
            log.warning("key_uses_not_read", error=type(error).__name__)
            return 0
        return len(used)

    def _each_request(self, requests: Requests, act: Callable[[UUID], None], budget: TimeBudget) -> int:
        return self._each(requests, ProcessingRequest.id, ProcessingRequest.finished_at, act, budget)

    def _each(
        self, found: Requests, key: UUID, order: datetime | None, act: Callable[[UUID], bool | None], budget: TimeBudget
    ) -> int:
        """Oldest first. A request that cannot be deleted now does not stop the others."""

        def take(session: Session, limit: int, bad: int) -> Sequence[UUID]:
            failed = literal(list(self._failed), ARRAY(Uuid))  # one parameter: there may be more than a statement takes
            others = found.where(col(key) != all_(failed))
            return session.exec(others.order_by(col(order)).limit(limit).offset(bad)).all()

        def attempt(request_id: UUID) -> bool | None:
            try:
                return act(request_id)
            except Exception as error:  # noqa: BLE001 - other tasks must not wait for it
                FAILURES.labels(budget.task).inc()
                log.warning("not_deleted", request_id=str(request_id), error=repr(error)[:500])
                self._failed.add(request_id)
                return None

        return for_each(self.database, take, attempt, budget)


def record_uses(session: Session, used: Mapping[str, int]) -> None:
    """`used`: id of a key -> unix seconds. Twice is the same as once."""
    execute(
        session,
        """
        UPDATE api_key SET last_used_at = to_timestamp(used.seconds)
        FROM unnest(%(ids)s::text[], %(seconds)s::bigint[]) AS used (id, seconds)
        WHERE api_key.id = used.id AND (last_used_at IS NULL OR last_used_at < to_timestamp(used.seconds))
        """,
        {"ids": list(used), "seconds": list(used.values())},
    )


def erase_batch(session: Session, request_id: UUID) -> bool:
    """Erase some rows of a deleted request; False if none are left, or another notifier is at it."""
    rows = execute(
        session,
        """
        WITH held AS MATERIALIZED (
            SELECT next_number AS first, next_number + %(size)s AS next FROM erasure
            WHERE request_id = %(id)s AND next_number <= last_number FOR UPDATE SKIP LOCKED
        ), moved AS (
            UPDATE erasure SET next_number = next FROM held WHERE request_id = %(id)s RETURNING first, next
        )
        SELECT erase_rows(%(id)s, first, next - 1) FROM moved
        """,
        {"id": request_id, "size": ERASED_AT_ONCE},
    )
    return bool(rows)


def erased(session: Session, request_id: UUID) -> None:
    """Forget that the request is to be erased, unless another notifier still erases rows of it."""
    e = Erasure
    session.exec(delete(e).where(col(e.request_id) == request_id, col(e.next_number) > col(e.last_number)))


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
    """Delete one request; False if another process holds it, or it runs or delivers again."""
    this = forgettable(kept).where(ProcessingRequest.id == request_id)
    locked = session.exec(this.with_for_update(skip_locked=True)).one_or_none()
    session.exec(delete(ProcessingRequest).where(col(ProcessingRequest.id) == locked))
    return locked is not None

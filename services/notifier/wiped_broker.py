"""Repairs after Redis lost its messages: makes everything that is open due again, batch by batch.

The row of `broker_epoch` says how far the repair has come, so a notifier that is killed leaves the rest to the next
one; its lock lets one notifier at a time work on it. Deliveries need no repair: the sweeper compares when they were
enqueued with when the epoch began.
"""

from functools import partial
from uuid import UUID

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, func, select, update

from services.notifier.periodic import FAILURES, TimeBudget
from shared.db import Database, execute, is_down
from shared.lifecycle import images_of
from shared.log import get_logger
from shared.schemas.tables import BrokerEpoch

log = get_logger(__name__)
REQUESTS_AT_ONCE = 500
GROUPS_AT_ONCE = 50
"""Groups in one transaction; the claims of as many times 128 images are released in it."""
FIRST = UUID(int=0)


def epoch(session: Session) -> UUID:
    """The broker epoch that Redis should know."""
    return session.exec(select(BrokerEpoch.epoch)).one()


def begin_epoch(session: Session, *, seen: UUID, new: UUID) -> bool:
    """Move to a new epoch and begin the repair anew; False if another notifier did it first."""
    moved = session.exec(
        update(BrokerEpoch)
        .where(col(BrokerEpoch.epoch) == seen)
        .values(epoch=new, begun_at=func.now(), repair_request=FIRST, repair_group=None)
    )
    return bool(moved.rowcount)


def repair(database: Database, budget: TimeBudget) -> int:
    """Repair batch after batch; a row that cannot be repaired is found by halving the batch, and passed over.

    What is passed over is not lost: its own timer comes.
    """
    repaired, limit = 0, REQUESTS_AT_ONCE
    while True:
        try:
            batch = database.transact(partial(repair_batch, limit=limit))
        except (DBAPIError, psycopg.Error) as error:
            if is_down(error):
                raise
            if limit > 1:
                limit //= 2
                continue
            passed = database.transact(pass_over)
            FAILURES.labels(budget.task).inc()
            log.exception("row_not_repaired", task=budget.task, row=str(passed))
            batch, limit = 1, REQUESTS_AT_ONCE
        repaired += batch
        if not batch or budget.is_spent():
            return repaired


def pass_over(session: Session) -> tuple[UUID | None, int | None]:
    """Move the cursor past the next row without touching it; returns the row."""
    progress = session.exec(select(BrokerEpoch).with_for_update()).one()
    after = {"request": progress.repair_request, "group": progress.repair_group}
    if progress.repair_group is None:
        rows = execute(
            session,
            """
            SELECT id FROM processing_request WHERE id > %(request)s AND dispatch_at IS NOT NULL AND finished_at IS NULL
            ORDER BY id LIMIT 1
            """,
            after,
        )
        if rows:
            progress.repair_request = rows[0]["id"]
        else:  # it is the first group that failed
            progress.repair_request, progress.repair_group = FIRST, 0
    else:
        rows = execute(
            session,
            """
            SELECT request_id, number FROM image_group
            WHERE (request_id, number) > (%(request)s, %(group)s) AND state = 'dispatched' AND dispatch_no > 0
            ORDER BY request_id, number LIMIT 1
            """,
            after,
        )
        if rows:
            progress.repair_request, progress.repair_group = rows[0]["request_id"], rows[0]["number"]
    return progress.repair_request, progress.repair_group


def repair_batch(session: Session, *, limit: int | None = None) -> int:
    """Repair some requests or groups; 0 if the repair is complete or another notifier is at it.

    First all requests, by id, then all dispatched groups, by request and number: the order in which locks are taken.
    """
    progress = session.exec(
        select(BrokerEpoch).where(col(BrokerEpoch.repair_request).is_not(None)).with_for_update(skip_locked=True)
    ).one_or_none()
    if progress is None:
        return 0
    if progress.repair_group is None:
        if requests := _make_requests_due(session, after=progress.repair_request, limit=limit or REQUESTS_AT_ONCE):
            progress.repair_request = max(requests)
            return len(requests)
        progress.repair_request, progress.repair_group = FIRST, 0
    after, limit = (progress.repair_request, progress.repair_group), min(limit or GROUPS_AT_ONCE, GROUPS_AT_ONCE)
    groups = _make_groups_due(session, after=after, limit=limit)
    for request_id, group in groups:
        _release_claims(session, request_id, group)
    progress.repair_request, progress.repair_group = max(groups, default=(None, None))
    return len(groups)


def _make_requests_due(session: Session, *, after: UUID | None, limit: int) -> list[UUID]:
    rows = execute(
        session,
        """
        WITH held AS MATERIALIZED (
            SELECT id FROM processing_request
            WHERE id > %(after)s AND dispatch_at IS NOT NULL AND finished_at IS NULL
            ORDER BY id LIMIT %(limit)s FOR NO KEY UPDATE
        )
        UPDATE processing_request r SET dispatch_at = now() FROM held WHERE r.id = held.id RETURNING r.id
        """,
        {"after": after, "limit": limit},
    )
    return [row["id"] for row in rows]


def _make_groups_due(session: Session, *, after: tuple[UUID | None, int], limit: int) -> list[tuple[UUID, int]]:
    """`dispatch_no > 0`, which every dispatched group has, names the index `group_counted`."""
    rows = execute(
        session,
        """
        WITH held AS MATERIALIZED (
            SELECT request_id, number FROM image_group
            WHERE (request_id, number) > (%(request)s, %(group)s) AND state = 'dispatched' AND dispatch_no > 0
            ORDER BY request_id, number LIMIT %(limit)s FOR NO KEY UPDATE
        )
        UPDATE image_group g SET reconcile_at = now()
        FROM held WHERE g.request_id = held.request_id AND g.number = held.number
        RETURNING g.request_id, g.number
        """,
        {"request": after[0], "group": after[1], "limit": limit},
    )
    return sorted((row["request_id"], row["number"]) for row in rows)


def _release_claims(session: Session, request_id: UUID, group: int) -> None:
    """Most claims belong to messages that are gone. The attempt is given back; work in progress may still complete."""
    first, last = images_of(group)
    execute(
        session,
        """
        WITH held AS MATERIALIZED (
            SELECT number FROM image
            WHERE request_id = %(id)s AND number BETWEEN %(first)s AND %(last)s
              AND state = 'pending' AND claimed_by IS NOT NULL
            ORDER BY number FOR NO KEY UPDATE
        )
        UPDATE image i
        SET claimed_by = NULL, not_before = now(), attempts = greatest(0, i.attempts - (NOT i.deferred)::int)
        FROM held
        WHERE i.request_id = %(id)s AND i.number BETWEEN %(first)s AND %(last)s AND i.number = held.number
        """,
        {"id": request_id, "first": first, "last": last},
    )

"""Repairs after Redis lost its messages: makes everything that is open due again, batch by batch.

The row of `broker_epoch` says how far the repair has come, so a notifier that is killed leaves the rest to the next
one; its lock lets one notifier at a time work on it. Deliveries need no repair: the sweeper compares when they were
enqueued with when the epoch began.
"""

from uuid import UUID

from sqlmodel import Session, col, func, select, update

from shared.db import execute
from shared.lifecycle import images_of
from shared.schemas.tables import BrokerEpoch

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


def repair_batch(session: Session) -> int:
    """Repair some requests or groups; 0 if the repair is complete or another notifier is at it.

    First all requests, by id, then all dispatched groups, by request and number: the order in which locks are taken.
    """
    progress = session.exec(
        select(BrokerEpoch).where(col(BrokerEpoch.repair_request).is_not(None)).with_for_update(skip_locked=True)
    ).one_or_none()
    if progress is None:
        return 0
    if progress.repair_group is None:
        if requests := _make_requests_due(session, after=progress.repair_request):
            progress.repair_request = max(requests)
            return len(requests)
        progress.repair_request, progress.repair_group = FIRST, 0
    groups = _make_groups_due(session, after=(progress.repair_request, progress.repair_group))
    for request_id, group in groups:
        _release_claims(session, request_id, group)
    progress.repair_request, progress.repair_group = max(groups, default=(None, None))
    return len(groups)


def _make_requests_due(session: Session, *, after: UUID | None) -> list[UUID]:
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
        {"after": after, "limit": REQUESTS_AT_ONCE},
    )
    return [row["id"] for row in rows]


def _make_groups_due(session: Session, *, after: tuple[UUID | None, int]) -> list[tuple[UUID, int]]:
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
        {"request": after[0], "group": after[1], "limit": GROUPS_AT_ONCE},
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

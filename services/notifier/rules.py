"""The sweeper's rules: each finds what a lost message or a dead process left behind, in one statement.

Several notifiers sweep at once: rows are taken with `SKIP LOCKED` and moved on, so that each is acted on once. Only the
database's clock counts.
"""

from typing import Any, LiteralString
from uuid import UUID

from sqlmodel import Session

from shared.db import execute
from shared.lifecycle import IMAGES_PER_GROUP

MOST = 200
"""Rows that one rule takes at a time; it takes more at once while it finds as many and has time left."""


def requests_to_dispatch(session: Session) -> list[UUID]:
    """Requests with waiting groups for which nobody asked in time."""
    rows = execute(
        session,
        """
        UPDATE processing_request SET dispatch_at = now() + interval '30 s'
        WHERE id IN (SELECT id FROM processing_request
                     WHERE dispatch_at <= now() AND finished_at IS NULL AND stop_reason IS NULL
                     ORDER BY dispatch_at LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED)
        RETURNING id
        """,
        {"most": MOST},
    )
    return [row["id"] for row in rows]


def groups_to_reconcile(session: Session) -> list[tuple[UUID, int]]:
    """Groups whose `reconcile_at` came."""
    rows = execute(
        session,
        """
        UPDATE image_group g SET reconcile_at = now() + interval '30 s'
        FROM (SELECT request_id, number FROM image_group
              WHERE reconcile_at <= now() ORDER BY reconcile_at LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED) due
        WHERE g.request_id = due.request_id AND g.number = due.number
        RETURNING g.request_id, g.number
        """,
        {"most": MOST},
    )
    return [(row["request_id"], row["number"]) for row in rows]


def deliveries_due(session: Session) -> list[UUID]:
    """Deliveries that are due and for which `Deliver` was not sent within the last minute."""
    rows = execute(
        session,
        """
        UPDATE delivery SET enqueued_at = now()
        WHERE id IN (SELECT id FROM delivery
                     WHERE status = 'pending' AND next_attempt_at <= now()
                       AND (enqueued_at IS NULL OR enqueued_at < now() - interval '60 s')
                     ORDER BY next_attempt_at LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED)
        RETURNING id
        """,
        {"most": MOST},
    )
    return [row["id"] for row in rows]


def expire_requests(session: Session) -> list[UUID]:
    """Stop requests whose deadline came; the look at each of their groups then fails what is left."""
    rows = execute(
        session,
        """
        WITH expired AS (
            UPDATE processing_request SET stop_reason = 'expired', dispatch_at = NULL
            WHERE id IN (SELECT id FROM processing_request
                         WHERE deadline_at <= now() AND finished_at IS NULL AND stop_reason IS NULL
                         ORDER BY deadline_at LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED)
            RETURNING id
        ), closing AS (
            UPDATE image_group g SET reconcile_at = now()
            FROM expired e WHERE g.request_id = e.id AND g.state <> 'settled'
        )
        SELECT id FROM expired
        """,
        {"most": MOST},
    )
    return [row["id"] for row in rows]


def epoch(session: Session) -> UUID:
    """The broker epoch that Redis should know."""
    found: UUID = execute(session, "SELECT epoch FROM broker_epoch")[0]["epoch"]
    return found


def begin_epoch(session: Session, *, seen: UUID, new: UUID) -> list[dict[str, Any]]:
    """Redis was wiped: all that is open is due now. Empty where another notifier did it first.

    Claims are let go, their attempts given back: most of them wait for a message that is gone. Whoever is still at work
    on one may complete it all the same.
    """
    moved = execute(
        session,
        "UPDATE broker_epoch SET epoch = %(new)s WHERE epoch = %(seen)s RETURNING epoch",
        {"seen": seen, "new": new},
    )
    if moved:  # in the order in which everyone locks: requests, groups, images
        for statement in (_REQUESTS_DUE, _GROUPS_DUE, _IMAGES_DUE, _DELIVERIES_DUE):
            execute(session, statement, {"size": IMAGES_PER_GROUP})
    return moved


_REQUESTS_DUE: LiteralString = """
UPDATE processing_request SET dispatch_at = now() WHERE dispatch_at IS NOT NULL AND finished_at IS NULL
"""
_GROUPS_DUE: LiteralString = "UPDATE image_group SET reconcile_at = now() WHERE state = 'dispatched'"
_IMAGES_DUE: LiteralString = """
UPDATE image i SET claimed_by = NULL, not_before = now(), attempts = greatest(0, i.attempts - (NOT i.deferred)::int)
FROM image_group g
WHERE g.state = 'dispatched' AND i.request_id = g.request_id
  AND i.number BETWEEN (g.number - 1) * %(size)s + 1 AND g.number * %(size)s
  AND i.state = 'pending' AND i.claimed_by IS NOT NULL
"""
_DELIVERIES_DUE: LiteralString = "UPDATE delivery SET enqueued_at = NULL WHERE status = 'pending'"

"""What an account uses now of what its quotas limit."""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlmodel import Session

from shared.db import execute


@dataclass(frozen=True, slots=True)
class Usage:
    """`stored_bytes`: of renditions whose groups are settled. `images_today`: sent in on `day` (UTC), retries too.

    `day_ends_at`: when the next day begins.
    """

    open_requests: int
    images_today: int
    stored_bytes: int
    day: date
    now: datetime
    day_ends_at: datetime


def usage(session: Session, account: UUID) -> Usage:
    """Reads the account's unfinished requests, and one row each of two tables."""
    rows = execute(
        session,
        """
        WITH today AS (SELECT (now() AT TIME ZONE 'UTC')::date AS day), unfinished AS (
            SELECT count(*) AS requests, coalesce(sum(rendition_bytes), 0) AS bytes
            FROM processing_request WHERE account_id = %(account)s AND status IN ('pending', 'processing')
        )
        SELECT o.requests AS open_requests, coalesce(u.images, 0) AS images_today,
               (a.kept_bytes + o.bytes)::bigint AS stored_bytes, t.day, now() AS now,
               (t.day + 1)::timestamp AT TIME ZONE 'UTC' AS day_ends_at
        FROM account a CROSS JOIN today t CROSS JOIN unfinished o
             LEFT JOIN account_usage u ON u.account_id = a.id AND u.day = t.day
        WHERE a.id = %(account)s
        """,
        {"account": account},
    )
    return Usage(**rows[0])

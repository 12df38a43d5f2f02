"""Which files and rows have been kept long enough. Only the database's clock counts.

Several notifiers keep house at once: files are deleted before that is written down, so twice now and then, but never
forgotten. `but`: requests to leave out, which just failed.
"""

from collections.abc import Collection
from uuid import UUID

from sqlmodel import Session

from services.notifier.rules import MOST
from shared.db import allow_time, execute

FORGET_SECONDS = 600
"""For the rows of one request, which may be millions."""


def sources_to_delete(session: Session, *, hours: float, but: Collection[UUID] = ()) -> list[UUID]:
    """Finished requests whose sources have been kept long enough."""
    rows = execute(
        session,
        """
        SELECT id FROM processing_request
        WHERE sources_deleted_at IS NULL AND finished_at < now() - make_interval(secs => %(seconds)s)
          AND id <> ALL(%(but)s::uuid[])
        ORDER BY finished_at LIMIT %(most)s
        """,
        {"seconds": hours * 3600, "but": list(but), "most": MOST},
    )
    return [row["id"] for row in rows]


def sources_deleted(session: Session, request_id: UUID, *, hours: float) -> None:
    """Write it down, unless the request has begun to run again: then there may be new ones."""
    execute(
        session,
        """
        UPDATE processing_request SET sources_deleted_at = now()
        WHERE id = %(id)s AND sources_deleted_at IS NULL
          AND finished_at < now() - make_interval(secs => %(seconds)s)
        """,
        {"id": request_id, "seconds": hours * 3600},
    )


def requests_to_forget(session: Session, *, days: float, but: Collection[UUID] = ()) -> list[UUID]:
    """Requests that are older than the retention, and of which nothing is still to be told."""
    rows = execute(
        session,
        """
        SELECT r.id FROM processing_request r
        WHERE r.finished_at < now() - make_interval(secs => %(seconds)s) AND r.id <> ALL(%(but)s::uuid[])
          AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.request_id = r.id AND d.status = 'pending')
        ORDER BY r.finished_at LIMIT %(most)s
        """,
        {"seconds": days * 86400, "but": list(but), "most": MOST},
    )
    return [row["id"] for row in rows]


def forget(session: Session, request_id: UUID, *, days: float) -> bool:
    """Delete the rows of one request; False where another was faster, or is at it, or it runs or delivers again."""
    allow_time(session, FORGET_SECONDS)
    rows = execute(
        session,
        """
        DELETE FROM processing_request
        WHERE id IN (SELECT r.id FROM processing_request r
                     WHERE r.id = %(id)s AND r.finished_at < now() - make_interval(secs => %(seconds)s)
                       AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.request_id = r.id AND d.status = 'pending')
                     FOR UPDATE SKIP LOCKED)
        RETURNING id
        """,
        {"id": request_id, "seconds": days * 86400},
    )
    return bool(rows)


def unknown(session: Session, ids: list[UUID]) -> list[UUID]:
    """Which of `ids` belong to no request."""
    rows = execute(
        session,
        """
        SELECT given.id FROM unnest(%(ids)s::uuid[]) AS given (id)
        WHERE NOT EXISTS (SELECT 1 FROM processing_request r WHERE r.id = given.id)
        """,
        {"ids": ids},
    )
    return [row["id"] for row in rows]

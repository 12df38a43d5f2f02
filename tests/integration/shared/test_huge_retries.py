"""A retry of a million images: what it writes, and what reading the request costs then."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlmodel import Session

from services.ingest.changes import locked_request, retry, view
from services.status import queries
from shared.db import Database, connection_of
from shared.lifecycle import IMAGES_PER_GROUP
from shared.schemas.accounts import DEFAULT_ACCOUNT
from tests.integration.seed import add_request, sql
from tests.integration.shared.touched import Touched

IMAGES = 1_000_000


def test_a_retry_of_a_large_request_writes_its_groups_alone_and_is_read_as_quickly(database: Database) -> None:
    """There is no image here: `retry` needs none."""
    request_id = add_request(database, images=1)
    sql(
        database,
        """
        UPDATE processing_request SET status = 'completed', finished_at = now(), open_groups = 0, images = %(images)s,
            completed = %(images)s / 2, failed = %(images)s / 2
        WHERE id = %(id)s
        """,
        id=request_id,
        images=IMAGES,
    )
    sql(
        database,
        """
        INSERT INTO image_group (request_id, number, state, dispatch_no, images, completed, failed)
        SELECT %(id)s, n, 'settled', 1, %(size)s, %(size)s / 2, %(size)s / 2
        FROM generate_series(2, %(images)s / %(size)s) AS n
        """,
        id=request_id,
        images=IMAGES,
        size=IMAGES_PER_GROUP,
    )
    touched = Touched(database)

    database.transact(lambda session: retry(session, DEFAULT_ACCOUNT, request_id, deadline=timedelta(hours=1)))
    row = touched.few("get", lambda session: _read(session, request_id))
    viewed = touched.few("view", lambda session: _view(session, request_id))

    assert (row.counts.completed, row.counts.failed) == (IMAGES // 2, 0)
    assert viewed["images"]["pending"] == IMAGES // 2


def _read(session: Session, request_id: UUID) -> queries.Found:
    (row,) = connection_of(session).execute(queries.FIND, {"ids": [request_id]}).fetchall()
    return queries.found_of(row)


def _view(session: Session, request_id: UUID) -> Mapping[str, Any]:
    return view(session, locked_request(session, DEFAULT_ACCOUNT, request_id), public_url="")

"""Requests as ingest would leave them, written with SQL, and what the tests read and turn back in the rows."""

from collections.abc import Iterable
from typing import Any, LiteralString
from uuid import UUID

from shared import lifecycle
from shared.db import Database, execute
from shared.ids import uuid7

Row = dict[str, Any]


def sql(database: Database, statement: LiteralString, /, **params: Any) -> list[Row]:
    """One statement in a transaction of its own."""
    return database.transact(lambda session: execute(session, statement, params))


def empty(database: Database) -> None:
    """Without any request."""
    sql(
        database,
        "TRUNCATE processing_request, product, rejected_row, image_group, image, erasure, account_usage CASCADE",
    )
    sql(
        database,
        """
        UPDATE account SET kept_bytes = 0, calls_per_second = NULL, uploads_per_minute = NULL, open_requests = NULL,
                           images_per_day = NULL, stored_bytes = NULL
        """,
    )


def add_request(database: Database, *, images: int, webhook_url: str | None = None) -> UUID:
    """A request with as many products, all URLs distinct, nothing dispatched."""
    request_id = uuid7()
    sql(
        database,
        """
        WITH request AS (
            INSERT INTO processing_request (id, account_id, products, images, open_groups, deadline_at, webhook_url)
            SELECT %(id)s, id, %(images)s, %(images)s, (%(images)s + %(size)s - 1) / %(size)s,
                   now() + interval '24 h', %(webhook_url)s
            FROM account WHERE name = 'default'
            RETURNING id
        ), products AS (
            INSERT INTO product (request_id, row, serial_number, name, images)
            SELECT id, n, n::text, 'Product ' || n, ARRAY[n] FROM request, generate_series(1, %(images)s) AS n
        ), groups AS (
            INSERT INTO image_group (request_id, number, images)
            SELECT id, n, least(%(size)s, %(images)s - (n - 1) * %(size)s)
            FROM request, generate_series(1, (%(images)s + %(size)s - 1) / %(size)s) AS n
        )
        INSERT INTO image (request_id, number, url, not_before)
        SELECT id, n, 'https://images.example/' || n || '.jpg', now() - interval '1 s'
        FROM request, generate_series(1, %(images)s) AS n
        """,
        id=request_id,
        images=images,
        webhook_url=webhook_url,
        size=lifecycle.IMAGES_PER_GROUP,
    )
    return request_id


def request_row(database: Database, request_id: UUID) -> Row:
    return sql(database, "SELECT *, now() AS now FROM processing_request WHERE id = %(id)s", id=request_id)[0]


def group_row(database: Database, request_id: UUID, number: int = 1) -> Row:
    """The group; `reconcile_in` is how many seconds ahead `reconcile_at` is."""
    return sql(
        database,
        """
        SELECT *, extract(epoch FROM reconcile_at - now())::float8 AS reconcile_in
        FROM image_group WHERE request_id = %(id)s AND number = %(number)s
        """,
        id=request_id,
        number=number,
    )[0]


def image_rows(database: Database, request_id: UUID) -> dict[int, Row]:
    """The images by number; `due_in` is how many seconds ahead `not_before` is."""
    rows = sql(
        database,
        """
        SELECT *, extract(epoch FROM not_before - now())::float8 AS due_in
        FROM image WHERE request_id = %(id)s ORDER BY number
        """,
        id=request_id,
    )
    return {row["number"]: row for row in rows}


def events_of(database: Database, request_id: UUID) -> list[Row]:
    return sql(database, "SELECT * FROM event WHERE request_id = %(id)s ORDER BY run", id=request_id)


def deliveries_of(database: Database, request_id: UUID) -> list[Row]:
    """The deliveries; `due_in` is how many seconds ahead the next attempt is."""
    return sql(
        database,
        """
        SELECT *, extract(epoch FROM next_attempt_at - now())::float8 AS due_in
        FROM delivery WHERE request_id = %(id)s ORDER BY created_at
        """,
        id=request_id,
    )


def set_images(database: Database, request_id: UUID, numbers: Iterable[int], **values: Any) -> None:
    """Put `attempts`, `claimed_by` or `isolated` of some images to where a test begins."""
    for column, value in values.items():
        statement: Any = (
            f"UPDATE image SET {column} = %(value)s WHERE request_id = %(id)s AND number = ANY(%(numbers)s)"
        )
        sql(database, statement, value=value, id=request_id, numbers=sorted(numbers))


def pass_time(database: Database, request_id: UUID, seconds: float) -> None:
    """Let `seconds` pass for the request: every time in its rows that lies ahead comes nearer."""
    sql(
        database,
        """
        WITH elapsed AS (SELECT make_interval(secs => %(seconds)s) AS elapsed),
        images AS (
            UPDATE image SET not_before = not_before - elapsed FROM elapsed
            WHERE request_id = %(id)s AND state = 'pending'
        ), groups AS (
            UPDATE image_group SET reconcile_at = reconcile_at - elapsed FROM elapsed WHERE request_id = %(id)s
        ), deliveries AS (
            UPDATE delivery SET next_attempt_at = next_attempt_at - elapsed, enqueued_at = enqueued_at - elapsed
            FROM elapsed WHERE request_id = %(id)s
        )
        UPDATE processing_request SET dispatch_at = dispatch_at - elapsed, deadline_at = deadline_at - elapsed,
                                      finished_at = finished_at - elapsed
        FROM elapsed WHERE id = %(id)s
        """,
        id=request_id,
        seconds=seconds,
    )


def stop(database: Database, request_id: UUID, reason: str) -> None:
    """Cancel or expire the request."""
    sql(
        database,
        "UPDATE processing_request SET stop_reason = %(reason)s, dispatch_at = NULL WHERE id = %(id)s",
        id=request_id,
        reason=reason,
    )

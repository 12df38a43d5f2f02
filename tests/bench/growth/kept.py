"""Fills a database with finished requests, as the services would have left them: what grows while Halftone is in use.

100 images in a request, three in a product. Rows are as wide as real ones, and the pages of `image` as full: its rows
are added at fillfactor 35 and settled in their place. Times go back over a month.
"""

from typing import Any, LiteralString

from sqlmodel import Session

from shared.db import Database, allow_time, execute
from shared.lifecycle import IMAGES_PER_GROUP
from shared.schemas.accounts import DEFAULT_ACCOUNT

IMAGES = 100
"""Of each request."""
PRODUCTS = 33
REQUESTS_AT_ONCE = 10_000
EXHAUSTED = 50
"""Of so many requests, one has a webhook that nobody took."""
FULL = 95
"""Percent, of a page of `image` whose rows are settled: 18 of them fit in when they were new, and each grew."""

STATEMENTS: tuple[LiteralString, ...] = (
    """
    CREATE TEMPORARY TABLE fresh ON COMMIT DROP AS
    SELECT n, uuidv7(-age) AS id, now() - age AS at FROM (
        SELECT n, interval '32 d' - n * interval '30 d' / %(total)s AS age
        FROM generate_series(%(first)s::int, %(last)s::int) AS n) AS ages
    """,
    "ANALYZE fresh",
    """
    INSERT INTO processing_request (id, account_id, status, products, images, completed, failed, source_bytes,
        rendition_bytes, webhook_url, created_at, started_at, finished_at, deadline_at, dispatch_at, sources_deleted_at)
    SELECT id, %(account)s, 'completed', %(products)s, %(images)s, %(images)s - 1, 1, 225000::bigint * %(images)s,
           90000::bigint * %(images)s, 'https://shop.example/hooks/halftone', at, at, at + interval '1 min',
           at + interval '1 d', NULL, at + interval '1 d'
    FROM fresh
    """,
    """
    INSERT INTO product (request_id, row, serial_number, name, images)
    SELECT id, p, p::text, 'Product with a name of usual length ' || p, ARRAY[p * 3, p * 3 - 1, p * 3 - 2]
    FROM fresh, generate_series(1, %(products)s + 0 * n) AS p
    """,
    """
    INSERT INTO image_group (request_id, number, state, dispatch_no, images, completed, failed)
    SELECT id, number, 'settled', 1, images, images - 1, 1 FROM (
        SELECT id, g AS number, least(%(size)s, %(images)s - (g - 1) * %(size)s) AS images
        FROM fresh, generate_series(1, (%(images)s + %(size)s - 1) / %(size)s) AS g) AS groups
    """,
    """
    INSERT INTO image (request_id, number, url, state, attempts, error_code, error_detail, source_bytes, source_format,
        source_width, source_height, source_sha256, rendition_bytes, rendition_format, rendition_width,
        rendition_height, rendition_sha256, rendition_quality, kept_original, fetch_ms, settled_at)
    SELECT id, i, 'https://images.shop.example/catalogue/2026/' || i || '-front-large.jpg',
           CASE WHEN i %% 100 = 0 THEN 'failed' ELSE 'completed' END, 1, CASE WHEN i %% 100 = 0 THEN 'http_status' END,
           NULL, 225000, 'jpeg', 1000, 1000, repeat('5', 64), 90000, 'jpeg', 1000, 1000, repeat('a', 64), 50, false,
           120, at
    FROM fresh, generate_series(1, %(images)s + 0 * n) AS i
    """,
    """
    INSERT INTO event (id, request_id, run, type, body)
    SELECT gen_random_uuid(), id, 1, 'request.completed', repeat('x', 1200) FROM fresh
    """,
    """
    INSERT INTO delivery (id, event_id, request_id, url, status, attempt, enqueued_at, created_at)
    SELECT gen_random_uuid(), e.id, f.id, 'https://shop.example/hooks/halftone',
           CASE WHEN f.n %% %(exhausted)s = 0 THEN 'exhausted' ELSE 'delivered' END, 1, now(), e.created_at
    FROM fresh f JOIN event e ON e.request_id = f.id
    """,
    """
    INSERT INTO delivery_attempt (delivery_id, number, status_code, duration_ms, response_excerpt)
    SELECT d.id, 1, 200, 30, 'ok' FROM delivery d JOIN fresh f ON d.request_id = f.id
    """,
)


def keep(database: Database, images: int) -> None:
    """Add finished requests with so many images in all; then do what autovacuum will have done."""
    total = images // IMAGES
    set_fillfactor(database, FULL)
    for first in range(1, total + 1, REQUESTS_AT_ONCE):
        last = min(total, first + REQUESTS_AT_ONCE - 1)
        params = {
            "first": first, "last": last, "total": total, "account": DEFAULT_ACCOUNT, "images": IMAGES,
            "products": PRODUCTS, "size": IMAGES_PER_GROUP, "exhausted": EXHAUSTED,
        }  # fmt: skip
        database.transact(lambda session, params=params: _add(session, params))  # type: ignore[misc]
    set_fillfactor(database, 35)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql("VACUUM ANALYZE")


def _add(session: Session, params: dict[str, Any]) -> None:
    allow_time(session, 600)
    for statement in STATEMENTS:
        execute(session, statement, params)


def set_fillfactor(database: Database, percent: int) -> None:
    statement: Any = f"ALTER TABLE image SET (fillfactor = {percent})"
    database.transact(lambda session: execute(session, statement))

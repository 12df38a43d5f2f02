"""Checks of a run's terminal requests, in the database and in the blob store.

Each check yields what breaks it; `check_rows` runs them all, and those of every moment. audit.py and shop.py watch
during the run for what must never happen.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from deploy.demo.pictures import decode
from shared.blobs import output_key
from shared.formats import EXTENSIONS
from tests.chaos.shop import Accepted
from tests.integration.invariants import Snapshot

Row = dict[str, Any]
Database = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Violation:
    """`invariant` is the name of the check."""

    invariant: str
    details: str


def rows_of(database: Database, sql: LiteralString, *parameters: Any) -> list[Row]:
    with database.cursor(row_factory=dict_row) as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def requests_of(database: Database, tag: str) -> list[str]:
    """Every request of a run, including those whose 202 was lost."""
    found = rows_of(database, "SELECT id FROM processing_request WHERE idempotency_key LIKE %s", f"{tag}-%")
    return [str(row["id"]) for row in found]


Check = Callable[[Database, Sequence[str]], Iterator[str]]


def every_request_is_terminal(database: Database, ids: Sequence[str]) -> Iterator[str]:
    found = {str(row["id"]): row for row in rows_of(database, _REQUESTS, list(ids))}
    for request_id in ids:
        row = found.get(request_id)
        if row is None:
            yield f"{request_id} is not there"
        elif row["status"] not in ("completed", "failed", "cancelled") or row["finished_at"] is None:
            yield f"{request_id} is {row['status']}"


def the_event_is_made_at_the_end(database: Database, ids: Sequence[str]) -> Iterator[str]:
    for row in rows_of(database, _EVENTS, list(ids)):
        yield f"{row['id']} ended at {row['finished_at']}, after its event of {row['last']}"


def one_delivery_for_each_event(database: Database, ids: Sequence[str]) -> Iterator[str]:
    for row in rows_of(database, _DELIVERIES, list(ids)):
        if row["deliveries"] != (1 if row["webhook_url"] else 0):
            yield f"event {row['id']} has {row['deliveries']} deliveries"


def attempts_are_bounded(database: Database, ids: Sequence[str]) -> Iterator[str]:
    for row in rows_of(database, _ATTEMPTS, list(ids)):
        yield f"delivery {row['id']} of {row['request_id']}: {row['attempt']} attempts"


def terminal_states_are_refused_a_change(database: Database, ids: Sequence[str]) -> Iterator[str]:
    """The product's own triggers: an image and a request are asked to change, and nothing is kept of it."""
    for statement in (_REOPEN_IMAGE, _REOPEN_REQUEST):
        try:
            with database.transaction(force_rollback=True):
                changed = database.execute(statement, [list(ids)]).rowcount
        except psycopg.errors.IntegrityError:
            continue
        if changed:
            yield f"nothing refused: {' '.join(statement.split())}"


CHECKS: tuple[Check, ...] = (
    every_request_is_terminal,
    the_event_is_made_at_the_end,
    one_delivery_for_each_event,
    attempts_are_bounded,
    terminal_states_are_refused_a_change,
)


def check_rows(database: Database, ids: Sequence[str]) -> list[Violation]:
    """All checks over the rows of these requests."""
    with database.cursor(row_factory=dict_row) as cursor:
        snapshot = Snapshot.read(lambda sql, **params: cursor.execute(sql, params).fetchall(), ids)
    found = [Violation(rule, details) for rule, details in snapshot.problems()]
    return found + [Violation(check.__name__, details) for check in CHECKS for details in check(database, ids)]


def check_blobs(database: Database, blobs: Path, ids: Sequence[str]) -> list[Violation]:
    """A completed image has its blob; hash and size are right, and it can be decoded. Equal blobs are decoded once."""
    decoded: set[str] = set()
    found = rows_of(database, _COMPLETED, list(ids))
    problems = ((row, _blob_problem(row, blobs, decoded)) for row in found)
    return [
        Violation("completed_image_has_its_blob", f"image {row['number']} of {row['request_id']}: {problem}")
        for row, problem in problems
        if problem
    ]


def _blob_problem(row: Row, blobs: Path, decoded: set[str]) -> str | None:
    digest = row["rendition_sha256"]
    path = blobs / output_key(row["request_id"], digest, EXTENSIONS[row["rendition_format"]])
    try:
        data = path.read_bytes()
    except OSError as error:
        return f"{path.name}: {error.strerror}"
    if len(data) != row["rendition_bytes"] or sha256(data).hexdigest() != digest:
        return f"{path.name} is not what its row says"
    if digest in decoded:
        return None
    decoded.add(digest)
    try:
        size = decode(data).size
    except OSError as error:
        return f"{path.name} does not decode: {error}"
    return None if size == (row["rendition_width"], row["rendition_height"]) else f"{path.name} is {size}"


def check_order(database: Database, accepted: Accepted) -> list[Violation]:
    """The stored request is the one that was sent: rows, order, one image for each URL, and how each ended."""
    order, request_id = accepted.order, accepted.request_id
    images = {row["number"]: row for row in rows_of(database, _IMAGES, request_id)}
    products = rows_of(database, _PRODUCTS, request_id)
    refused = rows_of(database, _REFUSED, request_id)[0]["rows"]
    broken: list[tuple[str, str]] = []
    if len(products) != len(order.products) or len(products) + refused != len(order.rows):
        broken.append(("rows_are_products_and_refused", f"{len(order.rows)} = {len(products)} + {refused}"))
    if sorted(row["url"] for row in images.values()) != sorted(order.expected):
        broken.append(("one_image_for_each_url", f"{len(images)} images for {len(order.expected)} URLs"))
    stored = [(row["serial_number"], [images[number]["url"] for number in row["images"]]) for row in products]
    if stored != [(row.serial, row.urls) for row in order.products]:
        broken.append(("order_is_kept", "rows or URLs are not in the manifest's order"))
    broken += [("no_image_is_lost", details) for details in _lost(accepted, images)]
    return [Violation(name, f"{request_id}: {details}") for name, details in broken]


def _lost(accepted: Accepted, images: dict[int, Row]) -> Iterator[str]:
    """Whatever broke of ours, a good picture becomes a rendition and a bad one its own error."""
    for number, row in images.items():
        wanted = accepted.order.expected.get(row["url"])
        if row["error_code"] == "cancelled" and accepted.order.cancel:
            continue
        if (row["error_code"] if row["state"] == "failed" else None) != wanted or row["state"] == "pending":
            yield f"image {number} is {row['state']} ({row['error_code']}: {row['error_detail']}), wanted {wanted}"


_REQUESTS: LiteralString = "SELECT * FROM processing_request WHERE id = ANY(%s::uuid[])"
_EVENTS: LiteralString = """
SELECT r.id, r.finished_at, max(e.created_at) AS last FROM processing_request r JOIN event e ON e.request_id = r.id
WHERE r.id = ANY(%s::uuid[]) GROUP BY r.id HAVING max(e.created_at) < r.finished_at
"""
_DELIVERIES: LiteralString = """
SELECT e.id, r.webhook_url, count(d.id) AS deliveries
FROM event e JOIN processing_request r ON r.id = e.request_id LEFT JOIN delivery d ON d.event_id = e.id
WHERE r.id = ANY(%s::uuid[]) GROUP BY e.id, r.webhook_url
"""
_ATTEMPTS: LiteralString = """
SELECT id, request_id, attempt FROM delivery d WHERE request_id = ANY(%s::uuid[])
AND (attempt > 10 OR attempt <> (SELECT count(*) FROM delivery_attempt a WHERE a.delivery_id = d.id))
"""
_REOPEN_IMAGE: LiteralString = """
UPDATE image SET state = 'pending' WHERE request_id = ANY(%s::uuid[]) AND state <> 'pending'
"""
_REOPEN_REQUEST: LiteralString = """
UPDATE processing_request SET status = 'processing' WHERE id = ANY(%s::uuid[]) AND finished_at IS NOT NULL
"""
_COMPLETED: LiteralString = """
SELECT request_id, number, rendition_sha256, rendition_format, rendition_bytes, rendition_width, rendition_height
FROM image WHERE request_id = ANY(%s::uuid[]) AND state = 'completed'
"""
_IMAGES: LiteralString = "SELECT number, url, state, error_code, error_detail FROM image WHERE request_id = %s"
_PRODUCTS: LiteralString = "SELECT serial_number, images FROM product WHERE request_id = %s ORDER BY row"
_REFUSED: LiteralString = """
SELECT count(DISTINCT error ->> 'row') AS rows FROM rejected_row WHERE request_id = %s
"""

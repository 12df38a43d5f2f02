"""A finished request as it should be, with blob, event and webhook: the checks must find nothing in it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from standardwebhooks import Webhook

from deploy.demo.receiver import Arrival
from shared.blobs import output_key
from shared.ids import uuid7
from tests.chaos.hooks import check_hooks
from tests.chaos.invariants import Violation, check_blobs, check_order, check_rows
from tests.chaos.load import Order, Row
from tests.chaos.shop import Accepted
from tests.pictures import encode, photo

HOOK = "http://127.0.0.1:1/hook/ok/key"
GOOD, BAD = "http://origin.test/good.jpg", "http://origin.test/bad.jpg"
PICTURE = encode(photo(16, 16), "jpeg")
DIGEST = sha256(PICTURE).hexdigest()
EXPECTED: dict[str, str | None] = {GOOD: None, BAD: "http_status"}


@dataclass(slots=True)
class Scene:
    """`check` runs every check; `post` is the webhook that the receiver kept."""

    connection: "psycopg.Connection[Any]"
    blobs: Path
    accepted: Accepted
    post: Arrival

    @property
    def request_id(self) -> str:
        return self.accepted.request_id

    @property
    def blob(self) -> Path:
        return self.blobs / output_key(UUID(self.request_id), DIGEST, "jpg")

    def check(self) -> list[Violation]:
        ids = [self.request_id]
        found = check_rows(self.connection, ids) + check_blobs(self.connection, self.blobs, ids)
        found += check_order(self.connection, self.accepted)
        return found + check_hooks(self.connection, [self.post], ids)

    def meddle(self, statement: str) -> None:
        """Change what no trigger would allow. `{id}` is the request's."""
        self.connection.execute("SET session_replication_role = replica")
        self.connection.execute(statement.replace("{id}", self.request_id).encode())
        self.connection.execute("SET session_replication_role = origin")


def scene(connection: "psycopg.Connection[Any]", blobs: Path) -> Scene:
    """On a connection that commits by itself."""
    request_id = str(uuid7())
    rows = {"id": UUID(request_id), "good": GOOD, "bad": BAD, "digest": DIGEST, "size": len(PICTURE), "hook": HOOK}
    connection.execute(_REQUEST, rows)
    for statement in (_PRODUCTS, _IMAGES, _GROUP, _REFUSED, _EVENT, _DELIVERY, _ATTEMPT):
        connection.execute(statement, rows)
    order = Order("key-0", at=0, hook="ok", expected=dict(EXPECTED))
    order.rows = [Row("1", "A", [GOOD, BAD]), Row("2", "B", [], refused=True), Row("3", "C", [BAD, GOOD])]
    made = Scene(connection, blobs, Accepted(order, request_id), _post(connection))
    made.blob.parent.mkdir(parents=True)
    made.blob.write_bytes(PICTURE)
    return made


def _post(connection: "psycopg.Connection[Any]") -> Arrival:
    row = connection.execute("SELECT e.id, e.body, a.signing_secret FROM event e, account a").fetchone()
    assert row is not None
    now = datetime.now(UTC)
    headers = {
        "webhook-id": str(row[0]),
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(row[2]).sign(str(row[0]), now, row[1]),
    }
    return Arrival(at=now, headers=headers, body=row[1].encode(), shown={"status": "completed", "run": 1})


_REQUEST = """
INSERT INTO processing_request (id, account_id, status, webhook_url, products, images, rejected, completed, failed,
                                source_bytes, rendition_bytes, started_at, finished_at, deadline_at, dispatch_at)
SELECT %(id)s, id, 'completed', %(hook)s, 2, 2, 1, 1, 1, 900, %(size)s, now(), now(), now(), NULL FROM account
"""
_PRODUCTS = """
INSERT INTO product (request_id, row, serial_number, name, images)
VALUES (%(id)s, 1, '1', 'A', '{1,2}'), (%(id)s, 3, '3', 'C', '{2,1}')
"""
_IMAGES = """
INSERT INTO image (request_id, number, url, state, attempts, error_code, source_bytes, rendition_bytes,
                   rendition_format, rendition_width, rendition_height, rendition_sha256)
VALUES (%(id)s, 1, %(good)s, 'completed', 1, NULL, 900, %(size)s, 'jpeg', 16, 16, %(digest)s),
       (%(id)s, 2, %(bad)s, 'failed', 1, 'http_status', NULL, NULL, NULL, NULL, NULL, NULL)
"""
_GROUP = """
INSERT INTO image_group (request_id, number, state, images, completed, failed) VALUES (%(id)s, 1, 'settled', 2, 1, 1)
"""
_REFUSED = """
INSERT INTO rejected_row (request_id, number, error) VALUES (%(id)s, 1, '{"row": 2}')
"""
_EVENT = """
INSERT INTO event (id, request_id, run, type, body)
VALUES (gen_random_uuid(), %(id)s, 1, 'request.completed', '{"data": {"request_id": "' || %(id)s || '"}}')
"""
_DELIVERY = """
INSERT INTO delivery (id, event_id, request_id, url, status, attempt)
SELECT gen_random_uuid(), id, request_id, %(hook)s, 'delivered', 1 FROM event WHERE request_id = %(id)s
"""
_ATTEMPT = """
INSERT INTO delivery_attempt (delivery_id, number, status_code, duration_ms)
SELECT id, 1, 200, 5 FROM delivery WHERE request_id = %(id)s
"""

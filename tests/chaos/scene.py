"""A finished request as it should be, with blob, event and webhook: the checks must find nothing in it."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from sqlmodel import SQLModel
from standardwebhooks import Webhook

from deploy.demo.pictures import draw
from deploy.demo.receiver import Arrival
from shared.blobs import output_key
from shared.db import Database
from shared.schemas.tables import Delivery, DeliveryAttempt, Event, RejectedRow
from tests.chaos.hooks import check_hooks
from tests.chaos.invariants import Violation, check_blobs, check_order, check_rows
from tests.chaos.load import Order, Row
from tests.chaos.shop import Accepted
from tests.integration.status.seed import NOW, add, completed, failed, group, product, request

HOOK = "http://127.0.0.1:1/hook/ok/key"
PICTURE = draw("small.jpg", (16, 16))
DIGEST = sha256(PICTURE).hexdigest()


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


def scene(database_url: str, connection: "psycopg.Connection[Any]", blobs: Path) -> Scene:
    """On a connection that commits by itself."""
    sizes: dict[str, Any] = {"source_bytes": 1000, "rendition_bytes": len(PICTURE)}
    counts: dict[str, Any] = {"images": 2, "completed": 1, "failed": 1}
    made = request(status="completed", webhook_url=HOOK, products=2, rejected=1, finished_at=NOW, **sizes, **counts)
    pixels: dict[str, Any] = {"rendition_width": 16, "rendition_height": 16}
    good, bad = completed(made.id, 1, rendition_sha256=DIGEST, **pixels, **sizes), failed(made.id, 2)
    body = json.dumps({"data": {"request_id": str(made.id)}})
    event = Event(request_id=made.id, run=1, type="request.completed", body=body)
    event_id, request_id = event.id, str(made.id)  # the session expires the rows
    delivery = Delivery(event_id=event.id, request_id=made.id, url=HOOK, status="delivered", attempt=1)
    order = Order("key-0", at=0, hook="ok", expected={good.url: None, bad.url: "http_status"})
    order.rows = [Row("1", "A", [good.url, bad.url]), Row("2", "B", [], refused=True)]
    order.rows.append(Row("3", "C", [bad.url, good.url]))
    rows: list[SQLModel] = [made, product(made.id, 1, [1, 2]), product(made.id, 3, [2, 1]), good, bad, event, delivery]
    rows.append(group(made.id, 1, state="settled", **sizes, **counts))
    rows.append(RejectedRow(request_id=made.id, number=1, error={"row": 2}))
    rows.append(DeliveryAttempt(delivery_id=delivery.id, number=1, status_code=200, duration_ms=5))
    database = Database(database_url)
    add(database, rows)
    database.close()
    found = Scene(connection, blobs, Accepted(order, request_id), _post(event_id, body, connection))
    found.blob.parent.mkdir(parents=True)
    found.blob.write_bytes(PICTURE)
    return found


def _post(event_id: UUID, body: str, connection: "psycopg.Connection[Any]") -> Arrival:
    row = connection.execute("SELECT signing_secret FROM account").fetchone()
    assert row is not None
    now = datetime.now(UTC)
    headers = {
        "webhook-id": str(event_id),
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(row[0]).sign(str(event_id), now, body),
    }
    return Arrival(at=now, headers=headers, body=body.encode(), shown={"status": "completed", "run": 1})

"""Each check finds its fault: a finished request as it should be, with blob, event and webhook, and one thing wrong."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from sqlmodel import SQLModel
from standardwebhooks import Webhook

from deploy.demo.pictures import draw
from deploy.demo.receiver import Arrival
from shared.blobs import output_key
from shared.broker.queues import QUEUE, TAKEN
from shared.db import Database
from shared.schemas.tables import Delivery, DeliveryAttempt, Event, RejectedRow
from tests.chaos import audit, drained
from tests.chaos.hooks import check_hooks
from tests.chaos.invariants import check_blobs, check_order, check_rows
from tests.chaos.load import Order, Row
from tests.chaos.shop import Accepted
from tests.integration.status.seed import NOW, add, completed, failed, group, product, request

HOOK = "http://127.0.0.1:1/hook/ok/key"
PICTURE = draw("small.jpg", (16, 16))
DIGEST = sha256(PICTURE).hexdigest()


@dataclass(slots=True)
class Finished:
    """`connection` commits by itself; `post` is the webhook that the receiver kept."""

    connection: "psycopg.Connection[Any]"
    blobs: Path
    blob: Path
    accepted: Accepted
    post: Arrival

    @property
    def request_id(self) -> str:
        return self.accepted.request_id

    def violated(self) -> set[str]:
        """The names of all checks that find something."""
        ids = [self.request_id]
        found = check_rows(self.connection, ids) + check_blobs(self.connection, self.blobs, ids)
        found += check_order(self.connection, self.accepted) + check_hooks(self.connection, [self.post], ids)
        return {violation.invariant for violation in found}

    def meddle(self, statement: str) -> None:
        """Change what no trigger would allow."""
        self.connection.execute("SET session_replication_role = replica")
        self.connection.execute(statement.encode())
        self.connection.execute("SET session_replication_role = origin")


@pytest.fixture
def good(database_url: str, tmp_path: Path) -> Iterator[Finished]:
    sizes: dict[str, Any] = {"source_bytes": 1000, "rendition_bytes": len(PICTURE)}
    counts: dict[str, Any] = {"images": 2, "completed": 1, "failed": 1}
    made = request(status="completed", webhook_url=HOOK, products=2, rejected=1, finished_at=NOW, **sizes, **counts)
    pixels: dict[str, Any] = {"rendition_width": 16, "rendition_height": 16}
    good, bad = completed(made.id, 1, rendition_sha256=DIGEST, **pixels, **sizes), failed(made.id, 2)
    body = json.dumps({"data": {"request_id": str(made.id)}})
    event = Event(request_id=made.id, run=1, type="request.completed", body=body)
    delivery = Delivery(event_id=event.id, request_id=made.id, url=HOOK, status="delivered", attempt=1)
    order = Order("key-0", at=0, hook="ok", expected={good.url: None, bad.url: "http_status"})
    order.rows = [Row("1", "A", [good.url, bad.url]), Row("2", "B", [], refused=True)]
    order.rows.append(Row("3", "C", [bad.url, good.url]))
    rows: list[SQLModel] = [made, product(made.id, 1, [1, 2]), product(made.id, 3, [2, 1]), good, bad, event, delivery]
    rows.append(group(made.id, 1, state="settled", **sizes, **counts))
    rows.append(RejectedRow(request_id=made.id, number=1, error={"row": 2}))
    rows.append(DeliveryAttempt(delivery_id=delivery.id, number=1, status_code=200, duration_ms=5))
    accepted, event_id, blob = Accepted(order, str(made.id)), str(event.id), output_key(made.id, DIGEST, "jpg")
    database = Database(database_url)
    add(database, rows)  # which expires them
    database.close()
    (tmp_path / blob).parent.mkdir(parents=True)
    (tmp_path / blob).write_bytes(PICTURE)
    with psycopg.connect(database_url, autocommit=True) as connection:
        ((secret,),) = connection.execute("SELECT signing_secret FROM account").fetchall()
        yield Finished(connection, tmp_path, tmp_path / blob, accepted, signed(event_id, body, secret))


def signed(event_id: str, body: str, secret: str) -> Arrival:
    now = datetime.now(UTC)
    headers = {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(event_id, now, body),
    }
    return Arrival(at=now, headers=headers, body=body.encode(), shown={"status": "completed", "run": 1})


def test_a_request_as_it_should_be_has_no_violation(good: Finished) -> None:
    assert good.violated() == set()


@pytest.mark.parametrize(
    ("invariant", "statement"),
    [
        ("every_request_is_terminal", "UPDATE processing_request SET status = 'processing', finished_at = NULL"),
        ("every_request_is_terminal", "DELETE FROM processing_request"),
        ("counters_are_the_images", "UPDATE processing_request SET completed = 0"),
        ("counters_are_the_images", "UPDATE processing_request SET source_bytes = 1"),
        ("counters_are_the_images", "UPDATE image_group SET state = 'dispatched'"),
        ("counters_are_the_images", "UPDATE image_group SET completed = 0, failed = 2"),
        ("settled_groups_are_done", "UPDATE image_group SET in_flight = 1"),
        ("settled_images_are_unclaimed", "UPDATE image SET claimed_by = gen_random_uuid() WHERE number = 1"),
        ("counters_are_the_images", "UPDATE processing_request SET open_groups = 1"),
        ("finished_is_settled", "UPDATE processing_request SET open_groups = 1"),
        ("dispatched_groups_are_reconciled", "UPDATE image_group SET state = 'dispatched'"),
        (
            "pending_images_are_of_the_run",
            "UPDATE image SET state = 'pending', run = 2, error_code = NULL, error_detail = NULL WHERE number = 2",
        ),
        ("status_follows_the_images", "UPDATE processing_request SET status = 'failed'"),
        ("one_event_for_each_run", "DELETE FROM event"),
        ("one_event_for_each_run", "UPDATE processing_request SET run = 2"),
        ("the_event_is_made_at_the_end", "UPDATE processing_request SET finished_at = now() + interval '1 s'"),
        ("one_delivery_for_each_event", "DELETE FROM delivery"),
        ("attempts_are_bounded", "UPDATE image SET attempts = 6"),
        ("attempts_are_bounded", "UPDATE delivery SET attempt = 2"),
        ("terminal_states_are_refused_a_change", "ALTER TABLE image DISABLE TRIGGER image_stays_settled"),
        (
            "terminal_states_are_refused_a_change",
            "ALTER TABLE processing_request DISABLE TRIGGER request_stays_terminal",
        ),
        ("completed_image_has_its_blob", "UPDATE image SET rendition_bytes = 1 WHERE number = 1"),
        ("completed_image_has_its_blob", "UPDATE image SET rendition_width = 17 WHERE number = 1"),
        ("rows_are_products_and_refused", "DELETE FROM product WHERE row = 3"),
        ("rows_are_products_and_refused", "DELETE FROM rejected_row"),
        ("one_image_for_each_url", "UPDATE image SET url = 'https://images.example/1.jpg'"),
        ("order_is_kept", "UPDATE product SET images = '{1,2}'"),
        ("no_image_is_lost", "UPDATE image SET state = 'failed', error_code = 'worker_lost' WHERE number = 1"),
        ("receivers_ids_are_the_events", "UPDATE event SET id = gen_random_uuid()"),
        ("bodies_are_equal", "UPDATE event SET body = '{}'"),
        ("signatures_are_valid", "UPDATE account SET signing_secret = 'whsec_AAAA'"),
        ("every_delivery_ends", "UPDATE delivery SET status = 'exhausted'"),
    ],
)
def test_what_is_wrong_in_the_database_is_found(good: Finished, invariant: str, statement: str) -> None:
    good.meddle(statement)
    assert invariant in good.violated()


@pytest.mark.parametrize("damage", ["missing", "other bytes", "not a picture"])
def test_a_blob_that_is_not_what_its_row_says_is_found(good: Finished, damage: str) -> None:
    if damage == "missing":
        good.blob.unlink()
    else:
        good.blob.write_bytes(b"x" * (good.blob.stat().st_size if damage == "not a picture" else 3))
    assert good.violated() == {"completed_image_has_its_blob"}


@pytest.mark.parametrize(
    ("shown", "seconds_before", "violated"),
    [
        pytest.param({"status": "processing", "run": 1}, 0, {"no_webhook_before_get"}, id="before GET showed the end"),
        pytest.param({"status": "processing", "run": 2}, 0, set(), id="GET showed the next run already"),
        pytest.param(None, 0, set(), id="without the gateway the clocks decide"),
        pytest.param(None, 30, {"no_webhook_before_get"}, id="without the gateway, too early"),
    ],
)
def test_a_webhook_does_not_come_before_get_shows_the_end(
    good: Finished, shown: dict[str, Any] | None, seconds_before: int, violated: set[str]
) -> None:
    good.post = replace(good.post, shown=shown, at=good.post.at - timedelta(seconds=seconds_before))
    assert good.violated() == violated


def test_a_forged_webhook_is_found(good: Finished) -> None:
    good.post = replace(good.post, headers={**good.post.headers, "webhook-id": "forged"})
    assert "receivers_ids_are_the_events" in good.violated()


def test_a_request_that_ends_before_its_images_is_noted_at_the_commit(good: Finished) -> None:
    audit.install(good.connection)
    good.meddle("UPDATE image SET state = 'pending'; UPDATE processing_request SET finished_at = NULL")
    good.connection.execute("UPDATE processing_request SET finished_at = now()")
    assert "terminal with 2 images pending" in audit.breaches(good.connection, [good.request_id])[0]


def test_an_attempt_too_many_is_noted_though_it_passes(good: Finished) -> None:
    audit.install(good.connection)
    good.connection.execute("UPDATE image SET attempts = 6 WHERE number = 1")
    good.connection.execute("UPDATE image SET attempts = 1 WHERE number = 1")
    assert "attempts 1 to 6" in audit.breaches(good.connection, [good.request_id])[0]


OPEN = {"run": 1, "status": "processing", "progress": 0.5, "images": {"pending": 5}}
DONE = OPEN | {"status": "completed", "progress": 1.0, "images": {"pending": 0}}


@pytest.mark.parametrize(
    ("views", "seen"),
    [
        ([OPEN, OPEN | {"progress": 0.4}], ["progress 0.5 became 0.4"]),
        ([DONE, DONE | {"status": "failed"}], ["completed became failed"]),
        ([DONE, OPEN | {"run": 2}], []),
    ],
)
def test_progress_that_goes_back_and_an_end_that_changes_are_noted(
    views: list[dict[str, Any]], seen: list[str]
) -> None:
    accepted = Accepted(Order("key", at=0, hook=None), "id")
    for view in views:
        accepted.note(view)
    assert accepted.seen == seen


def test_messages_that_stay_behind_are_found(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert list(drained.messages(client)) == []
        client.rpush(f"{QUEUE}fetch", "{}", "{}")
        client.rpush(f"{TAKEN}process", "{}")
        assert list(drained.messages(client)) == ["fetch holds 2", "halftone:taken:process holds 1"]


def test_a_file_half_written_is_found_unless_its_writer_was_killed(tmp_path: Path) -> None:
    (tmp_path / "blobs" / ".tmp").mkdir(parents=True)
    (tmp_path / "blobs" / ".tmp" / "half").touch()
    (tmp_path / "blobs" / "request" / "out").mkdir(parents=True)
    (tmp_path / "blobs" / "request" / "out" / ".half").touch()
    (tmp_path / "spool").mkdir()
    assert list(drained.temporary(tmp_path / "blobs", tmp_path / "spool", kept=False)) == [
        ".tmp/half is left",
        "out/.half is left",
    ]
    assert list(drained.temporary(tmp_path / "blobs", tmp_path / "spool", kept=True)) == []

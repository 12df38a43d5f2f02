"""Each check finds its fault: a request as it should be, with one thing wrong."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import redis

from tests.chaos import audit, drained
from tests.chaos.load import Order
from tests.chaos.scene import Scene, scene
from tests.chaos.shop import Accepted


@pytest.fixture
def good(database_url: str, tmp_path: Path) -> Iterator[Scene]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield scene(database_url, connection, tmp_path)


def test_a_request_as_it_should_be_has_no_violation(good: Scene) -> None:
    assert good.check() == []


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
def test_what_is_wrong_in_the_database_is_found(good: Scene, invariant: str, statement: str) -> None:
    good.meddle(statement)
    assert invariant in {violation.invariant for violation in good.check()}


@pytest.mark.parametrize("damage", ["missing", "other bytes", "not a picture"])
def test_a_blob_that_is_not_what_its_row_says_is_found(good: Scene, damage: str) -> None:
    if damage == "missing":
        good.blob.unlink()
    else:
        good.blob.write_bytes(b"x" * (good.blob.stat().st_size if damage == "not a picture" else 3))
    assert {violation.invariant for violation in good.check()} == {"completed_image_has_its_blob"}


def test_a_webhook_that_came_before_get_showed_the_end_is_found(good: Scene) -> None:
    good.post = replace(good.post, shown={"status": "processing", "run": 1})
    assert {violation.invariant for violation in good.check()} == {"no_webhook_before_get"}


def test_a_webhook_of_a_run_that_get_has_left_behind_is_in_time(good: Scene) -> None:
    good.post = replace(good.post, shown={"status": "processing", "run": 2})
    assert good.check() == []


def test_where_the_gateway_was_down_the_clocks_decide(good: Scene) -> None:
    good.post = replace(good.post, shown=None)
    assert good.check() == []
    good.post = replace(good.post, at=good.post.at - timedelta(seconds=30))
    assert {violation.invariant for violation in good.check()} == {"no_webhook_before_get"}


def test_a_forged_webhook_is_found(good: Scene) -> None:
    good.post = replace(good.post, headers={**good.post.headers, "webhook-id": "forged"})
    assert "receivers_ids_are_the_events" in {violation.invariant for violation in good.check()}


def test_a_request_that_ends_before_its_images_is_noted_at_the_commit(good: Scene) -> None:
    audit.install(good.connection)
    good.meddle("UPDATE image SET state = 'pending'; UPDATE processing_request SET finished_at = NULL")
    good.connection.execute("UPDATE processing_request SET finished_at = now()")
    assert "terminal with 2 images pending" in audit.breaches(good.connection, [good.request_id])[0]


def test_an_attempt_too_many_is_noted_though_it_passes(good: Scene) -> None:
    audit.install(good.connection)
    good.connection.execute("UPDATE image SET attempts = 6 WHERE number = 1")
    good.connection.execute("UPDATE image SET attempts = 1 WHERE number = 1")
    assert "attempts 1 to 6" in audit.breaches(good.connection, [good.request_id])[0]


def _view(**values: object) -> dict[str, object]:
    return {"run": 1, "status": "processing", "progress": 0.5, "images": {"pending": 5}} | values


def test_progress_that_goes_back_is_noted() -> None:
    accepted = Accepted(Order("key", at=0, hook=None), "id")
    accepted.note(_view())
    accepted.note(_view(progress=0.4))
    assert accepted.seen == ["progress 0.5 became 0.4"]


def test_an_end_that_does_not_stay_is_noted() -> None:
    accepted = Accepted(Order("key", at=0, hook=None), "id")
    accepted.note(_view(status="completed", progress=1.0, images={"pending": 0}))
    accepted.note(_view(status="failed", progress=1.0, images={"pending": 0}))
    assert accepted.seen == ["completed became failed"]


def test_a_new_run_may_begin_again() -> None:
    accepted = Accepted(Order("key", at=0, hook=None), "id")
    accepted.note(_view(status="completed", progress=1.0, images={"pending": 0}))
    accepted.note(_view(run=2))
    assert accepted.seen == []


def test_messages_that_stay_behind_are_found(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert list(drained.messages(client)) == []
        client.rpush("dramatiq:fetch", "id")
        client.hset("dramatiq:fetch.msgs", "id", "{}")
        client.sadd("dramatiq:__acks__.worker.compress", "id")
        client.zadd("dramatiq:notify.XQ", {"id": 1})
        assert list(drained.messages(client)) == [
            "fetch holds 1",
            "fetch.msgs holds 1",
            "notify.XQ holds 1",
            "dramatiq:__acks__.worker.compress holds 1",
        ]


def test_a_file_half_written_is_found_unless_its_writer_was_killed(tmp_path: Path) -> None:
    (tmp_path / "blobs" / ".tmp").mkdir(parents=True)
    (tmp_path / "blobs" / ".tmp" / "half").touch()
    (tmp_path / "spool").mkdir()
    assert list(drained.temporary(tmp_path / "blobs", tmp_path / "spool", kept=False)) == [".tmp/half is left"]
    assert list(drained.temporary(tmp_path / "blobs", tmp_path / "spool", kept=True)) == []

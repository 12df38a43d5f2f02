"""The last line of defence: the database refuses what the statements should never try."""

from typing import LiteralString
from uuid import UUID

import psycopg
import pytest

from services.notifier.reconcile import reconcile
from services.worker.dispatch import dispatch_request
from shared.db import Database
from tests.integration.batches import Post, done, report
from tests.integration.seed import add_request, sql

BEFORE: dict[str, LiteralString] = {
    "completed": "UPDATE image SET state = 'completed', rendition_sha256 = 'a' WHERE number = 1",
    "failed": "UPDATE image SET state = 'failed', error_code = 'timeout' WHERE number = 1",
    "cancelled": "UPDATE image SET state = 'cancelled', error_code = 'cancelled' WHERE number = 1",
}


@pytest.fixture
def request_id(database: Database) -> UUID:
    return add_request(database, images=2)


@pytest.mark.parametrize("before", BEFORE)
def test_a_settled_image_may_change_in_everything_but_its_state(
    database: Database, request_id: UUID, before: str
) -> None:
    sql(database, BEFORE[before])
    sql(database, "UPDATE image SET url = 'x' WHERE number = 1")
    change: LiteralString = """
        UPDATE image SET state = %(state)s, rendition_sha256 = 'b', error_code = 'expired' WHERE number = 1
        """
    for state in {"pending", *BEFORE} - {before}:
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="is terminal"):
            sql(database, change, state=state)


def test_a_settled_image_comes_back_only_as_run_grows_in_the_same_statement(
    database: Database, request_id: UUID
) -> None:
    sql(database, BEFORE["failed"])
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
        sql(database, "UPDATE image SET state = 'pending', run = 0 WHERE number = 1")
    sql(database, "UPDATE image SET state = 'pending', run = 2 WHERE number = 1")


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_terminal_request_stays_what_it_is(database: Database, request_id: UUID, status: str) -> None:
    sql(database, "UPDATE processing_request SET status = %(status)s", status=status)
    for other in {"pending", "processing", "completed", "failed", "cancelled"} - {status}:
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="is terminal"):
            sql(database, "UPDATE processing_request SET status = %(status)s", status=other)
    sql(database, "UPDATE processing_request SET status = 'pending', run = run + 1")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE image SET state = 'completed'",
        "UPDATE image SET state = 'failed'",
        "UPDATE image SET state = 'lost'",
        "UPDATE image_group SET state = 'settled'",
        "UPDATE image_group SET completed = 2, failed = 1",
        "UPDATE processing_request SET completed = 3",
        "UPDATE processing_request SET stop_reason = 'bored'",
    ],
)
def test_rows_that_contradict_themselves_are_refused(
    database: Database, request_id: UUID, statement: LiteralString
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        sql(database, statement)


def test_a_run_has_one_event(database: Database, request_id: UUID) -> None:
    post = Post()
    dispatch_request(database, post, request_id)
    report(database, post.batches[0], [done(1), done(2)])
    database.transact(lambda session: reconcile(session, request_id, 1, dispatch_no=1, public_url=""))
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql(
            database,
            """
            INSERT INTO event (id, request_id, run, type, body)
            SELECT gen_random_uuid(), request_id, run, '', '' FROM event
            """,
        )

"""Failures that quote a user's URL, made to happen for real: neither our logs nor PostgreSQL's have its query."""

import io
from collections.abc import Callable, Iterator
from uuid import uuid4

import dramatiq
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from shared import log
from shared.broker import declare, receives
from shared.broker.connection import _raw, connect
from shared.db import Database, connection_of, execute
from shared.messages import FetchBatch, Fetched, ImageRef
from tests.integration.batches import fetch_of
from tests.logs import logging_as
from tests.stack import Stack, until

SECRET = "5eC_rE-t"
URL = f"https://cdn.example/a.jpg?X-Amz-Security-Token={'A' * 600}&X-Amz-Signature={SECRET}"


@pytest.fixture(autouse=True)
def logs() -> Iterator[io.StringIO]:
    with logging_as("text") as written:
        yield written


class Actors:
    @receives(FetchBatch)
    def fetch_batch(self, message: FetchBatch) -> Fetched:
        raise RuntimeError(f"unexpected {message.images[0].url}")


def test_an_actor_that_raises_is_logged_by_name_and_message_id(redis_url: str, logs: io.StringIO) -> None:
    batch = fetch_of(uuid4(), [1])
    message = _raw(batch.model_copy(update={"images": tuple(ImageRef(number=n, url=URL) for n in range(1, 9))}))
    unreadable = message.copy(args=({"images": [{"number": "one", "url": URL}], "group": URL},), message_id="second")
    _work_on(redis_url, [message, unreadable], logs)
    written = logs.getvalue()
    assert f"Failed to process message worker.fetch_batch({message.message_id})" in written
    assert "unexpected https://cdn.example/a.jpg?***" in written
    assert "Failed to process message worker.fetch_batch(second)" in written
    assert "images.0.number" in written
    assert SECRET not in written
    assert f"group={batch.group}" in written
    assert f"request_id={batch.request_id}" in written  # also in the lines of libraries


def _work_on(redis_url: str, messages: list[dramatiq.Message[None]], logs: io.StringIO) -> None:
    broker = connect(redis_url)
    declare(broker, Actors())
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=50)
    for message in messages:
        broker.enqueue(message)
    worker.start()
    try:
        until(lambda: logs.getvalue().count("Failed to process") == len(messages))
    finally:
        worker.stop()
        broker.close()


def _by_psycopg(session: Session) -> None:
    execute(session, "INSERT INTO leaky VALUES (%(url)s, NULL)", {"url": URL})


def _by_sqlalchemy(session: Session) -> None:
    session.connection().execute(text("INSERT INTO leaky VALUES (:url, NULL)"), {"url": URL})


def _by_copy(session: Session) -> None:
    with connection_of(session).cursor() as cursor, cursor.copy("COPY leaky FROM STDIN") as copy:
        copy.write_row((URL, None))


@pytest.mark.parametrize("insert", [_by_psycopg, _by_sqlalchemy, _by_copy])
def test_a_row_that_the_database_refuses_is_in_no_log(
    database: Database, servers: Stack, logs: io.StringIO, insert: Callable[[Session], None]
) -> None:
    database.transact(lambda session: execute(session, "CREATE TABLE leaky (url text, number int NOT NULL)"))
    try:
        with pytest.raises((psycopg.errors.NotNullViolation, DBAPIError)) as caught:
            database.transact(insert)
        log.get_logger("test").error("refused", exc_info=caught.value)
    finally:
        database.transact(lambda session: execute(session, "DROP TABLE leaky"))
    written = logs.getvalue()
    assert "violates not-null constraint" in written
    assert SECRET not in written
    assert "leaky" in servers.log()
    assert "X-Amz" not in servers.log()

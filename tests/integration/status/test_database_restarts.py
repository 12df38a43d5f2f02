"""The connection that all reads of requests share is replaced when the server ends it."""

import httpx

from shared.db import Database, execute
from tests.integration.status import seed


def test_the_next_read_notices_nothing_when_the_connection_was_ended(database: Database, client: httpx.Client) -> None:
    request = seed.stored(database)
    path = f"/v1/requests/{request.id}"
    assert client.get(path).status_code == 200

    ended = database.transact(
        lambda session: execute(
            session,
            """
            SELECT pg_terminate_backend(pid) AS done FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
            """,
        )
    )

    assert len(ended) > 0
    assert client.get(path).status_code == 200

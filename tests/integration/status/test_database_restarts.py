"""The connection that all reads of requests share is replaced when the server ends it."""

import httpx

from shared.db import Database, execute
from tests.integration.status import seed
from tests.integration.status.test_events import events_of

END_ALL_OTHERS = """
    SELECT pg_terminate_backend(pid) AS done FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def test_the_next_read_notices_nothing_when_the_connection_was_ended(database: Database, client: httpx.Client) -> None:
    request = seed.stored(database)
    path = f"/v1/requests/{request.id}"
    assert client.get(path).status_code == 200

    ended = database.transact(lambda session: execute(session, END_ALL_OTHERS))

    assert len(ended) > 0
    assert client.get(path).status_code == 200


def test_a_stream_of_events_goes_on_when_the_connection_was_ended(database: Database, client: httpx.Client) -> None:
    request = seed.request(images=128)
    seed.add(database, [request, seed.group(request.id, 1, completed=1)])

    with client.stream("GET", f"/v1/requests/{request.id}/events") as answer:
        events = events_of(answer)
        next(events)
        database.transact(lambda session: execute(session, END_ALL_OTHERS))
        database.transact(lambda session: execute(session, "UPDATE image_group SET completed = 50"))
        after = next(events)

    assert after.request["images"]["completed"] == 50

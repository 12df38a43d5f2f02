"""Server-sent events over HTTP: each state once, until the request is done."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.applications import Starlette

from shared.db import Database, execute
from tests.integration.status import seed
from tests.stack import until


@dataclass
class Event:
    id: str
    name: str
    request: dict[str, Any]


def events_of(answer: httpx.Response) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield Event(fields["id"], fields["event"], json.loads(fields["data"]))
            fields = {}


def test_progress_is_sent_as_counts_move_and_then_done(database: Database, client: httpx.Client) -> None:
    request = seed.request(images=128)
    seed.add(database, [request, seed.group(request.id, 1, completed=1)])

    with client.stream("GET", f"/v1/requests/{request.id}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = events_of(answer)
        first = next(events)
        database.transact(lambda session: execute(session, "UPDATE image_group SET completed = 50"))
        second = next(events)
        finish = "UPDATE processing_request SET status = 'completed', completed = 128"
        close = "UPDATE image_group SET state = 'settled', completed = 128"
        database.transact(lambda session: (execute(session, finish), execute(session, close)))
        last = next(events)
        assert list(events) == []  # the stream ends

    assert [first.name, second.name, last.name] == ["progress", "progress", "done"]
    assert [one.request["images"]["completed"] for one in (first, second, last)] == [1, 50, 128]
    assert last.request["outcome"] == "success"


def test_a_terminal_request_is_done_at_once_and_204_once_seen(database: Database, client: httpx.Client) -> None:
    request = seed.stored(database, status="completed", completed=1)
    path = f"/v1/requests/{request.id}/events"

    with client.stream("GET", path) as answer:
        (done,) = events_of(answer)
    again = client.get(path, headers={"Last-Event-ID": done.id})

    assert done.name == "done"
    assert again.status_code == 204


def test_last_event_id_skips_what_was_seen(database: Database, client: httpx.Client) -> None:
    request = seed.request(images=128)
    seed.add(database, [request, seed.group(request.id, 1, completed=1)])
    path = f"/v1/requests/{request.id}/events"
    with client.stream("GET", path) as answer:
        seen = next(events_of(answer))

    with client.stream("GET", path, headers={"Last-Event-ID": seen.id}) as answer:
        database.transact(lambda session: execute(session, "UPDATE image_group SET failed = 7"))
        first = next(events_of(answer))

    assert first.request["images"]["failed"] == 7


def test_many_followers_cost_one_statement_a_second_and_none_once_they_left(
    database: Database, client: httpx.Client, app: Starlette, statements: list[str]
) -> None:
    requests = [seed.request() for _ in range(5)]
    seed.add(database, requests)
    with ExitStack() as streams:
        answers = [
            streams.enter_context(client.stream("GET", f"/v1/requests/{request.id}/events")) for request in requests
        ]
        events = [events_of(answer) for answer in answers]
        assert [next(each).name for each in events] == ["progress"] * 5
        until(lambda: len(app.state.poller._followers) == 5)
        begun = time.monotonic()
        statements.clear()

        until(lambda: len(statements) >= 3)
        assert time.monotonic() - begun > 1.5

    until(lambda: app.state.poller._task is None)
    assert app.state.poller._followers == {}


def test_a_deleted_request_ends_the_stream(database: Database, client: httpx.Client) -> None:
    request = seed.stored(database)

    with client.stream("GET", f"/v1/requests/{request.id}/events") as answer:
        events = events_of(answer)
        next(events)
        database.transact(lambda session: execute(session, "DELETE FROM processing_request"))
        assert list(events) == []


def test_head_opens_no_stream(database: Database, client: httpx.Client, app: Starlette) -> None:
    request = seed.stored(database)

    answer = client.head(f"/v1/requests/{request.id}/events")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert client.get("/v1/requests").status_code == 200  # on the same connection
    assert app.state.poller._followers == {}

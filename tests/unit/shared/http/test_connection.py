"""Answers are sent in pieces, and end when the client takes none."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sse_starlette import EventSourceResponse
from starlette.types import Message, Receive, Scope, Send

from shared.http import connection
from shared.http.connection import PIECE, Backpressure, pieces

SCOPE: Scope = {"type": "http", "path": "/v1/requests"}


@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 7])
@pytest.mark.parametrize("more_body", [True, False])
def test_a_body_is_the_same_in_pieces(size: int, more_body: bool) -> None:  # noqa: FBT001
    body = bytes(index % 251 for index in range(size))

    sent = list(pieces({"type": "http.response.body", "body": body, "more_body": more_body}))

    assert b"".join(message["body"] for message in sent) == body
    assert [len(message["body"]) for message in sent[:-1]] == [PIECE] * (len(sent) - 1)
    assert len(sent[-1]["body"]) <= PIECE
    assert [message["more_body"] for message in sent] == [True] * (len(sent) - 1) + [more_body]


def test_a_message_without_a_body_stays_as_it_is() -> None:
    start = {"type": "http.response.start", "status": 200, "headers": []}

    assert list(pieces(start)) == [start]


def test_an_answer_that_no_client_takes_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SEND_TIMEOUT", 0.05)
    sent: list[Message] = []

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 10 * PIECE})

    async def receive() -> Message:
        raise AssertionError

    async def take_three(message: Message) -> None:
        if len(sent) == 3:
            await asyncio.Event().wait()
        sent.append(message)

    asyncio.run(asyncio.wait_for(Backpressure(answer)(SCOPE, receive, take_three), timeout=30))

    assert len(sent) == 3


def test_an_event_stream_that_no_client_takes_ends_and_closes_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SEND_TIMEOUT", 0.05)
    closed: list[bool] = []

    async def events() -> AsyncIterator[str]:
        try:
            while True:
                yield "progress"
        finally:
            closed.append(True)

    async def silent() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def take_the_start(message: Message) -> None:
        if message["type"] != "http.response.start":
            await asyncio.Event().wait()

    scope = {**SCOPE, "method": "GET"}
    asyncio.run(
        asyncio.wait_for(Backpressure(EventSourceResponse(events()))(scope, silent, take_the_start), timeout=30)
    )

    assert closed == [True]

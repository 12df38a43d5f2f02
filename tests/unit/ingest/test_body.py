"""The time that an upload may take, by a clock that the test advances."""

import asyncio
from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.types import Message

from services.ingest import account_routes
from services.ingest.body import IDLE_TIMEOUT, MIN_RATE, limited
from services.ingest.context import IngestContext
from services.ingest.settings import IngestSettings
from services.ingest.space import SpoolSpace
from shared.http.problems import Problem
from shared.schemas.accounts_api import RotationOrder

SECONDS = 900
SETTINGS = IngestSettings(database_url="postgresql://nobody@127.0.0.1:1/nothing", upload_seconds=SECONDS)


class Sender:
    """Sends `chunks` of `size` bytes, each `pause` seconds after it was asked for."""

    def __init__(self, *, chunks: int, size: int, pause: float) -> None:
        self.left = chunks
        self.size = size
        self.pause = pause
        self.ahead = 0.0

    def received(self, *, our_pause: float = 0) -> int:
        """The number of bytes received; after each chunk, the receiver is busy for `our_pause` seconds."""
        return asyncio.run(self._received(our_pause))

    async def _received(self, our_pause: float) -> int:
        loop = asyncio.get_running_loop()
        clock: Callable[[], float] = loop.time
        loop.time = lambda: clock() + self.ahead  # type: ignore[method-assign]
        http_request = HttpRequest({"type": "http", "method": "POST", "headers": []}, self._receive)
        total = 0
        async for chunk in limited(http_request, SETTINGS, SpoolSpace(10**9).reservation(), 10**8, 10**8):
            total += len(chunk)
            self.ahead += our_pause
        return total

    async def _receive(self) -> Message:
        self.ahead += self.pause
        for _ in range(3):  # the loop looks at the clock
            await asyncio.sleep(0)
        self.left -= 1
        return {"type": "http.request", "body": b"x" * self.size, "more_body": self.left > 0}


@pytest.mark.parametrize(
    "sender",
    [
        Sender(chunks=9, size=20 * MIN_RATE, pause=IDLE_TIMEOUT - 1),
        Sender(chunks=80, size=10 * MIN_RATE, pause=10),
        Sender(chunks=2, size=1, pause=IDLE_TIMEOUT / 3),
    ],
    ids=["with pauses", "slowly", "little"],
)
def test_slow_but_fast_enough(sender: Sender) -> None:
    expected = sender.left * sender.size
    assert sender.received() == expected


@pytest.mark.parametrize(
    "sender",
    [
        Sender(chunks=2, size=10**6, pause=IDLE_TIMEOUT + 1),
        Sender(chunks=100, size=MIN_RATE, pause=2),
        Sender(chunks=100, size=10**6, pause=IDLE_TIMEOUT / 2),
    ],
    ids=["silent", "dripping", "without end"],
)
def test_too_slow_is_408(sender: Sender) -> None:
    with pytest.raises(Problem) as refused:
        sender.received()
    assert (refused.value.status, refused.value.code) == (408, "slow_upload")


def test_the_receiver_s_own_time_does_not_count() -> None:
    assert Sender(chunks=5, size=1, pause=1).received(our_pause=IDLE_TIMEOUT * 5) == 5


def ordered(*messages: Message) -> RotationOrder:
    """What is read of the order to replace a key, in a process whose uploads have no room left."""
    context = object.__new__(IngestContext)
    context.settings, context.space = SETTINGS, SpoolSpace(0)
    app, left = Starlette(), list(messages)
    app.state.context = context

    async def receive() -> Message:
        return left.pop(0)

    scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"20")], "app": app}
    return asyncio.run(account_routes._ordered(HttpRequest(scope, receive), RotationOrder))


def test_a_key_is_replaced_while_uploads_have_no_room() -> None:
    body = b'{"overlap_seconds":7}'
    assert ordered({"type": "http.request", "body": body, "more_body": False}).overlap_seconds == 7


def test_a_client_that_leaves_amid_an_order_is_400() -> None:
    with pytest.raises(Problem) as refused:
        ordered({"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"})
    assert (refused.value.status, refused.value.code) == (400, "incomplete_upload")

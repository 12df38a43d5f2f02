"""The poller behind the event streams: followers come and go while a read is under way, and reads fail."""

import asyncio
import threading
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy.exc import OperationalError

from services.status.events import RequestPoller
from services.status.queries import Found
from shared.ids import uuid7
from shared.schemas.api import Counts
from shared.schemas.tables import ProcessingRequest


def states(asked: set[UUID]) -> dict[UUID, Found]:
    now = datetime.now(UTC)
    return {one: Found(ProcessingRequest(id=one, products=1, images=1, deadline_at=now), Counts()) for one in asked}


async def first_state(poller: RequestPoller, request_id: UUID) -> UUID | None:
    async for found in poller.follow(request_id):
        return found.request.id
    return None


def test_a_request_followed_while_a_read_is_under_way_does_not_look_deleted() -> None:
    first, second = uuid7(), uuid7()
    under_way, go_on = threading.Event(), threading.Event()

    def read(asked: set[UUID]) -> dict[UUID, Found]:
        under_way.set()
        assert go_on.wait(10)
        return states(asked)

    async def scene() -> tuple[UUID | None, UUID | None]:
        poller = RequestPoller(read, interval=0.01)
        early = asyncio.create_task(first_state(poller, first))
        await asyncio.to_thread(under_way.wait, 10)
        late = asyncio.create_task(first_state(poller, second))
        await asyncio.sleep(0)
        go_on.set()
        return await early, await late

    assert asyncio.run(scene()) == (first, second)


@pytest.mark.parametrize("error", [OperationalError("", None, Exception()), ValueError("of no database")])
def test_followers_recover_when_a_read_fails_whatever_the_error(error: Exception) -> None:
    request_id, failures = uuid7(), [error]

    def read(asked: set[UUID]) -> dict[UUID, Found]:
        if failures:
            raise failures.pop()
        return states(asked)

    async def scene() -> UUID | None:
        return await asyncio.wait_for(first_state(RequestPoller(read, interval=0.01), request_id), timeout=5)

    assert asyncio.run(scene()) == request_id

"""The poller behind the event streams: followers come and go while a read is under way, and reads fail."""

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest
from psycopg import OperationalError

from services.status.events import RequestPoller
from services.status.queries import Found
from shared.ids import uuid7
from shared.schemas.api import Counts
from tests.unit.status.rows import request_row


def states(asked: set[UUID]) -> dict[UUID, Found]:
    return {one: Found(request_row(id=one), Counts()) for one in asked}


async def first_state(poller: RequestPoller, request_id: UUID) -> UUID | None:
    before = Found(request_row(id=request_id), Counts(completed=1))
    async for found in poller.follow(before):
        return found.request.id
    return None


def test_a_follower_wakes_only_when_its_request_has_changed() -> None:
    before, after = (Found(request_row(id=UUID(int=1)), Counts(completed=completed)) for completed in (1, 2))

    async def scene() -> tuple[int, Found]:
        reads = 0

        async def read(_: set[UUID]) -> dict[UUID, Found]:
            nonlocal reads
            reads += 1
            found = before if reads < 5 else after
            return {found.request.id: found._replace(counts=replace(found.counts))}

        first = await anext(RequestPoller(read, interval=0.001).follow(before))
        return reads, first

    assert asyncio.run(scene()) == (5, after)


def test_a_request_followed_while_a_read_is_under_way_does_not_look_deleted() -> None:
    first, second = uuid7(), uuid7()

    async def scene() -> tuple[UUID | None, UUID | None]:
        under_way, go_on = asyncio.Event(), asyncio.Event()

        async def read(asked: set[UUID]) -> dict[UUID, Found]:
            under_way.set()
            await go_on.wait()
            return states(asked)

        poller = RequestPoller(read, interval=0.01)
        early = asyncio.create_task(first_state(poller, first))
        await under_way.wait()
        late = asyncio.create_task(first_state(poller, second))
        await asyncio.sleep(0)
        go_on.set()
        return await early, await late

    assert asyncio.run(scene()) == (first, second)


@pytest.mark.parametrize("error", [OperationalError("away"), ValueError("of no database"), asyncio.CancelledError()])
def test_followers_recover_when_a_read_fails_whatever_the_error(error: Exception) -> None:
    request_id, failures = uuid7(), [error] * 3

    async def read(asked: set[UUID]) -> dict[UUID, Found]:
        if failures:
            raise failures.pop()
        return states(asked)

    async def scene() -> UUID | None:
        return await asyncio.wait_for(first_state(RequestPoller(read, interval=0.01), request_id), timeout=5)

    assert asyncio.run(scene()) == request_id

"""Followers come and go while a look is under way."""

import asyncio
import threading
from datetime import UTC, datetime
from uuid import UUID

from services.status.queries import Found
from services.status.watch import Watch
from shared.ids import uuid7
from shared.schemas.api import Counts
from shared.schemas.tables import ProcessingRequest

NONE = Counts()


def test_who_comes_while_a_look_is_under_way_is_not_told_that_the_request_is_gone() -> None:
    first, second = uuid7(), uuid7()
    under_way, go_on = threading.Event(), threading.Event()

    def look(asked: set[UUID]) -> dict[UUID, Found]:
        under_way.set()
        assert go_on.wait(10)
        return {request_id: Found(_request(request_id), NONE) for request_id in asked}

    async def told(watch: Watch, request_id: UUID) -> list[UUID]:
        async for found in watch.follow(request_id):
            return [found.request.id]
        return []

    async def scene() -> tuple[list[UUID], list[UUID]]:
        watch = Watch(look, interval=0.01)
        early = asyncio.create_task(told(watch, first))
        await asyncio.to_thread(under_way.wait, 10)
        late = asyncio.create_task(told(watch, second))
        await asyncio.sleep(0)
        go_on.set()
        return await early, await late

    assert asyncio.run(scene()) == ([first], [second])


def _request(request_id: UUID) -> ProcessingRequest:
    return ProcessingRequest(id=request_id, products=1, images=1, deadline_at=datetime.now(UTC))

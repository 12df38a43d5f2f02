"""Places for large uploads."""

import asyncio

import pytest

from services.ingest.turns import Turns
from shared.http.problems import Problem


def test_some_work_some_wait_and_the_next_is_sent_away() -> None:
    asyncio.run(_crowd())


async def _crowd() -> None:
    turns, gate = Turns(at_once=2, waiting=3), asyncio.Event()
    at_work = most = 0

    async def work() -> None:
        nonlocal at_work, most
        async with turns.taken():
            at_work += 1
            most = max(most, at_work)
            await gate.wait()
            at_work -= 1

    tasks = [asyncio.create_task(work()) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(Problem) as refused:
        await work()
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "30"})

    tasks.pop().cancel()  # one who waits goes away, and leaves room for another
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(work()))
    gate.set()
    await asyncio.gather(*tasks)
    assert (most, at_work) == (2, 0)

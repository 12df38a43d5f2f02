"""Limits on concurrency."""

import asyncio
from itertools import count

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from shared.http.limits import ConcurrencyLimit, FairSemaphore, QueuedLimit
from shared.http.problems import Problem

PATH = "/v1/requests/1"
KINDS = {
    "upload": [("POST", "/v1/requests"), ("POST", "/upload"), ("POST", "/api/upload-csv/")],
    "events": [("GET", f"{PATH}/events")],
    "download": [
        ("GET", f"{PATH}/outputs.zip"),
        ("GET", f"{PATH}/output.csv"),
        ("GET", f"{PATH}/images/1/source"),
        ("GET", "/files/1/out/2.jpg"),
    ],
    "call": [("GET", PATH), ("GET", "/v1/requests"), ("POST", f"{PATH}/cancel"), ("DELETE", PATH)],
}


class Slow:
    """An application that answers once `gate` is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/healthz":
            await self.gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})


@pytest.mark.parametrize("kind", KINDS)
def test_requests_beyond_the_limit_of_their_kind_are_503_and_no_others(kind: str) -> None:
    asyncio.run(_fill(kind))


async def _fill(kind: str) -> None:
    slow, limit = Slow(), 2
    clients = ({"X-Forwarded-For": f"192.0.2.{number}"} for number in count())
    transport = httpx.ASGITransport(ConcurrencyLimit(slow, limit=limit))
    async with httpx.AsyncClient(transport=transport, base_url="http://a") as client, asyncio.TaskGroup() as group:

        def begin(method: str, path: str) -> asyncio.Task[httpx.Response]:
            return group.create_task(client.request(method, path, headers=next(clients)))

        tasks = [begin(*KINDS[kind][0]) for _ in range(limit)]
        await asyncio.sleep(0.05)
        for method, path in KINDS[kind]:
            refused = await client.request(method, path, headers=next(clients))
            assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "busy", "5")
        tasks += [begin(*calls[-1]) for other, calls in KINDS.items() if other != kind]
        assert (await client.get("/healthz")).status_code == 200
        slow.gate.set()
        assert {(await task).status_code for task in tasks} == {200}
        assert (await client.request(*KINDS[kind][0])).status_code == 200


def test_some_work_some_wait_and_the_next_is_refused() -> None:
    asyncio.run(_crowd())


async def _crowd() -> None:
    limit, gate = QueuedLimit("large uploads", running=2, waiting=3), asyncio.Event()
    at_work = most = 0

    async def work(owner: str = "a") -> None:
        nonlocal at_work, most
        async with limit.place(owner):
            at_work += 1
            most = max(most, at_work)
            await gate.wait()
            at_work -= 1

    tasks = [asyncio.create_task(work()) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(Problem) as refused:
        await work()
    assert refused.value.status == 429  # half of those that may wait are its own
    tasks.append(asyncio.create_task(work("b")))
    await asyncio.sleep(0)
    with pytest.raises(Problem) as refused:
        await work("c")
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "30"})

    tasks.pop().cancel()  # one that waits goes away, and leaves room for another
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(work("c")))
    gate.set()
    await asyncio.gather(*tasks)
    assert (most, at_work) == (2, 0)


def test_those_who_wait_are_let_in_owner_by_owner() -> None:
    async def crowd() -> list[str]:
        semaphore, order = FairSemaphore(1), list[str]()

        async def work(owner: str) -> None:
            async with semaphore.turn(owner):
                order.append(owner)
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(work(owner)) for owner in "aaaaabc"]
        await asyncio.sleep(0)
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not semaphore.locked()
        return order

    assert asyncio.run(crowd()) == ["a", "a", "b", "c", "a", "a"]

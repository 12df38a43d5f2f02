"""The bound on requests that are answered at once."""

import asyncio

import httpx
from starlette.types import Receive, Scope, Send

from shared.http.limits import AtOnce


class Slow:
    """An application that answers once `gate` is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/healthz":
            await self.gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})


def test_what_comes_beyond_the_limit_is_503_until_there_is_room_again() -> None:
    asyncio.run(_beyond_the_limit())


async def _beyond_the_limit() -> None:
    slow = Slow()
    transport = httpx.ASGITransport(AtOnce(slow, limit=2))
    async with httpx.AsyncClient(transport=transport, base_url="http://a") as client, asyncio.TaskGroup() as group:
        waiting = [group.create_task(client.get("/v1/requests")) for _ in range(2)]
        following = [group.create_task(client.get("/v1/requests/1/events")) for _ in range(2)]
        await asyncio.sleep(0.05)

        for path in ("/v1/requests", "/v1/requests/2/events"):
            refused = await client.get(path)
            assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "busy", "5")
        assert (await client.get("/healthz")).status_code == 200

        slow.gate.set()
        assert {(await task).status_code for task in waiting + following} == {200}
        assert (await client.get("/v1/requests")).status_code == 200


def test_events_and_uploads_do_not_take_the_places_of_others() -> None:
    asyncio.run(_kinds_apart())


async def _kinds_apart() -> None:
    slow = Slow()
    transport = httpx.ASGITransport(AtOnce(slow, limit=1))
    calls = [("GET", "/v1/requests/1/events"), ("POST", "/v1/requests"), ("POST", "/v1/requests/1/cancel")]
    async with httpx.AsyncClient(transport=transport, base_url="http://a") as client, asyncio.TaskGroup() as group:
        tasks = [group.create_task(client.request(method, path)) for method, path in calls]
        await asyncio.sleep(0.05)
        for method, path in [("POST", "/upload"), ("POST", "/api/upload-csv/"), ("DELETE", "/v1/requests/1")]:
            assert (await client.request(method, path)).status_code == 503
        slow.gate.set()
        assert [(await task).status_code for task in tasks] == [200, 200, 200]

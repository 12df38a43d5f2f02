"""Rates of accounts, counted in a real Valkey by two processes' worth of middleware."""

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis
from limits import RateLimitItemPerMinute
from prometheus_client import REGISTRY
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from deploy.local.valkey import binary
from shared.http import rates
from shared.http.caller import WITHOUT_KEYS, Caller
from shared.http.rates import Rates
from shared.ids import uuid7
from shared.schemas.accounts import Limits
from tests.stack import pings, reserve_ports, until

DEFAULTS = Limits(calls_per_second=1000, uploads_per_minute=3)


class Service:
    """Middleware around an application that counts its calls; the header `account` is the caller."""

    def __init__(self, redis_url: str, **own: int) -> None:
        self.calls = 0
        self.account = uuid7()
        self.caller = Caller(self.account, "key", WITHOUT_KEYS.scopes, Limits(**own))
        self.rates = Rates(self._answer, redis_url=redis_url, defaults=DEFAULTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["caller"] = self.caller
        await self.rates(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        await HttpRequest(scope, receive).body()
        await PlainTextResponse("ok")(scope, receive, send)


async def call(app: ASGIApp, method: str = "GET", path: str = "/v1/requests") -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a") as client:
        return await client.request(method, path)


def refused(kind: str) -> float:
    return REGISTRY.get_sample_value("halftone_refused_total", {"limit": "rate", "kind": kind}) or 0


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes instead of seconds, so that the test is faster than the rate."""
    monkeypatch.setattr(rates, "RateLimitItemPerSecond", RateLimitItemPerMinute)


def test_calls_beyond_the_accounts_rate_are_refused_before_they_cost_anything(redis_url: str, frozen: None) -> None:
    async def calls() -> None:
        service = Service(redis_url, calls_per_second=5)
        other = Service(redis_url)  # as if in another process
        other.caller = service.caller
        answers = [await call(app) for app in (service, other, service, other, service, other, service)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
        assert service.calls + other.calls == 5
        last = answers[-1]
        assert last.json()["code"] == "rate_limited"
        assert int(last.headers["retry-after"]) >= 1
        assert last.headers["ratelimit-policy"] == '"calls";q=5;w=60'
        assert last.headers["ratelimit"] == f'"calls";r=0;t={last.headers["retry-after"]}'
        assert [answer.headers["ratelimit"].partition(";t")[0] for answer in answers[:3]] == [
            f'"calls";r={left}' for left in (4, 3, 2)
        ]
        another = Service(redis_url, calls_per_second=5)
        assert (await call(another)).status_code == 200
        for app in (service, other, another):
            await app.rates._counts.close()

    before = refused("calls")
    asyncio.run(calls())
    assert refused("calls") == before + 2


def test_uploads_have_a_rate_of_their_own(redis_url: str) -> None:
    async def calls() -> None:
        service = Service(redis_url)
        answers = [
            await call(service, "POST", path) for path in ("/v1/requests", "/upload", "/api/upload-csv/", "/upload")
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[0].headers["ratelimit-policy"] == '"calls";q=1000;w=1, "uploads";q=3;w=60'
        assert "3 uploads each minute" in answers[3].json()["detail"]
        reading = await call(service)
        assert (reading.status_code, reading.headers["ratelimit-policy"]) == (200, '"calls";q=1000;w=1')
        await service.rates._counts.close()

    asyncio.run(calls())


def test_without_keys_there_are_no_rates(redis_url: str) -> None:
    async def calls() -> None:
        service = Service(redis_url, calls_per_second=1)
        service.caller = WITHOUT_KEYS
        answers = [await call(service) for _ in range(5)]
        await service.rates._counts.close()
        assert {answer.status_code for answer in answers} == {200}
        assert not any("ratelimit" in answer.headers for answer in answers)

    asyncio.run(calls())


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    [port] = reserve_ports(1)
    server = subprocess.Popen([binary(), "--port", str(port), "--save", "", "--dir", tmp_path])
    url = f"redis://127.0.0.1:{port}"
    try:
        until(lambda: pings(url))
        yield url, server
    finally:
        server.kill()
        server.wait()


def test_each_process_counts_for_itself_while_valkey_is_away(
    own_valkey: tuple[str, subprocess.Popen[bytes]], frozen: None
) -> None:
    url, server = own_valkey

    async def calls() -> None:
        service = Service(url, calls_per_second=5)
        assert [(await call(service)).status_code for _ in range(3)] == [200] * 3
        server.kill()
        server.wait()
        answers = await asyncio.gather(*(call(service) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 3
        await service.rates._counts.close()

    asyncio.run(calls())


def test_a_valkey_that_is_silent_is_asked_once_and_then_left_alone(frozen: None) -> None:
    async def calls(url: str, listener: socket.socket) -> None:
        service = Service(url, calls_per_second=50)
        assert [(await call(service)).status_code for _ in range(20)] == [200] * 20
        await service.rates._counts.close()
        listener.setblocking(False)
        connections = 0
        while True:
            try:
                listener.accept()[0].close()
            except BlockingIOError:
                break
            connections += 1
        assert connections == 1

    with socket.create_server(("127.0.0.1", 0)) as listener:
        asyncio.run(calls(f"redis://127.0.0.1:{listener.getsockname()[1]}", listener))


def test_valkey_is_asked_again_when_it_is_back(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def calls() -> None:
        service = Service(redis_url)
        counts = service.rates._counts
        monkeypatch.setattr(rates, "LEFT_ALONE", 0.0)
        counts._away_until = 1e-9
        await call(service)
        assert counts._away_until == 0
        await counts.close()

    asyncio.run(calls())
    with redis.Redis.from_url(redis_url) as client:
        keys = list(client.scan_iter())
    assert keys
    assert all(key.startswith(b"halftone:rates:") for key in keys)

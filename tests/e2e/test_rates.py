"""Rates over the real stack: each service counts in Valkey as its own user, and Valkey may go away meanwhile."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx
import pytest
import redis

from deploy.demo.catalogue import manifest
from shared.http.rates import PREFIX
from tests.e2e.conftest import new_key
from tests.stack import Stack, until

UPLOADS = 3
CALLS = 5  # fewer than a busy machine answers in a second
BODY = manifest([("1", "Shoe", ["http://127.0.0.1:9/away.jpg"])])


@pytest.fixture
def rated(closed: Stack) -> Iterator[httpx.Client]:
    """Calls of an account that has low rates."""
    headers = {"Authorization": f"Bearer {new_key(closed, 'rated')}", "Content-Type": "text/csv"}
    rates = ("--uploads-per-minute", str(UPLOADS), "--calls-per-second", str(CALLS))
    assert closed.command("keys", "limits", "rated", *rates).returncode == 0
    with httpx.Client(base_url=closed.base_url, headers=headers, timeout=30) as http:
        yield http


def burst(http: httpx.Client) -> list[httpx.Response]:
    """Many times as many calls as are allowed a second, as fast as they go."""
    with ThreadPoolExecutor(4 * CALLS) as threads:
        return list(threads.map(lambda _: http.get("/v1/requests"), range(12 * CALLS)))


def denied(valkey: redis.Redis) -> list[object]:
    """What users were refused since Valkey began."""
    return list(valkey.execute_command("ACL LOG"))  # type: ignore[no-untyped-call]


def refused(answers: list[httpx.Response]) -> list[httpx.Response]:
    assert {answer.status_code for answer in answers} <= {200, 429}
    return [answer for answer in answers if answer.status_code == 429]


def test_rates_hold_while_valkey_restarts_and_users_may_do_all_that_they_send(
    closed: Stack, rated: httpx.Client
) -> None:
    with redis.Redis.from_url(closed.redis_url) as valkey:
        uploads = [rated.post("/v1/requests", content=BODY).status_code for _ in range(UPLOADS + 1)]
        assert uploads == [202] * UPLOADS + [429]
        [one, *_] = until(lambda: refused(burst(rated)), within=30)
        assert one.json()["code"] == "rate_limited"
        assert int(one.headers["retry-after"]) >= 1
        assert list(valkey.scan_iter(f"*{PREFIX}*uploads*"))
        assert denied(valkey) == []
        assert "rates_counted_locally" not in closed.log()

        stopped = Event()
        with ThreadPoolExecutor(1) as threads:
            calling = threads.submit(lambda: [burst(rated) for _ in iter(stopped.is_set, True)])
            closed.restart("valkey")
            stopped.set()
            during = [answer for answers in calling.result(timeout=60) for answer in answers]
        assert refused(during)

        def counted_again() -> bool:
            burst(rated)
            return bool(list(valkey.scan_iter(f"*{PREFIX}*calls*")))

        until(counted_again, within=30)
        assert denied(valkey) == []

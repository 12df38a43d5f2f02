"""`pytest -m bench tests/bench/test_keys.py -s`: what API keys and rates cost a read of a request.

Two status services, one of which requires keys, are called by turns. Images cost nothing more: keys and rates are only
in the HTTP services.
"""

import time
from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

import httpx
import psutil
import pytest

from shared.db import Database
from shared.schemas.accounts import DEFAULT_ACCOUNT
from tests.integration.keys.conftest import add_key
from tests.integration.status import seed
from tests.serving import service_process
from tests.stack import Stack

pytestmark = pytest.mark.bench
CALLS, ROUNDS = 200, 5
MOST_MS = 1.0


class Cost(NamedTuple):
    """Of a call: milliseconds of the service's CPU, and the median until it was answered."""

    cpu: float
    p50: float


class Reader:
    def __init__(self, pid: int, client: httpx.Client, path: str) -> None:
        self._process = psutil.Process(pid)
        self._client = client
        self._path = path
        self._etag = self.read(200, {}).headers["etag"]

    def read(self, status: int, headers: dict[str, str]) -> httpx.Response:
        answer = self._client.get(self._path, headers=headers)
        assert answer.status_code == status, answer.text
        return answer

    def cost(self, status: int) -> Cost:
        headers = {"If-None-Match": self._etag} if status == 304 else {}
        seconds, before = [], self._cpu()
        for _ in range(CALLS):
            begun = time.perf_counter()
            self.read(status, headers)
            seconds.append(time.perf_counter() - begun)
        return Cost((self._cpu() - before) / CALLS * 1000, median(seconds) * 1000)

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


@pytest.fixture
def readers(servers: Stack, database_url: str) -> Iterator[dict[str, Reader]]:
    """Without keys, and with."""
    database = Database(database_url, pool_size=1)
    path = f"/v1/requests/{seed.stored(database).id}"
    key = add_key(database, DEFAULT_ACCOUNT)
    database.close()
    env = {"DATABASE_URL": database_url, "REDIS_URL": servers.redis_url, "BLOB_URL": "file:///tmp/none"}
    closed = {"HALFTONE_AUTH": "required", "HALFTONE_CALLS_PER_SECOND": "1000000"}
    with (
        service_process("status", env) as (address, pid),
        service_process("status", env | closed) as (closed_address, closed_pid),
        httpx.Client(base_url=address) as client,
        httpx.Client(base_url=closed_address, headers=key.headers) as closed_client,
    ):
        yield {"off": Reader(pid, client, path), "required": Reader(closed_pid, closed_client, path)}


@pytest.mark.parametrize("status", [200, 304])
def test_keys_and_rates_cost_a_read_less_than_a_millisecond(readers: dict[str, Reader], status: int) -> None:
    for reader in readers.values():
        reader.cost(status)  # all is warm
    rounds = [{auth: reader.cost(status) for auth, reader in readers.items()} for _ in range(ROUNDS)]
    off, required = ([one[auth] for one in rounds] for auth in readers)
    cpu = [median(cost.cpu for cost in costs) for costs in (off, required)]
    p50 = [median(cost.p50 for cost in costs) for costs in (off, required)]
    print(
        f"\n{status}: CPU {cpu[0]:.2f} and {cpu[1]:.2f} ms a call without and with keys, p50 {p50[0]:.2f}, {p50[1]:.2f}"
    )
    assert median(with_.cpu - without.cpu for without, with_ in zip(off, required, strict=True)) < MOST_MS

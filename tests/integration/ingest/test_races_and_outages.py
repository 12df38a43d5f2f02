"""Concurrent calls, and Redis away."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import httpx
import pytest

from services.ingest.app import create
from services.ingest.settings import IngestSettings
from shared.db import Database
from tests.integration.ingest.conftest import Sql
from tests.integration.ingest.test_accept import CSV, post_csv
from tests.serving import serving

T = TypeVar("T")
AT_ONCE = 6


def all_at_once(call: Callable[[], T]) -> list[T]:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return [future.result() for future in [threads.submit(call) for _ in range(AT_ONCE)]]


def test_one_of_many_uploads_with_one_key_is_accepted(client: httpx.Client, sql: Sql) -> None:
    answers = all_at_once(
        lambda: client.post("/v1/requests", files={"file": ("a.csv", CSV)}, headers={"Idempotency-Key": "k"})
    )
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({answer.json()["request_id"] for answer in answers if answer.status_code == 202}) == 1
    assert sql("SELECT count(*) AS n FROM processing_request") == [{"n": 1}]


def test_one_of_many_retries_begins_the_next_run(client: httpx.Client, sql: Sql) -> None:
    request_id = post_csv(client).json()["request_id"]
    sql("UPDATE image SET state = 'failed', error_code = 'timeout'")
    sql("UPDATE image_group SET state = 'settled', failed = 2")
    sql("UPDATE processing_request SET status = 'failed', failed = 2, finished_at = now(), open_groups = 0")
    answers = all_at_once(lambda: client.post(f"/v1/requests/{request_id}/retry"))
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * (AT_ONCE - 1)
    assert sql("SELECT run, failed, open_groups FROM processing_request") == [{"run": 2, "failed": 0, "open_groups": 1}]


@pytest.fixture
def without_redis(database: Database, settings: IngestSettings) -> Iterator[httpx.Client]:
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1"})
    with serving(create(away)) as address, httpx.Client(base_url=address, timeout=30) as client:
        yield client


def test_uploads_are_accepted_while_redis_is_away(without_redis: httpx.Client, sql: Sql) -> None:
    answer = without_redis.post("/v1/requests", files={"file": ("a.csv", CSV)})
    assert answer.status_code == 202
    assert without_redis.post(f"/v1/requests/{answer.json()['request_id']}/cancel").status_code == 202
    assert sql("SELECT count(*) AS n FROM image") == [{"n": 2}]


def test_ready_without_redis(without_redis: httpx.Client) -> None:
    assert without_redis.get("/readyz").status_code == 200

"""A real Valkey at its `maxmemory`: nothing is lost, and all goes on when there is room again."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest
from prometheus_client import REGISTRY

from services.ingest.app import create
from services.ingest.settings import IngestSettings
from services.notifier.sweep import Sweeper
from services.worker.dispatch import dispatch_request
from shared import broker
from shared.broker import Broker, metrics
from shared.broker.queues import QUEUE
from shared.db import Database
from shared.ids import uuid7
from shared.messages import DispatchRequest
from tests.integration.notifier.test_still_queued import age, consume_dispatch
from tests.integration.seed import add_request, group_row, pass_time, sql
from tests.serving import serving

CSV = b"Serial Number,Product Name,Input Image Urls\n1,A,https://images.example/1.jpg\n"


class Log:
    """Keeps the lines that are logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, event: str, **_: object) -> None:
        self.lines.append(event)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    log = Log()
    monkeypatch.setattr(metrics, "log", log)
    monkeypatch.setattr(metrics, "_logged_at", float("-inf"))
    return log.lines


@contextmanager
def full(connected: Broker, *, room: int) -> Iterator[None]:
    """Room for so many bytes of messages, and no more; the policy is `noeviction`, as in production."""
    probe: Any = connected.probe
    assert probe.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    probe.config_set("maxmemory", probe.info("memory")["used_memory"] + room)
    try:
        yield
    finally:
        probe.config_set("maxmemory", 0)


def unsent() -> float:
    return sum(
        sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == "halftone_messages_unsent_total"
    )


def images_on_their_way(connected: Broker) -> dict[UUID, list[int]]:
    """The images of all batches that wait to be fetched, by request."""
    probe: Any = connected.probe
    found: dict[UUID, list[int]] = {}
    for queue in ("quick", "fetch"):
        for raw in probe.lrange(QUEUE + queue, 0, -1):
            [batch] = orjson.loads(raw)["args"]
            found.setdefault(UUID(batch["request_id"]), []).extend(image["number"] for image in batch["images"])
    return found


def test_what_a_full_valkey_refuses_is_sent_when_there_is_room_and_logged_once(
    database: Database, sweeping: Sweeper, connected: Broker, lines: list[str]
) -> None:
    requests = [add_request(database, images=300) for _ in range(20)]
    before = unsent()
    with full(connected, room=60_000):
        for request_id in requests:
            dispatch_request(database, partial(broker.send_group, connected), request_id)
        for _ in range(5):
            sweeping.run_once()
            for request_id in requests:
                pass_time(database, request_id, 6)
        assert unsent() - before > 20
        assert lines == ["message_not_sent"]
    for _ in range(20):
        consume_dispatch(connected, database)
        age(connected, database, uuid7(), 31)
        for request_id in requests:
            pass_time(database, request_id, 31)
        sweeping.run_once()
    on_their_way = images_on_their_way(connected)
    assert {request_id: set(numbers) for request_id, numbers in on_their_way.items()} == {
        request_id: set(range(1, 301)) for request_id in requests
    }


def test_uploads_are_accepted_while_valkey_is_full_and_go_out_afterwards(
    database: Database, sweeping: Sweeper, connected: Broker, redis_url: str, tmp_path: Path
) -> None:
    settings = IngestSettings(
        database_url=database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False),
        redis_url=redis_url,
        blob_url=(tmp_path / "blobs").as_uri(),
        public_url="https://shop.example",
        allowed_hosts=("127.0.0.1", "testserver"),
        log_level="warning",
    )
    with (
        serving(create(settings)) as address,
        httpx.Client(base_url=address, timeout=30) as client,
        full(connected, room=-100_000),
    ):
        answers = [client.post("/v1/requests", files={"file": ("a.csv", CSV)}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202] * 3
        sweeping.run_once()
        assert not connected.probe.exists(QUEUE + DispatchRequest.queue)
    sweeping.run_once()
    consume_dispatch(connected, database)
    ids = {UUID(answer.json()["request_id"]) for answer in answers}
    assert images_on_their_way(connected) == {request_id: [1] for request_id in ids}
    assert {group_row(database, request_id)["dispatch_no"] for request_id in ids} == {1}
    sql(database, "DELETE FROM processing_request")

"""Batches that wait behind a slow codec for longer than a claim lasts are fetched once, and stay together."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
import redis

from deploy.demo.catalogue import manifest
from shared.broker.queues import TAKEN
from shared.messages import QuickBatch
from tests.api import Client
from tests.origin import Origin, body, late
from tests.pictures import encode, photo
from tests.stack import ROOT, Stack, until

pytestmark = pytest.mark.chaos
IMAGES = 32
"""Two batches, both quick: a worker of two threads has one in hand, the other waits."""
CODEC_SECONDS = 9
"""A batch takes 16 of them: longer than a claim that is not renewed."""


@pytest.fixture
def stack(workspace: Path) -> Iterator[Stack]:
    settings = {
        "HALFTONE_WORKERS": "2",
        "HALFTONE_THREADS": "2",
        "HALFTONE_CODEC_PROCESSES": "1",
        "PYTHON_PLANTED_CODEC_SECONDS": str(CODEC_SECONDS),
        "PYTHONPATH": f"{ROOT / 'tests/chaos/planted'}:{ROOT}",
    }
    stack = Stack(workspace / "slow", env=settings)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


def test_what_waits_behind_a_slow_codec_is_fetched_once_and_stays_together(stack: Stack) -> None:
    api = Client(stack.base_url)
    with Origin(port=stack.host_ports[0]) as origin:
        paths = [f"/{number}.jpg" for number in range(IMAGES)]
        pictures = [body(encode(photo(64, 48, number), "jpeg", quality=90)) for number in range(IMAGES)]
        urls = [origin.on(path, late(picture, seconds=1)) for path, picture in zip(paths, pictures, strict=True)]
        stack.kill("worker-2", signal.SIGSTOP)  # so that the other takes it all, and this one is free later
        request_id = api.upload(manifest([("1", "Slow", urls)]))["request_id"]
        until(lambda: in_hand(stack) == 1, within=60)
        stack.kill("worker-2", signal.SIGCONT)
        request = api.finished(request_id, within=2 * IMAGES * CODEC_SECONDS)
        hits = {path: origin.hits(path) for path in paths if origin.hits(path) != 1}
    with psycopg.connect(stack.database_url) as connection:
        images = connection.execute("SELECT DISTINCT attempts, isolated FROM image").fetchall()
    assert (request["status"], hits, images) == ("completed", {}, [(1, False)])


def in_hand(stack: Stack) -> int:
    """The quick messages that workers have taken from Redis: under way, or waiting for a thread."""
    with redis.Redis.from_url(stack.redis_url) as client:
        taken: list[Any] = [client.lrange(key, 0, -1) for key in client.scan_iter(f"{TAKEN}*")]
    return sum(orjson.loads(message)["queue_name"] == QuickBatch.queue for held in taken for message in held)

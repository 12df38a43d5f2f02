"""A worker that is killed while pictures give way to those of others, as the clock decides (ADR 22)."""

import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psutil
import psycopg
import pytest

from deploy.demo.catalogue import manifest
from services.worker.codec_pool.child import SLOW_NICE
from tests.api import Client
from tests.origin import Origin, body
from tests.pictures import encode, photo
from tests.stack import Stack, until

pytestmark = pytest.mark.chaos
HEAVY, SMALL = 4, 16
EDGE = 5_000
"""Pixels: seconds of the processor as AVIF, less than its time."""


@pytest.fixture
def stack(workspace: Path) -> Iterator[Stack]:
    settings = {"HALFTONE_WORKERS": "1", "HALFTONE_CODEC_PROCESSES": "1", "HALFTONE_CODEC_SECONDS": "60"}
    with Stack(workspace / "heavy", env=settings) as stack:
        yield stack


def test_nothing_is_lost_or_doubled_where_a_worker_dies_with_slow_pictures_under_way(stack: Stack) -> None:
    api = Client(stack.base_url)
    with Origin(port=stack.host_ports[0]) as origin:
        heavy = encode(photo(700, 700).resize((EDGE, EDGE)), "jpeg", quality=60)
        small = encode(photo(64, 48), "jpeg", quality=90)
        slow = [origin.on(f"/heavy/{number}.jpg", body(heavy + b"%d" % number)) for number in range(HEAVY)]
        quick = [origin.on(f"/small/{number}.jpg", body(small + b"%d" % number)) for number in range(SMALL)]
        bad = api.upload(manifest([("1", "Bad", slow)]), format="avif", quality="90")["request_id"]
        good = []

        def gives_way() -> bool:
            """One who comes meanwhile finds a place."""
            good.append(api.upload(manifest([("1", "Good", quick)]))["request_id"])
            return any(one.nice() >= min(psutil.Process().nice() + SLOW_NICE, 19) for one in children(stack))

        until(gives_way, within=60, every=0.5)
        assert api.request(bad)["status"] == "processing"
        stack.restart("worker-1", signal.SIGKILL)
        requests = [api.finished(request_id, within=180) for request_id in [bad, *good]]
    assert {request["status"] for request in requests} == {"completed"}
    assert [request["images"]["completed"] for request in requests] == [HEAVY] + [SMALL] * len(good)
    with psycopg.connect(stack.database_url) as connection:
        rows = connection.execute(
            "SELECT request_id, number, attempts, isolated, state FROM image ORDER BY 1, 2"
        ).fetchall()
    assert len(rows) == HEAVY + SMALL * len(good)
    for _, _, attempts, isolated, state in rows:
        assert (attempts, state) == (2 if isolated else 1, "completed")
    assert any(isolated for request_id, _, _, isolated, _ in rows if request_id == UUID(bad))


def children(stack: Stack) -> list[psutil.Process]:
    """The codec's, among all of the worker's."""
    return [psutil.Process(pid) for pid in stack.pids("worker-1")[1:] if psutil.pid_exists(pid)]

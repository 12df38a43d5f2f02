"""An image that kills its worker each time ends as `worker_lost` after five attempts; its neighbours complete."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import draw
from tests.api import Client
from tests.origin import Origin
from tests.stack import ROOT, Stack

pytestmark = pytest.mark.chaos
NEIGHBOURS = 15
POISON = b"\xff\xd8\xff poison"  # as in planted/sitecustomize.py, which must not be imported here: it would act
PLANTED = ROOT / "tests/chaos/planted"


@pytest.fixture
def stack(workspace: Path) -> Iterator[Stack]:
    with Stack(workspace / "poison", env={"HALFTONE_WORKERS": "2", "PYTHONPATH": f"{PLANTED}:{ROOT}"}) as stack:
        yield stack


def test_a_poisonous_image_costs_itself_alone(stack: Stack) -> None:
    api = Client(stack.base_url)
    with Origin(port=stack.host_ports[0]) as origin:
        urls = [origin.add(f"/{n}.jpg", draw(f"{n}.jpg", (160, 120))) for n in range(1, NEIGHBOURS + 1)]
        urls.insert(3, origin.add("/poison.jpg", POISON))
        request_id = api.upload(manifest([("1", "Poison and its neighbours", urls)]))["request_id"]
        request = api.finished(request_id, within=400)
        (lost,) = api.items(f"/v1/requests/{request_id}/images", status="failed")
    assert request["images"] == {
        "total": NEIGHBOURS + 1,
        "pending": 0,
        "completed": NEIGHBOURS,
        "failed": 1,
        "cancelled": 0,
    }
    assert (lost["url"], lost["error"]["code"], lost["attempts"]) == (urls[3], "worker_lost", 5)
    with psycopg.connect(stack.database_url) as connection:
        neighbours = connection.execute("SELECT max(attempts) FROM image WHERE state = 'completed'").fetchone()
    assert neighbours is not None
    assert neighbours[0] < 5

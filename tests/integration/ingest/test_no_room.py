"""A disk without room, or one upload too many for it; a limit on the size of files stands in for the full disk."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from services.ingest.settings import IngestSettings
from shared.db import Database
from tests.integration.ingest.conftest import Sql
from tests.integration.ingest.test_accept import CSV, HEADER, post_csv
from tests.integration.ingest.test_http_edges import problem
from tests.stack import reserve_ports, until

ROOM = 100_000


@pytest.fixture(scope="module")
def cramped(
    tables: Database, settings: IngestSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """Ingest in a process of its own, whose files cannot grow beyond `ROOM`."""
    [port] = reserve_ports(1)
    env = {
        **os.environ,
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "BLOB_URL": tmp_path_factory.mktemp("cramped").as_uri(),
    }
    command = [sys.executable, "-m", "uvicorn", "services.ingest.app:create", "--factory", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--log-level", "warning"],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM)),  # noqa: PLW1509 - one system call
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            until(lambda: _is_ready(client))
            yield client
    finally:
        process.terminate()
        process.wait(10)


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("rows", [1_500, 30_000], ids=["while it is parsed", "while it is received"])
@pytest.mark.parametrize("form", [False, True])
def test_no_room_is_503_and_the_next_small_upload_is_taken(
    cramped: httpx.Client,
    sql: Sql,
    rows: int,
    form: bool,  # noqa: FBT001
) -> None:
    text = HEADER + "".join(f"{n},Product,https://a.example/{n}.jpg\n" for n in range(rows))

    answer = cramped.post("/v1/requests", files={"file": ("a.csv", text)}) if form else post_csv(cramped, text)

    assert problem(answer) == (503, "no_room")
    assert int(answer.headers["retry-after"]) > 0
    assert sql("SELECT count(*) AS n FROM processing_request") == [{"n": 0}]
    assert post_csv(cramped, CSV).status_code == 202

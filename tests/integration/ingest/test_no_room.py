"""A full disk, for which a limit on the size of files stands in."""

import resource
from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from services.ingest.settings import IngestSettings
from shared.db import Database
from tests.integration.ingest.conftest import Sql
from tests.integration.ingest.test_accept import CSV, HEADER, post_csv
from tests.integration.ingest.test_http_edges import problem
from tests.serving import service_process

ROOM = 100_000


@pytest.fixture(scope="module")
def cramped(
    migrated: Database, settings: IngestSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """Ingest in a process of its own, whose files cannot grow beyond `ROOM`."""
    env = {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "BLOB_URL": tmp_path_factory.mktemp("cramped").as_uri(),
    }
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (ROOM, ROOM))
    with (
        service_process("ingest", env, before=limit) as (address, _),
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        yield client


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

"""How the rows and files of a deleted request go: with it if there are few, else batch by batch."""

from typing import Any
from uuid import UUID

import pytest
from sqlmodel import Session

from services.notifier import housekeeping
from services.notifier.housekeeping import Housekeeper, erase_batch, erased
from services.notifier.periodic import TimeBudget
from shared.blobs import Blobs
from shared.db import Database
from tests.integration.notifier.conftest import Housekeepers, Watched, has_source, known, put_files
from tests.integration.seed import add_request, sql

CHILDREN = ("product", "rejected_row", "image_group", "image")


def rows_left(database: Database) -> dict[str, int]:
    counts: dict[str, Any] = {table: f"SELECT count(*) AS n FROM {table}" for table in CHILDREN}
    return {table: sql(database, count)[0]["n"] for table, count in counts.items()}


def deleted_large_request(database: Database, blobs: Blobs) -> UUID:
    """It has 1,200 images, as many products, and 1,300 rejected rows; its row is gone."""
    request_id = add_request(database, images=1_200)
    sql(
        database,
        "INSERT INTO rejected_row SELECT %(id)s, number, '{}' FROM generate_series(1, 1300) AS number",
        id=request_id,
    )
    put_files(blobs, request_id)
    sql(database, "DELETE FROM processing_request WHERE id = %(id)s", id=request_id)
    return request_id


def test_a_large_request_is_erased_in_batches_and_a_killed_run_goes_on(
    database: Database, blobs: Watched, housekeepers: Housekeepers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "ERASED_AT_ONCE", 500)
    kept = add_request(database, images=1_200)
    request_id = deleted_large_request(database, blobs)
    assert rows_left(database)["image"] == 2_400  # nothing but the request's own row went with it
    assert database.transact(lambda session: erase_batch(session, request_id))  # and then the process was killed
    assert rows_left(database) == {"product": 1_900, "rejected_row": 800, "image_group": 10, "image": 1_900}
    blobs.failing[str(request_id)] = SystemExit()
    with pytest.raises(SystemExit):
        housekeepers().run_once()
    assert has_source(blobs, request_id)
    blobs.failing.clear()
    housekeepers().run_once()
    assert not has_source(blobs, request_id)
    assert rows_left(database) == {"product": 1_200, "rejected_row": 0, "image_group": 10, "image": 1_200}
    assert sql(database, "SELECT 1 FROM erasure") == []
    assert known(database) == {kept}


def test_a_small_request_goes_with_all_its_rows(database: Database) -> None:
    add_request(database, images=1_000)
    sql(database, "DELETE FROM processing_request")
    assert rows_left(database) == dict.fromkeys(CHILDREN, 0)
    assert sql(database, "SELECT 1 FROM erasure") == []


def test_rows_that_another_notifier_erases_are_left_to_it(database: Database, blobs: Watched) -> None:
    request_id = deleted_large_request(database, blobs)
    with Session(database.engine) as session, session.begin():
        assert erase_batch(session, request_id)
        assert not database.transact(lambda other: erase_batch(other, request_id))
        session.rollback()
    database.transact(lambda session: erased(session, request_id))  # too early
    assert len(sql(database, "SELECT 1 FROM erasure")) == 1


def test_erasing_begins_soon_and_the_other_tasks_run_every_few_minutes(
    database: Database, blobs: Watched, housekeepers: Housekeepers, monkeypatch: pytest.MonkeyPatch
) -> None:
    housekeeper, others = housekeepers(), list[str]()

    def delete_temporary(_: Housekeeper, __: TimeBudget) -> int:
        others.append("ran")
        return 0

    monkeypatch.setattr(Housekeeper, "delete_temporary", delete_temporary)
    for _ in range(3):
        request_id = deleted_large_request(database, blobs)
        housekeeper._run()
        assert not has_source(blobs, request_id)
    assert others == ["ran"]

"""What housekeeping deletes and when, with real rows and real files."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlmodel import Session

from services.notifier import orphans, periodic
from services.notifier.housekeeping import forget_request, sources_deleted
from services.notifier.reconcile import Reconciler
from shared.blobs import Blobs, connect, identity, output_key
from shared.blobs.store import STORE_ID
from shared.db import Database, execute
from shared.errors import StorageError
from shared.ids import uuid7
from tests.integration.notifier.conftest import Housekeepers, Watched, finished, has_source, known, put_files
from tests.integration.race import together
from tests.integration.seed import add_request, pass_time, request_row, sql

DAY = 24 * 3600


def old_requests(database: Database, reconciler: Reconciler, blobs: Blobs, count: int, *, days: float) -> list[UUID]:
    """Finished, with files; the first one longest ago."""
    requests = [finished(database, reconciler, None) for _ in range(count)]
    for number, request_id in enumerate(requests):
        put_files(blobs, request_id)
        pass_time(database, request_id, days * DAY - number)
    return requests


def test_sources_and_old_requests_are_deleted_with_their_files_and_no_others(
    database: Database, reconciler: Reconciler, blobs: Watched, housekeepers: Housekeepers
) -> None:
    fresh, used, ancient = requests = [finished(database, reconciler, None) for _ in range(3)]
    pass_time(database, used, 1.1 * DAY)
    pass_time(database, ancient, 30.1 * DAY)
    for request_id in requests:
        put_files(blobs, request_id)
    assert not housekeepers().run_once()
    assert [has_source(blobs, request_id) for request_id in requests] == [True, False, False]
    assert blobs.exists(output_key(used, "a" * 64, "jpg"))
    assert not blobs.exists(output_key(ancient, "a" * 64, "jpg"))
    assert known(database) == {fresh, used}
    assert request_row(database, used)["sources_deleted_at"] is not None
    assert request_row(database, fresh)["sources_deleted_at"] is None


def test_a_process_killed_while_it_deletes_sources_leaves_them_to_the_next_run(
    database: Database, reconciler: Reconciler, blobs: Watched, housekeepers: Housekeepers
) -> None:
    (request_id,) = old_requests(database, reconciler, blobs, 1, days=2)
    blobs.failing[f"{request_id}/source"] = SystemExit()
    with pytest.raises(SystemExit):
        housekeepers().run_once()
    assert request_row(database, request_id)["sources_deleted_at"] is None
    blobs.failing.clear()
    housekeepers().run_once()
    assert not has_source(blobs, request_id)


@pytest.mark.parametrize(("days", "folder"), [(2, "/source"), (31, "")], ids=["sources", "requests"])
def test_requests_whose_files_cannot_be_deleted_do_not_keep_the_others(
    database: Database, reconciler: Reconciler, blobs: Watched, housekeepers: Housekeepers,
    monkeypatch: pytest.MonkeyPatch, days: float, folder: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(periodic, "BATCH_ROWS", 2)
    *stuck, _ = requests = old_requests(database, reconciler, blobs, 4, days=days)
    blobs.failing |= {f"{request_id}{folder}": StorageError("no") for request_id in stuck}
    sql(database, "UPDATE processing_request SET sources_deleted_at = now() WHERE %(days)s > 30", days=days)
    housekeeper = housekeepers()
    housekeeper.run_once()
    assert [has_source(blobs, request_id) for request_id in requests] == [True, True, True, False]
    blobs.failing.clear()
    housekeeper.run_once()
    if folder:
        assert not any(has_source(blobs, request_id) for request_id in stuck)
    else:  # their rows are gone: the files are orphans now
        assert known(database) == set()


def test_a_request_that_runs_again_meanwhile_keeps_its_new_sources(
    database: Database, reconciler: Reconciler, blobs: Watched
) -> None:
    (request_id,) = old_requests(database, reconciler, blobs, 1, days=2)
    sql(database, "UPDATE processing_request SET finished_at = NULL, run = 2, status = 'pending'")
    database.transact(lambda session: sources_deleted(session, request_id, kept=timedelta(days=1)))
    assert request_row(database, request_id)["sources_deleted_at"] is None


def test_a_request_that_another_transaction_holds_does_not_hold_up_the_others(
    database: Database, reconciler: Reconciler, blobs: Watched, housekeepers: Housekeepers
) -> None:
    held, other = old_requests(database, reconciler, blobs, 2, days=31)
    with Session(database.engine) as session, session.begin():
        execute(session, "SELECT 1 FROM processing_request WHERE id = %(id)s FOR UPDATE", {"id": held})
        sql(database, "UPDATE processing_request SET sources_deleted_at = now() WHERE id = %(id)s", id=other)
        housekeepers(source_retention_hours=1e6).run_once()
    assert known(database) == {held}


def test_a_request_with_a_pending_delivery_is_not_forgotten(
    database: Database, reconciler: Reconciler, housekeepers: Housekeepers
) -> None:
    request_id = finished(database, reconciler)
    pass_time(database, request_id, 31 * DAY)
    housekeepers().run_once()
    assert not database.transact(lambda session: forget_request(session, request_id, kept=timedelta(days=30)))
    assert known(database) == {request_id}
    sql(database, "UPDATE delivery SET status = 'exhausted'")
    housekeepers().run_once()
    assert known(database) == set()


@pytest.fixture(params=["disk", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    """An empty store of either kind."""
    store: Blobs = connect((tmp_path / "store").as_uri())
    return store if request.param == "disk" else request.getfixturevalue("bucket").connect()


def test_files_of_unknown_requests_are_deleted_once_they_are_old(
    database: Database, store: Blobs, housekeepers: Housekeepers
) -> None:
    identity.introduce(database, store)
    ours, unknown = add_request(database, images=1), uuid7()
    for request_id in (ours, unknown):
        put_files(store, request_id)
    housekeepers(blobs=store).run_once()
    assert has_source(store, unknown)
    housekeepers(blobs=store, orphan_hours=-1).run_once()
    assert [has_source(store, request_id) for request_id in (ours, unknown)] == [True, False]


@pytest.mark.parametrize("written", [None, b"0198c0de-0000-7000-8000-000000000000", b"no id"])
def test_with_the_wrong_database_no_orphan_is_deleted_and_the_log_says_once_what_to_do(
    database: Database, store: Blobs, housekeepers: Housekeepers, monkeypatch: pytest.MonkeyPatch, written: bytes | None
) -> None:
    unknown = uuid7()
    put_files(store, unknown)
    if written:
        store.put(STORE_ID, written)
    identity.introduce(database, store)
    said: list[str] = []
    monkeypatch.setattr(orphans.log, "warning", lambda event, **line: said.append(line["advice"]))
    housekeeper = housekeepers(blobs=store, orphan_hours=-1)
    housekeeper.run_once()
    housekeeper.run_once()
    assert has_source(store, unknown)
    ours = database.transact(identity.of_database)
    assert [str(ours) in advice for advice in said] == [True]
    store.put(STORE_ID, f"{ours}\n".encode())
    housekeeper.run_once()
    assert not has_source(store, unknown)


def test_an_empty_store_gets_the_databases_id_from_many_workers_at_once(database: Database, store: Blobs) -> None:
    together([lambda: identity.introduce(database, store)] * 4)
    assert identity.of_store(store) == database.transact(identity.of_database)
    assert list(store.folders()) == []


def test_a_store_with_only_a_folder_of_another_kind_counts_as_empty(database: Database, blobs: Watched) -> None:
    (blobs.root / "lost+found").mkdir()
    identity.introduce(database, blobs)
    assert identity.of_store(blobs) is not None


def test_a_store_that_does_not_answer_stops_no_worker(database: Database, tmp_path: Path) -> None:
    (tmp_path / "blobs" / STORE_ID).mkdir(parents=True)  # reading it fails
    identity.introduce(database, connect((tmp_path / "blobs").as_uri()))


def test_only_unknown_folders_are_asked_for_their_age_and_only_once_an_hour(
    database: Database, blobs: Watched, housekeepers: Housekeepers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "IDS_AT_ONCE", 2)
    identity.introduce(database, blobs)
    blobs.listed = 0
    unknown = uuid7()
    for request_id in (*(add_request(database, images=1) for _ in range(4)), unknown):
        put_files(blobs, request_id)
    housekeeper = housekeepers()
    housekeeper.run_once()
    housekeeper.run_once()
    assert (blobs.listed, blobs.ages) == (1, [str(unknown)])

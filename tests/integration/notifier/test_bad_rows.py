"""A row that always fails: its neighbours are done, and it is tried less and less often, and counted."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString
from uuid import UUID

import pytest
from prometheus_client import REGISTRY

from services.notifier import periodic, sweep, wiped_broker
from services.notifier.periodic import TimeBudget
from services.notifier.sweep import Sweeper
from services.worker.dispatch import dispatch_request
from shared.db import Database
from tests.integration.batches import Post
from tests.integration.notifier.conftest import Housekeepers, Watched, dispatched, finished, put_files, reported
from tests.integration.seed import add_request, group_row, pass_time, request_row, sql, stop


@contextmanager
def refused(database: Database, table: LiteralString, when: LiteralString) -> Iterator[None]:
    """Every UPDATE of a row of `table` fails as `when` says, whatever writes it."""
    sql(
        database,
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'a bad row'; END $$",
    )
    sql(database, f"CREATE TRIGGER bad BEFORE UPDATE ON {table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION refuse()")
    yield
    sql(database, f"DROP TRIGGER bad ON {table}")


def bad(request_id: UUID) -> Any:
    return f"OLD.request_id = '{request_id}'"


def failures(task: str) -> float:
    return REGISTRY.get_sample_value("halftone_periodic_task_failures_total", {"task": task}) or 0.0


def due(database: Database, request_ids: list[UUID]) -> None:
    for request_id in request_ids:
        pass_time(database, request_id, 61)


def statuses(database: Database, request_ids: list[UUID]) -> set[str]:
    return {request_row(database, request_id)["status"] for request_id in request_ids}


def test_a_group_that_cannot_be_reconciled_is_backed_off_and_its_neighbours_are_settled(
    database: Database, sweeper: Sweeper
) -> None:
    poisoned, *innocent = requests = [reported(database) for _ in range(11)]
    due(database, requests)
    before = failures("reconcile_groups")
    with refused(database, "image_group", bad(poisoned) + " AND NEW.state = 'settled'"):
        delays = []
        for _ in range(8):
            sweeper.run_once()
            delays.append(round(group_row(database, poisoned)["reconcile_in"], -1))
            pass_time(database, poisoned, delays[-1] + 1)
    assert statuses(database, innocent) == {"completed"}
    assert delays == [120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert failures("reconcile_groups") == before + 8
    sweeper.run_once()
    assert request_row(database, poisoned)["status"] == "completed"  # nothing was lost


def test_a_group_that_cannot_even_be_taken_is_left_out(database: Database, sweeper: Sweeper) -> None:
    innocent = [reported(database) for _ in range(5)]
    poisoned = reported(database)
    due(database, [*innocent, poisoned])
    pass_time(database, poisoned, 3600)  # the first in every batch
    before = failures("reconcile_groups")
    with refused(database, "image_group", bad(poisoned)):
        sweeper.run_once()
    assert statuses(database, innocent) == {"completed"}
    assert failures("reconcile_groups") == before + 1
    sweeper.run_once()
    assert request_row(database, poisoned)["status"] == "completed"


def test_a_deadline_that_cannot_be_written_holds_up_no_other(database: Database, sweeper: Sweeper) -> None:
    poisoned, innocent = add_request(database, images=1), add_request(database, images=1)
    for request_id, hours in ((poisoned, 26), (innocent, 25)):
        pass_time(database, request_id, hours * 3600)
    condition: Any = f"OLD.id = '{poisoned}' AND NEW.stop_reason IS NOT NULL"
    with refused(database, "processing_request", condition):
        sweeper.run_once()
    assert request_row(database, innocent)["stop_reason"] == "expired"
    assert request_row(database, poisoned)["stop_reason"] is None


def test_stopped_requests_that_cannot_be_closed_hold_up_no_other(
    database: Database, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "BATCH_ROWS", 1)
    poisoned, innocent = requests = [add_request(database, images=1) for _ in range(2)]
    for request_id in requests:
        stop(database, request_id, "cancelled")
    with refused(database, "image_group", bad(poisoned)):
        for _ in range(2):
            sweeper.close_stopped_requests(TimeBudget(60, sweeper.stop, task="close_stopped_requests"))
    assert statuses(database, [innocent]) == {"cancelled"}
    assert failures("close_stopped_requests") >= 1


@pytest.mark.parametrize(
    ("table", "column"), [("processing_request", "id"), ("image_group", "request_id"), ("image", "request_id")]
)
def test_after_a_wipe_a_row_that_cannot_be_repaired_is_passed_over(
    database: Database, sweeper: Sweeper, table: LiteralString, column: str
) -> None:
    requests = [dispatched(database, images=700)[0] for _ in range(3)]
    sql(database, "UPDATE image SET claimed_by = gen_random_uuid(), not_before = now() + interval '1 h'")
    sql(database, "UPDATE processing_request SET dispatch_at = now() + interval '1 h'")
    sweeper.epoch_key._client.flushall()
    condition: Any = f"OLD.{column} = '{requests[0]}'"
    with refused(database, table, condition):
        sweeper.repair_wiped_broker(TimeBudget(60, sweeper.stop, task="repair_wiped_broker"))
    for request_id in requests[1:]:
        assert request_row(database, request_id)["dispatch_at"] <= request_row(database, request_id)["now"]
        assert group_row(database, request_id)["reconcile_in"] <= 0
    assert database.transact(wiped_broker.repair_batch) == 0  # it is complete


def test_a_request_whose_files_cannot_be_deleted_for_an_unknown_reason_holds_up_no_other(
    database: Database, sweeper: Sweeper, housekeepers: Housekeepers, blobs: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(periodic, "BATCH_ROWS", 1)
    poisoned, innocent = (finished(database, sweeper.reconciler) for _ in range(2))
    for request_id, hours in ((poisoned, 26), (innocent, 25)):
        put_files(blobs, request_id)
        pass_time(database, request_id, hours * 3600)
    blobs.failing[f"{poisoned}/source"] = RuntimeError("unforeseen")
    housekeepers().run_once()
    assert request_row(database, innocent)["sources_deleted_at"] is not None
    assert request_row(database, poisoned)["sources_deleted_at"] is None


def test_back_off_doubles_up_to_an_hour_and_is_forgotten_later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    back_off, waits = periodic.BackOff(), []
    for _ in range(8):
        back_off.failed("key")
        start = now
        while back_off.left_alone():
            now += 30
        waits.append(now - start)
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    now += 2 * periodic.LONGEST_BACK_OFF
    assert (back_off.left_alone(), back_off._until) == ([], {})


def test_requests_whose_dispatch_cannot_be_taken_leave_the_others_their_turn(
    database: Database, sweeper: Sweeper, sent: list[Any]
) -> None:
    poisoned, innocent = add_request(database, images=1), add_request(database, images=1)
    pass_time(database, poisoned, 60)
    condition: Any = f"OLD.id = '{poisoned}'"
    with refused(database, "processing_request", condition):
        sweeper.run_once()
    assert [message.request_id for message in sent] == [innocent]
    dispatch_request(database, Post(), poisoned)

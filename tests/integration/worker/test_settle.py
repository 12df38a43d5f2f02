from collections import Counter
from datetime import timedelta
from uuid import UUID

import orjson
import pytest
from sqlmodel import Session

from services.ingest.changes import retry
from services.notifier.reconcile import reconcile
from services.worker.claim import claim
from services.worker.settle import RESULTS, Result, due_again, failed, settle
from shared.db import Database
from shared.errors import CorruptImage
from shared.ids import uuid7
from shared.messages import FetchBatch
from shared.schemas.accounts import DEFAULT_ACCOUNT
from shared.schemas.tables import ImageResult
from tests.integration.batches import (
    NOT_FOUND,
    RENDITION_BYTES,
    SOURCE_BYTES,
    claimed_batch,
    compress_after,
    done,
    fetch_of,
    report,
    take,
)
from tests.integration.race import overtaken, together
from tests.integration.seed import Row, add_request, group_row, image_rows, pass_time, set_images, sql, stop
from tests.integration.worker.conftest import BATCH
from tests.logs import logging_as


@pytest.fixture
def request_id(database: Database) -> UUID:
    """Of 16 images, all in flight."""
    request_id = add_request(database, images=16)
    sql(database, "UPDATE image_group SET state = 'dispatched', dispatch_no = 1, in_flight = 16")
    return request_id


def close(session: Session, request_id: UUID) -> None:
    """Of a request that was stopped: its first group."""
    reconcile(session, request_id, 1, dispatch_no=None, public_url="")


def overtaken_batches(database: Database, request_id: UUID) -> list[FetchBatch]:
    """Two batches of image 1: the claim of the first has ended, and the second took it."""
    batches = []
    for _ in range(2):
        batches.append(claimed_batch(database, request_id, [1]))
        pass_time(database, request_id, 121)
    return batches


def counters(database: Database, request_id: UUID) -> Row:
    row = group_row(database, request_id)
    return {name: row[name] for name in ("completed", "failed", "cancelled", "source_bytes", "rendition_bytes")}


def settled(database: Database, request_id: UUID) -> Row:
    """What the counters should be: counted and added up over the images."""
    return sql(
        database,
        """
        SELECT count(*) FILTER (WHERE state = 'completed') AS completed,
               count(*) FILTER (WHERE state = 'failed') AS failed,
               count(*) FILTER (WHERE state = 'cancelled') AS cancelled,
               coalesce(sum(source_bytes), 0)::int AS source_bytes,
               coalesce(sum(rendition_bytes), 0)::int AS rendition_bytes
        FROM image WHERE request_id = %(id)s
        """,
        id=request_id,
    )[0]


def test_a_batch_settles_once(database: Database, request_id: UUID) -> None:
    batch = claimed_batch(database, request_id, BATCH)
    results = [*(done(number) for number in BATCH[:6]), failed(7, NOT_FOUND), due_again(8, delay=5)]
    assert report(database, batch, results) == 8
    assert report(database, batch, results) == 0
    assert counters(database, request_id) == {
        "completed": 6,
        "failed": 1,
        "cancelled": 0,
        "source_bytes": 6 * SOURCE_BYTES,
        "rendition_bytes": 6 * RENDITION_BYTES,
    }
    assert group_row(database, request_id)["in_flight"] == 8


def test_results_are_counted_once_and_only_those_that_are_written(database: Database, request_id: UUID) -> None:
    batch = fetch_of(request_id, BATCH)
    take(database, batch, BATCH[:7])
    results = [done(1), done(2), failed(3, NOT_FOUND), due_again(4, delay=5, error=NOT_FOUND), failed(8, NOT_FOUND)]
    before = _counted()

    report(database, batch, results)
    report(database, batch, results)
    code = NOT_FOUND.code
    counted = {("completed", "", "jpeg"): 2, ("failed", code, ""): 1, ("pending", code, ""): 1}
    assert _counted() - before == counted


def _counted() -> Counter[tuple[str | None, ...]]:
    samples = [sample for metric in RESULTS.collect() for sample in metric.samples if sample.name.endswith("_total")]
    names = ("state", "code", "format")
    return Counter({tuple(map(sample.labels.get, names)): int(sample.value) for sample in samples})


def test_images_that_failed_are_in_the_log_by_number(database: Database, request_id: UUID) -> None:
    with logging_as("json") as written:
        report(database, claimed_batch(database, request_id, BATCH), [done(1), failed(3, NOT_FOUND)])
    [line] = [orjson.loads(line) for line in written.getvalue().splitlines()]
    expected = {"event": "images_failed", "request_id": str(request_id), "group": 1, "images": {NOT_FOUND.code: [3]}}
    assert line.items() >= expected.items()


def test_everything_that_is_known_of_an_image_is_written(database: Database, request_id: UUID) -> None:
    batch = claimed_batch(database, request_id, BATCH)
    report(database, batch, [done(1), failed(2, NOT_FOUND)])
    rows = image_rows(database, request_id)
    expected = {name: getattr(done(1), name) for name in ImageResult.model_fields}
    assert {name: rows[1][name] for name in expected} == expected
    assert (rows[2]["error_code"], rows[2]["error_detail"]) == ("http_status", "images.example answered 404.")
    assert {rows[1]["claimed_by"], rows[2]["claimed_by"]} == {None}


def test_an_image_is_settled_when_its_result_is_written_and_not_while_it_is_pending(
    database: Database, request_id: UUID
) -> None:
    batch = claimed_batch(database, request_id, BATCH)
    begun = sql(database, "SELECT now() AS now")[0]["now"]
    again = due_again(3, delay=5, error=NOT_FOUND, fetch_ms=8)
    report(database, batch, [done(1), failed(2, NOT_FOUND, fetch_ms=7), again])
    rows = image_rows(database, request_id)
    assert [rows[number]["fetch_ms"] for number in (1, 2, 3, 4)] == [120, 7, 8, None]
    assert {number for number, row in rows.items() if row["settled_at"] is not None} == {1, 2}
    assert begun <= rows[1]["settled_at"] == rows[2]["settled_at"]


def test_an_error_that_quotes_a_nul_settles_with_its_batch(database: Database, request_id: UUID) -> None:
    batch = claimed_batch(database, request_id, [1, 2])
    assert report(database, batch, [failed(1, CorruptImage("broken at \x00")), done(2)]) == 2
    assert image_rows(database, request_id)[1]["error_detail"] == "broken at \ufffd"


def test_the_same_batch_settled_twice_at_once_counts_once(database: Database, request_id: UUID) -> None:
    batch = claimed_batch(database, request_id, BATCH)
    results = [done(number) for number in BATCH]
    assert overtaken(
        database, lambda session: settle(session, batch, results), lambda session: settle(session, batch, results)
    ) == (8, 0)
    assert counters(database, request_id)["completed"] == 8
    assert group_row(database, request_id)["in_flight"] == 8


def test_two_batches_of_a_group_settled_at_once_are_both_counted(database: Database, request_id: UUID) -> None:
    one, two = fetch_of(request_id, BATCH), fetch_of(request_id, range(9, 17))
    take(database, one, BATCH)
    take(database, two, range(9, 17))
    first = [done(number) for number in BATCH]
    second = [failed(9, NOT_FOUND), *(done(number) for number in range(10, 17))]
    assert overtaken(
        database, lambda session: settle(session, one, first), lambda session: settle(session, two, second)
    ) == (8, 8)
    assert counters(database, request_id) == settled(database, request_id)
    assert counters(database, request_id)["completed"] == 15
    assert group_row(database, request_id)["in_flight"] == 0


def test_many_overlapping_batches_settled_at_once_count_every_image_once(database: Database) -> None:
    request_id = add_request(database, images=64)
    spans = [range(1, 17), range(9, 33), range(17, 49), range(1, 65), range(33, 65), range(40, 65)]
    batches = [(fetch_of(request_id, span), [done(number, source_bytes=number) for number in span]) for span in spans]
    written = together([lambda b=b, r=r: report(database, b, r) for b, r in batches])  # type: ignore[misc]
    assert sum(written) == 64
    assert counters(database, request_id) == settled(database, request_id)
    assert counters(database, request_id)["source_bytes"] == sum(range(1, 65))


def test_a_completed_image_needs_no_claim(database: Database, request_id: UUID) -> None:
    slow, heir = overtaken_batches(database, request_id)
    assert report(database, slow, [done(1)]) == 1
    assert report(database, heir, [failed(1, NOT_FOUND)]) == 0
    assert image_rows(database, request_id)[1]["state"] == "completed"


@pytest.mark.parametrize("result", [failed(1, NOT_FOUND), due_again(1, delay=5, error=NOT_FOUND)])
def test_a_failure_or_a_back_off_needs_the_claim(database: Database, request_id: UUID, result: Result) -> None:
    slow, heir = overtaken_batches(database, request_id)
    assert report(database, slow, [result]) == 0
    row = image_rows(database, request_id)[1]
    assert (row["state"], row["claimed_by"], row["error_code"]) == ("pending", heir.claim, None)
    assert report(database, heir, [done(1)]) == 1


@pytest.mark.parametrize("result", [done(1), failed(1, NOT_FOUND), due_again(1, delay=5)])
def test_a_result_of_another_run_is_refused(database: Database, request_id: UUID, result: Result) -> None:
    batch = claimed_batch(database, request_id, [1])
    sql(database, "UPDATE image SET run = 2 WHERE number = 1")
    assert report(database, batch, [result]) == 0
    assert counters(database, request_id)["completed"] == 0


def test_a_late_result_of_the_old_run_does_not_count_in_the_new_one(database: Database, request_id: UUID) -> None:
    batch = claimed_batch(database, request_id, BATCH)
    compress = compress_after(batch)
    take(database, compress, BATCH)
    stop(database, request_id, "cancelled")
    database.transact(lambda session: close(session, request_id))
    database.transact(lambda session: retry(session, DEFAULT_ACCOUNT, request_id, deadline=timedelta(hours=24)))
    assert report(database, compress, [done(number) for number in BATCH]) == 0
    assert {row["state"] for row in image_rows(database, request_id).values()} == {"cancelled"}, "to be reopened"
    assert counters(database, request_id)["completed"] == 0
    assert group_row(database, request_id)["in_flight"] == 0


def test_a_back_off_waits_and_lets_the_claim_go(database: Database, request_id: UUID) -> None:
    batch = claimed_batch(database, request_id, BATCH)
    report(database, batch, [due_again(1, delay=60, error=NOT_FOUND), due_again(2, delay=15, refund=True)])
    rows = image_rows(database, request_id)
    assert (rows[1]["claimed_by"], rows[1]["attempts"], rows[1]["error_code"]) == (None, 1, "http_status")
    assert 50 < rows[1]["due_in"] <= 60
    assert (rows[2]["claimed_by"], rows[2]["attempts"], rows[2]["error_code"]) == (None, 0, None)
    assert group_row(database, request_id)["in_flight"] == 14


def test_delays_may_be_whole_numbers_or_not_in_the_same_batch(database: Database, request_id: UUID) -> None:
    batch = claimed_batch(database, request_id, BATCH)
    assert report(database, batch, [due_again(1, delay=0), due_again(2, delay=15.5), done(3)]) == 3


def test_a_success_leaves_no_trace_of_earlier_errors(database: Database, request_id: UUID) -> None:
    batch, again = fetch_of(request_id, [1]), fetch_of(request_id, [1])
    take(database, batch, [1])
    report(database, batch, [due_again(1, delay=0, error=NOT_FOUND)])
    take(database, again, [1])
    report(database, again, [done(1)])
    row = image_rows(database, request_id)[1]
    assert (row["error_code"], row["error_detail"]) == (None, None)


def test_in_flight_never_falls_below_zero(database: Database, request_id: UUID) -> None:
    sql(database, "UPDATE image_group SET in_flight = 3")
    batch = claimed_batch(database, request_id, BATCH)
    report(database, batch, [done(number) for number in BATCH])
    assert group_row(database, request_id)["in_flight"] == 0


def test_no_results_are_no_statement(database: Database, request_id: UUID) -> None:
    assert report(database, fetch_of(request_id, BATCH), []) == 0


def test_a_settle_that_waited_for_a_reconcile_finds_the_images_closed(database: Database, request_id: UUID) -> None:
    batch = claimed_batch(database, request_id, BATCH)
    stop(database, request_id, "cancelled")
    results = [done(number) for number in BATCH]
    _, written = overtaken(
        database,
        lambda session: close(session, request_id),
        lambda session: settle(session, batch, results),
    )
    assert written == 0
    assert counters(database, request_id)["cancelled"] == 16


def test_a_reconcile_that_waited_for_a_settle_closes_only_the_rest(database: Database, request_id: UUID) -> None:
    batch = claimed_batch(database, request_id, BATCH)
    stop(database, request_id, "cancelled")
    results = [done(number) for number in BATCH]
    written, _ = overtaken(
        database,
        lambda session: settle(session, batch, results),
        lambda session: close(session, request_id),
    )
    assert written == 8
    assert counters(database, request_id) == settled(database, request_id)
    assert (counters(database, request_id)["completed"], counters(database, request_id)["cancelled"]) == (8, 8)


def test_a_claim_that_waited_for_a_settle_finds_nothing_to_do(database: Database, request_id: UUID) -> None:
    batch = claimed_batch(database, request_id, BATCH)
    set_images(database, request_id, BATCH, claimed_by=uuid7())
    pass_time(database, request_id, 121)
    results = [done(number) for number in BATCH]
    heir = fetch_of(request_id, BATCH)
    written, taken = overtaken(
        database, lambda session: settle(session, batch, results), lambda session: claim(session, heir, BATCH)
    )
    assert (written, taken) == (8, {})

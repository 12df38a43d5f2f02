from uuid import UUID, uuid4

import pytest
from sqlmodel import Session

from services.worker.claim import claim, defer, release, renew
from services.worker.settle import due_again
from shared.db import Database
from shared.messages import Batch, FetchSlowBatch
from tests.integration.batches import claimed_batch, compress_after, done, fetch_isolated, fetch_of, report, take
from tests.integration.race import overtaken, together
from tests.integration.seed import Row, image_rows, pass_time, set_images, sql, stop
from tests.integration.worker.conftest import BATCH


def columns(rows: dict[int, Row], *names: str) -> set[tuple[object, ...]]:
    """The different values that the rows have in these columns."""
    return {tuple(row[name] for name in names) for row in rows.values()}


def test_a_claim_takes_its_images_for_two_minutes_and_counts_an_attempt(database: Database, request_id: UUID) -> None:
    batch = fetch_of(request_id, BATCH)
    assert take(database, batch, BATCH) == dict.fromkeys(BATCH, 1)
    rows = image_rows(database, request_id)
    assert columns(rows, "claimed_by", "attempts", "isolated") == {(batch.claim, 1, False)}
    assert all(110 < row["due_in"] <= 120 for row in rows.values())


def test_a_live_claim_is_not_taken_by_another(database: Database, request_id: UUID) -> None:
    batch = claimed_batch(database, request_id, BATCH)
    assert take(database, fetch_of(request_id, BATCH), BATCH) == {}
    assert columns(image_rows(database, request_id), "claimed_by", "attempts") == {(batch.claim, 1)}


def test_of_two_workers_at_once_the_second_gets_nothing(database: Database, request_id: UUID) -> None:
    one, two = fetch_of(request_id, BATCH), fetch_of(request_id, BATCH)
    first, second = overtaken(
        database, lambda session: claim(session, one, BATCH), lambda session: claim(session, two, BATCH)
    )
    assert (len(first), second) == (8, {})
    assert columns(image_rows(database, request_id), "claimed_by", "attempts") == {(one.claim, 1)}


def test_of_many_workers_each_image_goes_to_one(database: Database, request_id: UUID) -> None:
    for _ in range(20):
        batches = [fetch_of(request_id, numbers) for numbers in (BATCH, BATCH[::-1], BATCH[:5], BATCH[3:])]
        calls = [lambda b=b: take(database, b, [image.number for image in b.images]) for b in batches]
        taken = [number for answer in together(calls) for number in answer]
        assert sorted(taken) == BATCH
        pass_time(database, request_id, 121)
        set_images(database, request_id, BATCH, attempts=0, claimed_by=None)


def test_an_expired_claim_is_taken_and_its_images_travel_isolated_from_then_on(
    database: Database, request_id: UUID
) -> None:
    take(database, fetch_of(request_id, BATCH), BATCH)
    pass_time(database, request_id, 121)
    heir = fetch_of(request_id, BATCH[:3])
    assert take(database, heir, BATCH[:3]) == dict.fromkeys(BATCH[:3], 2)
    rows = image_rows(database, request_id)
    assert [row["isolated"] for row in rows.values()] == [True] * 3 + [False] * 5
    assert {rows[number]["claimed_by"] for number in BATCH[:3]} == {heir.claim}


def test_an_image_that_only_waited_for_its_retry_does_not_travel_isolated(database: Database, request_id: UUID) -> None:
    batch = claimed_batch(database, request_id, BATCH)
    report(database, batch, [due_again(number, delay=5) for number in BATCH])
    assert take(database, fetch_of(request_id, BATCH), BATCH) == {}
    pass_time(database, request_id, 6)
    assert take(database, fetch_of(request_id, BATCH), BATCH) == dict.fromkeys(BATCH, 2)
    assert columns(image_rows(database, request_id), "isolated") == {(False,)}


def test_a_redelivered_message_of_several_images_is_broken_up(database: Database, request_id: UUID) -> None:
    batch = claimed_batch(database, request_id, BATCH)
    assert take(database, batch, BATCH) == {}
    rows = image_rows(database, request_id)
    assert columns(rows, "claimed_by", "isolated") == {(None, True)}
    assert all(row["due_in"] <= 0 for row in rows.values())


def test_breaking_up_uses_no_attempt_since_nothing_was_tried(database: Database, request_id: UUID) -> None:
    batch = fetch_of(request_id, BATCH)
    set_images(database, request_id, BATCH, attempts=3)
    take(database, batch, BATCH)
    take(database, batch, BATCH)
    assert columns(image_rows(database, request_id), "attempts") == {(4,)}


def test_a_message_that_two_workers_hold_at_once_is_worked_on_by_one_at_most(
    database: Database, request_id: UUID
) -> None:
    batch = fetch_of(request_id, BATCH)
    first, second = overtaken(
        database, lambda session: claim(session, batch, BATCH), lambda session: claim(session, batch, BATCH)
    )
    assert (len(first), second) == (8, {})
    assert columns(image_rows(database, request_id), "claimed_by", "isolated") == {(None, True)}


def test_a_redelivered_message_of_one_image_that_travels_isolated_counts_an_attempt_each_time_and_never_a_sixth(
    database: Database, request_id: UUID
) -> None:
    batch = fetch_isolated(request_id, 1)
    assert [take(database, batch, [1]) for _ in range(7)] == [{1: 1}, {1: 2}, {1: 3}, {1: 4}, {1: 5}, {}, {}]
    assert image_rows(database, request_id)[1]["attempts"] == 5


def test_one_image_in_company_of_others_in_its_worker_is_not_blamed_before_it_travels_isolated(
    database: Database, request_id: UUID
) -> None:
    batch = claimed_batch(database, request_id, BATCH)
    report(database, batch, [done(number) for number in BATCH[1:]])
    assert take(database, batch, BATCH) == {}
    row = image_rows(database, request_id)[1]
    assert (row["attempts"], row["claimed_by"], row["isolated"]) == (1, None, True)


def test_after_five_attempts_nothing_is_claimed_however_long_one_waits(database: Database, request_id: UUID) -> None:
    set_images(database, request_id, BATCH, attempts=5)
    pass_time(database, request_id, 10_000)
    assert take(database, fetch_of(request_id, BATCH), BATCH) == {}
    assert columns(image_rows(database, request_id), "attempts", "claimed_by") == {(5, None)}


@pytest.mark.parametrize("reason", ["cancelled", "expired"])
def test_nothing_of_a_stopped_request_is_claimed(database: Database, request_id: UUID, reason: str) -> None:
    stop(database, request_id, reason)
    assert take(database, fetch_of(request_id, BATCH), BATCH) == {}


def test_a_message_of_another_run_claims_nothing(database: Database, request_id: UUID) -> None:
    assert take(database, fetch_of(request_id, BATCH, run=2), BATCH) == {}


@pytest.mark.parametrize("before", [0, 4])
def test_compressing_takes_over_from_its_fetch_without_counting_an_attempt(
    database: Database, request_id: UUID, before: int
) -> None:
    set_images(database, request_id, BATCH, attempts=before)
    compress = compress_after(claimed_batch(database, request_id, BATCH))
    assert take(database, compress, BATCH) == dict.fromkeys(BATCH, before + 1)
    rows = image_rows(database, request_id)
    assert columns(rows, "claimed_by", "attempts", "isolated") == {(compress.claim, before + 1, False)}


def test_compressing_claims_nothing_that_its_fetch_does_not_hold(database: Database, request_id: UUID) -> None:
    fetch = fetch_of(request_id, BATCH)
    assert take(database, compress_after(fetch), BATCH) == {}
    take(database, fetch, BATCH)
    pass_time(database, request_id, 121)
    take(database, fetch_of(request_id, BATCH), BATCH)
    pass_time(database, request_id, 121)
    assert take(database, compress_after(fetch), BATCH) == {}


def test_a_redelivered_compress_is_broken_up_too(database: Database, request_id: UUID) -> None:
    fetch = fetch_of(request_id, BATCH)
    compress = compress_after(fetch)
    take(database, fetch, BATCH)
    take(database, compress, BATCH)
    assert take(database, compress, BATCH) == {}
    assert columns(image_rows(database, request_id), "claimed_by", "isolated", "attempts") == {(None, True, 1)}


def test_a_redelivered_compress_of_one_image_that_travels_isolated_counts_an_attempt(
    database: Database, request_id: UUID
) -> None:
    fetch = fetch_isolated(request_id, 1)
    compress = compress_after(fetch)
    take(database, fetch, [1])
    assert [take(database, compress, [1]) for _ in range(6)] == [{1: 1}, {1: 2}, {1: 3}, {1: 4}, {1: 5}, {}]


def test_the_slow_queue_gives_the_attempt_back_and_keeps_others_away(database: Database, request_id: UUID) -> None:
    fetch = claimed_batch(database, request_id, BATCH)
    assert _slow(database, fetch, [2, 1]) == [1, 2]
    assert [row["attempts"] for row in image_rows(database, request_id).values()] == [0, 0] + [1] * 6
    pass_time(database, request_id, 290)
    assert take(database, fetch_of(request_id, [1, 2]), [1, 2]) == {}
    assert take(database, FetchSlowBatch.after(fetch), [1, 2]) == {1: 1, 2: 1}
    assert not image_rows(database, request_id)[1]["isolated"]


def test_the_slow_queue_takes_only_what_the_fetch_still_holds(database: Database, request_id: UUID) -> None:
    fetch = claimed_batch(database, request_id, BATCH)
    pass_time(database, request_id, 121)
    take(database, fetch_of(request_id, [1]), [1])
    report(database, fetch, [done(2)])
    assert _slow(database, fetch, [1, 2, 3]) == [3]


def test_a_lost_slow_queue_message_leaves_the_images_to_a_later_dispatch(database: Database, request_id: UUID) -> None:
    fetch = claimed_batch(database, request_id, [1])
    _slow(database, fetch, [1])
    pass_time(database, request_id, 301)
    assert take(database, fetch_of(request_id, [1]), [1]) == {1: 1}
    assert not image_rows(database, request_id)[1]["isolated"]  # no worker had begun


def test_moving_to_the_slow_queue_twice_gives_one_attempt_back(database: Database, request_id: UUID) -> None:
    """As after a COMMIT whose answer was lost."""
    fetch = claimed_batch(database, request_id, [1])
    assert [_slow(database, fetch, [1]) for _ in range(2)] == [[1], [1]]
    assert image_rows(database, request_id)[1]["attempts"] == 0


def test_released_images_are_due_at_once_and_together(database: Database, request_id: UUID) -> None:
    fetch = claimed_batch(database, request_id, BATCH)
    _slow(database, fetch, BATCH)
    database.transact(lambda session: release(session, fetch, BATCH))
    assert take(database, fetch_of(request_id, BATCH), BATCH) == dict.fromkeys(BATCH, 1)
    assert columns(image_rows(database, request_id), "isolated") == {(False,)}


def test_renewing_prolongs_only_ones_own_claim(database: Database, request_id: UUID) -> None:
    fetch = fetch_of(request_id, BATCH)
    take(database, fetch, BATCH[:4])
    pass_time(database, request_id, 100)
    set_images(database, request_id, [4], claimed_by=uuid4())
    database.transact(lambda session: renew(session, fetch, BATCH))
    rows = image_rows(database, request_id)
    assert [number for number, row in rows.items() if row["due_in"] > 100] == [1, 2, 3]


def test_a_claim_that_was_just_made_is_not_written_again(database: Database, request_id: UUID) -> None:
    fetch = claimed_batch(database, request_id, BATCH)
    pass_time(database, request_id, 10)
    database.run(lambda connection: renew(connection, fetch, BATCH))
    assert all(row["due_in"] <= 110 for row in image_rows(database, request_id).values())
    pass_time(database, request_id, 15)
    database.run(lambda connection: renew(connection, fetch, BATCH))
    assert all(row["due_in"] > 110 for row in image_rows(database, request_id).values())


def test_a_cancel_that_comes_while_a_claim_waits_is_either_before_or_after_it(
    database: Database, request_id: UUID
) -> None:
    """Either is fine: the claim sees the stop, or it works on and `reconcile` closes the images that are left."""

    def cancel(session: Session) -> None:
        session.connection().exec_driver_sql("UPDATE processing_request SET stop_reason = 'cancelled'")

    batch = fetch_of(request_id, BATCH)
    _, taken = overtaken(database, cancel, lambda session: claim(session, batch, BATCH))
    claimed = {number for number, row in image_rows(database, request_id).items() if row["claimed_by"]}
    assert claimed == set(taken)
    assert sql(database, "SELECT stop_reason FROM processing_request") == [{"stop_reason": "cancelled"}]


def _slow(database: Database, batch: Batch, numbers: list[int]) -> list[int]:
    return database.transact(lambda session: defer(session, batch, numbers, seconds=300))

from functools import partial
from typing import Any

import pytest
from sqlmodel import Session

from services.worker.claim import defer
from services.worker.dispatch import _again, _open_window, dispatch_group, dispatch_request
from shared.db import Database
from shared.messages import CompressBatch, FetchBatch, GroupDone, QuickBatch
from shared.recipe import Mode, Recipe, TargetFormat
from tests.integration.batches import Post, dispatched, numbers_of, settle_all, take
from tests.integration.race import overtaken, together
from tests.integration.seed import add_request, group_row, pass_time, request_row, set_images, sql, stop


def test_a_request_goes_out_in_batches_of_sixteen_that_cover_every_image_once(database: Database) -> None:
    request_id = add_request(database, images=130)
    post = Post()
    assert dispatch_request(database, post, request_id) == 2
    assert [len(batch.images) for batch in post.batches] == [16] * 8 + [2]
    assert [number for batch in post.batches for number in numbers_of(batch)] == list(range(1, 131))
    assert post.batches[0].images[2].url == "https://images.example/3.jpg"
    assert len({batch.claim for batch in post.batches}) == 9


def test_the_first_images_of_a_request_are_quick(database: Database) -> None:
    _, post = dispatched(database, images=130)
    sent = [tuple(type(half) for half in pipeline if half) for _, pipelines in post.groups for pipeline in pipelines]
    assert sent == [(QuickBatch,)] * 4 + [(FetchBatch, CompressBatch)] * 5


def test_dispatching_marks_the_request_and_its_groups(database: Database) -> None:
    request_id, post = dispatched(database, images=130)
    request = request_row(database, request_id)
    assert (request["status"], request["dispatch_at"]) == ("processing", None)
    assert request["started_at"] is not None
    group = group_row(database, request_id, 2)
    expected = {"state": "dispatched", "dispatch_no": 1, "in_flight": 2, "reconcile_delay": 120}
    assert {name: group[name] for name in expected} == expected
    assert 50 < group["reconcile_in"] <= 60
    expected_done = [GroupDone(request_id=request_id, group=number, dispatch_no=1) for number in (1, 2)]
    assert [sent for sent, _ in post.groups] == expected_done


def test_every_message_of_a_pipeline_carries_run_recipe_and_the_claim_it_takes_over(database: Database) -> None:
    request_id = add_request(database, images=65)
    sql(database, "UPDATE processing_request SET run = 3, quality = 40, mode = 'bytes', format = 'webp', max_side = 99")
    sql(database, "UPDATE image SET run = 3")
    post = Post()
    dispatch_request(database, post, request_id)
    fetch, compress = post.groups[0][1][-1]
    assert compress is not None
    assert fetch.recipe == Recipe(quality=40, mode=Mode.BYTES, format=TargetFormat.WEBP, max_side=99)
    assert (fetch.group, fetch.dispatch_no, fetch.run, fetch.takes_over) == (1, 1, 3, None)
    assert compress == CompressBatch.after(fetch).model_copy(update={"claim": compress.claim})
    assert (compress.takes_over, compress.claim != fetch.claim) == (fetch.claim, True)


def test_of_many_dispatchers_at_once_each_group_goes_out_once(database: Database) -> None:
    request_id = add_request(database, images=500)
    post = Post()
    together([lambda: dispatch_request(database, post, request_id)] * 4)
    assert sorted(sent.group for sent, _ in post.groups) == [1, 2, 3, 4]
    assert {sent.dispatch_no for sent, _ in post.groups} == {1}


def test_a_group_goes_out_again_under_the_next_number(database: Database) -> None:
    request_id, post = dispatched(database, images=20)
    settle_all(database, post.batches[:1])
    assert dispatch_group(database, post, request_id, group=1, seen=1) == 1
    sent, pipelines = post.groups[1]
    assert sent.dispatch_no == group_row(database, request_id)["dispatch_no"] == 2
    assert [number for fetch, _ in pipelines for number in numbers_of(fetch)] == list(range(17, 21))
    assert {message.dispatch_no for pipeline in pipelines for message in pipeline if message} == {2}


def test_a_second_dispatch_of_the_same_number_is_void(database: Database) -> None:
    request_id, post = dispatched(database, images=20)
    assert [dispatch_group(database, post, request_id, group=1, seen=1) for _ in range(3)] == [1, 0, 0]
    assert dispatch_group(database, post, request_id, group=1, seen=3) == 0
    assert group_row(database, request_id)["dispatch_no"] == 2


def test_of_two_dispatches_of_the_same_number_at_once_one_is_void(database: Database) -> None:
    request_id, _ = dispatched(database, images=20)
    again = partial(_again, request_id=request_id, group=1, seen=1)
    first, second = overtaken(database, again, again)
    assert (len(first), second) == (1, {})


def test_reconciles_become_rarer_with_every_dispatch_up_to_ten_minutes(database: Database) -> None:
    request_id, post = dispatched(database, images=1)
    ahead = []
    for seen in range(1, 7):
        dispatch_group(database, post, request_id, group=1, seen=seen)
        ahead.append(round(group_row(database, request_id)["reconcile_in"], -1))
    assert ahead == [120, 240, 480, 600, 600, 600]


def test_images_under_a_claim_are_not_sent_again_but_count_as_in_flight(database: Database) -> None:
    request_id, post = dispatched(database, images=20)
    take(database, post.batches[0], range(1, 9))
    assert dispatch_group(database, post, request_id, group=1, seen=1) == 1
    assert [number for fetch, _ in post.groups[1][1] for number in numbers_of(fetch)] == list(range(9, 21))
    assert group_row(database, request_id)["in_flight"] == 20


def test_nothing_due_is_no_dispatch(database: Database) -> None:
    request_id, post = dispatched(database, images=8)
    take(database, post.batches[0], range(1, 9))
    assert dispatch_group(database, post, request_id, group=1, seen=1) == 0
    assert group_row(database, request_id)["dispatch_no"] == 1


def test_after_five_attempts_an_image_is_not_sent_again(database: Database) -> None:
    request_id, post = dispatched(database, images=8)
    set_images(database, request_id, [1, 2], attempts=5)
    dispatch_group(database, post, request_id, group=1, seen=1)
    assert numbers_of(post.batches[1]) == [3, 4, 5, 6, 7, 8]


def test_an_image_that_lost_a_claim_gets_a_pipeline_of_its_own(database: Database) -> None:
    request_id, post = dispatched(database, images=20)
    set_images(database, request_id, [3], isolated=True)
    take(database, post.batches[1], [17, 18])
    pass_time(database, request_id, 121)
    dispatch_group(database, post, request_id, group=1, seen=1)
    sent = [numbers_of(fetch) for fetch, _ in post.groups[1][1]]
    assert sent == [[1, 2, *range(4, 17), 19], [20], [3], [17], [18]]
    assert [fetch.isolated for fetch, _ in post.groups[1][1]] == [False] * 2 + [True] * 3
    assert all(fetch.isolated == compress.isolated for fetch, compress in post.groups[1][1] if compress)


def test_an_image_that_waited_in_vain_for_the_slow_queue_or_has_its_last_attempt_goes_with_the_others(
    database: Database,
) -> None:
    request_id, post = dispatched(database, images=8)
    take(database, post.batches[0], [1])
    database.transact(lambda session: defer(session, post.batches[0], [1], seconds=300))
    set_images(database, request_id, [2], attempts=4)
    pass_time(database, request_id, 301)
    dispatch_group(database, post, request_id, group=1, seen=1)
    assert [(fetch.isolated, numbers_of(fetch)) for fetch, _ in post.groups[1][1]] == [(False, list(range(1, 9)))]


def test_a_group_that_the_broker_did_not_take_is_reconciled_within_five_seconds(database: Database) -> None:
    request_id = add_request(database, images=200)
    dispatch_request(database, Post(works=False), request_id)
    assert all(0 < group_row(database, request_id, number)["reconcile_in"] <= 5 for number in (1, 2))
    post = Post()
    dispatch_group(database, post, request_id, group=1, seen=1)
    assert group_row(database, request_id)["reconcile_in"] > 60


@pytest.mark.parametrize("reason", ["cancelled", "expired"])
def test_nothing_of_a_stopped_request_is_dispatched(database: Database, reason: str) -> None:
    request_id, post = dispatched(database, images=8)
    stop(database, request_id, reason)
    assert dispatch_group(database, post, request_id, group=1, seen=1) == 0
    assert dispatch_request(database, post, request_id) == 0
    assert len(post.groups) == 1


def test_a_commit_whose_reply_is_lost_is_sent_all_the_same(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    request_id = add_request(database, images=130)
    post, transact = Post(), Database.transact

    def reply_lost(self: Database, work: Any) -> Any:
        transact(self, work)
        return transact(self, work)

    monkeypatch.setattr(Database, "transact", reply_lost)
    dispatch_request(database, post, request_id)
    dispatch_group(database, post, request_id, group=1, seen=1)
    assert [(sent.group, sent.dispatch_no) for sent, _ in post.groups] == [(1, 1), (2, 1), (1, 2)]
    assert group_row(database, request_id, 1)["dispatch_no"] == 2


def test_a_request_that_is_gone_is_nothing_to_dispatch(database: Database) -> None:
    request_id = add_request(database, images=8)
    sql(database, "DELETE FROM processing_request")
    assert dispatch_request(database, Post(), request_id) == 0


def test_a_dispatch_that_waited_for_a_cancel_sends_nothing(database: Database) -> None:
    request_id = add_request(database, images=8)

    def cancel(session: Session) -> None:
        session.connection().exec_driver_sql("UPDATE processing_request SET stop_reason = 'cancelled'")

    _, orders = overtaken(database, cancel, partial(_open_window, request_id=request_id))
    assert orders == {}
    assert request_row(database, request_id)["status"] == "pending"


def test_the_images_of_a_retry_are_reopened_with_their_group(database: Database) -> None:
    """As `retry` leaves them: what the group completed counts on the request until it is dispatched."""
    request_id = add_request(database, images=600)
    sql(
        database,
        """
        UPDATE image SET attempts = 5, isolated = true, fetch_ms = 30, settled_at = now(),
            state = CASE WHEN number %% 2 = 0 THEN 'failed' ELSE 'completed' END,
            error_code = CASE WHEN number %% 2 = 0 THEN 'http_status' END, rendition_sha256 = 'x'
        """,
    )
    sql(database, "UPDATE image_group SET dispatch_no = -3, completed = images / 2, source_bytes = 7 * images / 2")
    sql(database, "UPDATE processing_request SET run = 2, completed = 300, source_bytes = 2100")
    post = Post()

    assert dispatch_request(database, post, request_id, window=128) == 2

    assert [number for batch in post.batches for number in numbers_of(batch)] == list(range(2, 257, 2))
    written = "SELECT DISTINCT attempts, isolated, error_code, state FROM image WHERE run = 2 AND number <= 256"
    assert sql(database, written) == [{"attempts": 0, "isolated": False, "error_code": None, "state": "pending"}]
    assert sql(database, "SELECT DISTINCT fetch_ms, settled_at FROM image WHERE run = 2 AND number <= 256") == [
        {"fetch_ms": None, "settled_at": None}
    ]
    assert sql(database, "SELECT count(*) AS n FROM image WHERE run = 2") == [{"n": 128}], "the other groups wait"
    request = request_row(database, request_id)
    assert (request["completed"], request["source_bytes"]) == (172, 1204)
    assert [group_row(database, request_id, number)["dispatch_no"] for number in (1, 2, 3)] == [4, 4, -3]
    dispatch_request(database, post, request_id, window=128)
    assert request_row(database, request_id)["completed"] == 172, "moved once"

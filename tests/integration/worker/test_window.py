"""How many images of a request are on their way at once."""

from functools import partial
from threading import Event
from uuid import UUID

import pytest
import redis

from services.notifier.reconcile import Reconciler
from services.worker import dispatch
from services.worker.dispatch import GROUPS_AT_ONCE, _open_window, dispatch_group, dispatch_request
from services.worker.fleet import LARGEST_WINDOW, WORKERS, Fleet
from services.worker.settle import due_again
from shared.db import Database
from shared.lifecycle import IMAGES_PER_GROUP, WINDOW
from shared.messages import DispatchRequest, FetchBatch, GroupDone, Message
from tests.integration.batches import Post, dispatched, numbers_of, report, settle_all, take
from tests.integration.race import overtaken
from tests.integration.seed import add_request, group_row, pass_time, request_row, sql


def back_off(database: Database, batches: list[FetchBatch], *, delay: float) -> None:
    for batch in batches:
        take(database, batch, numbers_of(batch))
        report(database, batch, [due_again(number, delay=delay) for number in numbers_of(batch)])


def in_flight(database: Database, request_id: UUID) -> int:
    statement = "SELECT sum(in_flight)::int AS sum FROM image_group WHERE request_id = %(id)s"
    return int(sql(database, statement, id=request_id)[0]["sum"])


def test_the_window_holds_512_images(database: Database) -> None:
    request_id, post = dispatched(database, images=1000)
    assert len(post.groups) == 4
    assert in_flight(database, request_id) == WINDOW
    request = request_row(database, request_id)
    assert 50 < (request["dispatch_at"] - request["now"]).seconds <= 60
    assert dispatch_request(database, post, request_id) == 0
    assert group_row(database, request_id, 5)["state"] == "waiting"


def test_a_window_full_of_groups_with_one_image_each_leaves_the_others_their_timer(database: Database) -> None:
    request_id = add_request(database, images=1)
    sql(
        database,
        """
        WITH groups AS (
            INSERT INTO image_group (request_id, number, images)
            SELECT %(id)s, n, 1 FROM generate_series(2, %(groups)s) AS n
        )
        INSERT INTO image (request_id, number, url, not_before)
        SELECT %(id)s, (n - 1) * %(size)s + 1, 'https://images.example/', now() - interval '1 s'
        FROM generate_series(2, %(groups)s) AS n
        """,
        id=request_id,
        groups=WINDOW + 1,
        size=IMAGES_PER_GROUP,
    )
    assert dispatch_request(database, Post(), request_id) == WINDOW
    assert group_row(database, request_id, WINDOW + 1)["state"] == "waiting"
    assert request_row(database, request_id)["dispatch_at"] is not None


def test_a_group_that_waits_behind_the_last_transaction_keeps_the_timer(database: Database) -> None:
    """The worker that fills the window is paused between two transactions; meanwhile a group returns to wait."""
    request_id = add_request(database, images=IMAGES_PER_GROUP * GROUPS_AT_ONCE)
    window = IMAGES_PER_GROUP * GROUPS_AT_ONCE
    first = database.transact(partial(_open_window, request_id=request_id, window=window))
    assert len(first) == GROUPS_AT_ONCE
    dispatch_group(database, Post(), request_id, group=3, seen=1, window=1)
    assert group_row(database, request_id, 3)["state"] == "waiting"
    database.transact(partial(_open_window, request_id=request_id, window=window, after=GROUPS_AT_ONCE))
    assert request_row(database, request_id)["dispatch_at"] is not None


def test_the_window_holds_when_two_dispatch_at_once(database: Database) -> None:
    request_id = add_request(database, images=1000)
    open_window = partial(_open_window, request_id=request_id)
    first, second = overtaken(database, open_window, open_window)
    assert (len(first), second) == (4, {})
    assert in_flight(database, request_id) == WINDOW


def test_settled_images_make_room(database: Database) -> None:
    request_id, post = dispatched(database, images=1000)
    settle_all(database, post.batches[:7])
    assert dispatch_request(database, post, request_id) == 0
    settle_all(database, post.batches[7:8])
    assert dispatch_request(database, post, request_id) == 1
    assert in_flight(database, request_id) == WINDOW


def test_images_that_wait_for_a_retry_do_not_fill_the_window(database: Database) -> None:
    request_id, post = dispatched(database, images=1000)
    back_off(database, post.batches[:16], delay=60)
    assert dispatch_request(database, post, request_id) == 2


def test_a_full_window_holds_up_no_other_request(database: Database) -> None:
    dispatched(database, images=1000)
    assert dispatch_request(database, Post(), add_request(database, images=3)) == 1


def test_a_group_whose_retries_find_the_window_full_waits(database: Database) -> None:
    request_id, post = dispatched(database, images=1000)
    back_off(database, post.batches[:8], delay=5)
    assert dispatch_request(database, post, request_id) == 1  # group 5 takes the room of group 1
    pass_time(database, request_id, 6)
    sql(database, "UPDATE processing_request SET dispatch_at = NULL")
    assert dispatch_group(database, post, request_id, group=1, seen=1) == 0
    group = group_row(database, request_id, 1)
    assert (group["state"], group["reconcile_at"], group["dispatch_no"]) == ("waiting", None, 1)
    assert request_row(database, request_id)["dispatch_at"] is not None
    settle_all(database, post.batches[8:16])
    assert dispatch_request(database, post, request_id) == 1
    assert post.groups[-1][0] == GroupDone(request_id=request_id, group=1, dispatch_no=2)
    assert in_flight(database, request_id) == WINDOW


def test_a_full_window_of_lost_messages_goes_out_again(database: Database) -> None:
    request_id, post = dispatched(database, images=1000)
    assert [dispatch_group(database, post, request_id, group=group, seen=1) for group in (1, 2, 3, 4)] == [1] * 4
    assert in_flight(database, request_id) == WINDOW


def test_a_large_window_is_filled_in_transactions_of_a_few_groups(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id, post = add_request(database, images=3000), Post()
    marked: list[int] = []

    def counted(*args: object, **options: object) -> dispatch.Orders:
        orders = _open_window(*args, **options)  # type: ignore[arg-type]
        marked.append(len(orders))
        return orders

    monkeypatch.setattr(dispatch, "_open_window", counted)
    assert dispatch_request(database, post, request_id, window=2560) == 20
    assert marked == [GROUPS_AT_ONCE, GROUPS_AT_ONCE, 4]
    assert in_flight(database, request_id) == 2560
    assert [done.group for done, _ in post.groups] == list(range(1, 21))


def test_groups_that_wait_with_nothing_due_do_not_hold_up_those_behind_them(database: Database) -> None:
    request_id, post = add_request(database, images=3000), Post()
    sql(database, "UPDATE image SET not_before = now() + interval '1 h' WHERE number <= 20 * 128")
    assert dispatch_request(database, post, request_id) == 4
    assert [done.group for done, _ in post.groups] == [21, 22, 23, 24]


@pytest.mark.parametrize(("workers", "window"), [(0, 512), (1, 512), (2, 768), (16, 6144), (100, LARGEST_WINDOW)])
def test_the_window_follows_the_workers_that_are_alive(redis_url: str, workers: int, window: int) -> None:
    with redis.Redis.from_url(redis_url) as client:
        for _ in range(workers):
            Fleet(client, threads=8).announce()
        assert Fleet(client, threads=8).window() == window


def test_a_worker_that_is_gone_is_not_counted_and_forgotten_in_the_end(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        gone, alive = Fleet(client, threads=800), Fleet(client, threads=8)
        gone.announce()
        later = [200.0]
        monkeypatch.setattr("services.worker.fleet.time.time", lambda: 2e9 + later[0])
        assert alive.window() == WINDOW
        alive.announce()
        assert client.zcard(WORKERS) == 1


def test_a_worker_announces_itself_until_it_stops(redis_url: str) -> None:
    stop = Event()
    stop.set()
    with redis.Redis.from_url(redis_url) as client:
        Fleet(client, threads=8).announce_until(stop)
        assert client.zcard(WORKERS) == 1


def test_without_valkey_the_window_is_the_smallest() -> None:
    away = Fleet(redis.Redis(port=1, socket_connect_timeout=1), threads=800)
    away.announce()
    assert away.window() == WINDOW


def test_groups_that_end_at_once_ask_for_others_once(database: Database) -> None:
    sent: list[Message] = []

    def send(message: Message) -> bool:
        sent.append(message)
        return True

    request_id, post = dispatched(database, images=1000)
    settle_all(database, post.batches)
    reconciler = Reconciler(database=database, send=send, public_url="https://shop.example")
    for group in (1, 2, 3):
        reconciler.run(request_id, group, dispatch_no=1)
    assert sent == [DispatchRequest(request_id=request_id)]
    assert dispatch_request(database, post, request_id) == 4
    reconciler.run(request_id, 4, dispatch_no=1)
    assert sent == [DispatchRequest(request_id=request_id)]  # no group waits any more

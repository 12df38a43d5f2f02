"""Images whose last attempt never reported: given up, or tried once more in isolation."""

from services.notifier.reconcile import Reconciler
from services.worker.dispatch import dispatch_group, dispatch_request
from shared.db import Database
from shared.messages import DispatchGroup, Message
from tests.integration.batches import done, fetch_isolated, report, take
from tests.integration.notifier.conftest import complete, dispatched
from tests.integration.seed import group_row, image_rows, pass_time, request_row, set_images, sql


def test_five_attempts_that_never_reported_are_worker_lost_and_their_neighbours_go_on(
    database: Database, reconciler: Reconciler, sent: list[Message]
) -> None:
    request_id, post = dispatched(database, images=8)
    set_images(database, request_id, [3], attempts=4, isolated=True)
    take(database, post.batches[0], [3])
    reconciler.run(request_id, 1, dispatch_no=None)
    assert image_rows(database, request_id)[3]["state"] == "pending"
    pass_time(database, request_id, 121)
    reconciler.run(request_id, 1, dispatch_no=None)
    rows = image_rows(database, request_id)
    assert (rows[3]["state"], rows[3]["error_code"], rows[3]["claimed_by"]) == ("failed", "worker_lost", None)
    assert {row["state"] for number, row in rows.items() if number != 3} == {"pending"}
    assert group_row(database, request_id)["failed"] == 1
    assert sent[-1] == DispatchGroup(request_id=request_id, group=1, dispatch_no=1)


def test_a_fifth_attempt_that_was_lost_in_a_shared_batch_is_repeated_in_isolation(
    database: Database, reconciler: Reconciler, sent: list[Message]
) -> None:
    request_id, post = dispatched(database, images=8)
    set_images(database, request_id, [3, 4], attempts=4)
    take(database, post.batches[0], [3, 4])
    pass_time(database, request_id, 121)
    reconciler.run(request_id, 1, dispatch_no=None)
    assert {row["state"] for row in image_rows(database, request_id).values()} == {"pending"}
    dispatch_group(database, post, request_id, group=1, seen=1)
    isolated = [batch for batch in post.batches if batch.isolated]
    assert [[image.number for image in batch.images] for batch in isolated] == [[3], [4]]
    assert take(database, isolated[0], [3]) == {3: 5}
    report(database, isolated[0], [done(3)])
    take(database, isolated[1], [4])
    pass_time(database, request_id, 121)
    reconciler.run(request_id, 1, dispatch_no=None)
    rows = image_rows(database, request_id)
    assert (rows[3]["state"], rows[4]["error_code"]) == ("completed", "worker_lost")


def test_the_last_image_that_is_lost_finishes_the_request(database: Database, reconciler: Reconciler) -> None:
    request_id, post = dispatched(database, images=1)
    take(database, post.batches[-1], [1])
    for _ in range(4):
        pass_time(database, request_id, 121)
        take(database, fetch_isolated(request_id, 1), [1])
    pass_time(database, request_id, 121)
    reconciler.run(request_id, 1, dispatch_no=None)
    assert request_row(database, request_id)["status"] == "failed"


def test_a_group_that_waits_for_room_does_not_lose_an_image_whose_last_attempt_is_lost(
    database: Database, reconciler: Reconciler, sent: list[Message]
) -> None:
    request_id, post = dispatched(database, images=700)
    for batch in post.batches[1:16]:
        complete(database, batch)
    report(database, post.batches[0], [done(number) for number in range(2, 9)])
    sql(database, "UPDATE image_group SET state = 'waiting', reconcile_at = NULL WHERE number = 1")
    set_images(database, request_id, [1], attempts=4)
    take(database, post.batches[0], [1])  # the old message comes after all, and its worker dies
    reconciler.run(request_id, 1, dispatch_no=1)
    assert 110 < group_row(database, request_id, 1)["reconcile_in"] <= 120
    pass_time(database, request_id, 121)
    sql(database, "UPDATE image_group SET reconcile_at = NULL WHERE number = 1")
    dispatch_request(database, post, request_id)
    assert group_row(database, request_id, 1)["reconcile_in"] <= 0
    reconciler.run(request_id, 1, dispatch_no=None)
    complete(database, post.batches[16])  # makes room
    dispatch_request(database, post, request_id)
    assert [image.number for batch in post.batches if batch.isolated for image in batch.images] == [1]

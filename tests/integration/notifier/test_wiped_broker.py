"""After Redis lost its messages everything open is due again: once, in batches, even if a notifier is killed."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar
from uuid import UUID

import pytest
import redis
from sqlmodel import Session

from services.notifier import wiped_broker
from services.notifier.periodic import TimeBudget
from services.notifier.sweep import Sweeper
from services.notifier.wiped_broker import begin_epoch, epoch, repair_batch
from services.worker.dispatch import dispatch_request
from services.worker.settle import due_again
from shared.broker.epoch import EpochKey, Known
from shared.db import Database, execute
from shared.ids import uuid7
from shared.messages import Deliver, DispatchGroup, DispatchRequest, Message
from tests.integration.batches import Post, report, take
from tests.integration.notifier.conftest import NOWHERE, dispatched, finished
from tests.integration.race import overtaken, together
from tests.integration.seed import add_request, deliveries_of, image_rows, sql

T = TypeVar("T")


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiped_broker, "REQUESTS_AT_ONCE", 2)
    monkeypatch.setattr(wiped_broker, "GROUPS_AT_ONCE", 3)


def claimed(database: Database, *, requests: int) -> list[UUID]:
    """Requests of five groups each: four are dispatched, and the first batch of each of these is claimed."""
    made = [add_request(database, images=5 * 128) for _ in range(requests)]
    for request_id in made:
        post = Post()
        dispatch_request(database, post, request_id)
        for batch in post.batches:
            if batch.images[0].number % 128 == 1:
                take(database, batch, [image.number for image in batch.images])
    return made


def begin(database: Database) -> None:
    seen = database.transact(epoch)
    assert database.transact(lambda session: begin_epoch(session, seen=seen, new=uuid7()))


def repaired(database: Database) -> list[int]:
    """How much each batch repaired, up to the end."""
    return list(iter(partial(database.transact, repair_batch), 0))


def due(database: Database) -> tuple[int, int, int]:
    """Requests to dispatch, groups to reconcile, and images whose claim was released and attempt given back."""
    (row,) = sql(
        database,
        """
        SELECT (SELECT count(*) FROM processing_request WHERE dispatch_at <= now()) AS requests,
               (SELECT count(*) FROM image_group WHERE reconcile_at <= now()) AS groups,
               (SELECT count(*) FROM image WHERE number %% 128 BETWEEN 1 AND 8 AND number <= 512
                AND claimed_by IS NULL AND attempts = 0 AND not_before <= now()) AS images
        """,
    )
    return row["requests"], row["groups"], row["images"]


def test_everything_open_is_sent_again_once(
    database: Database, sweeper: Sweeper, sent: list[Message], valkey: "redis.Redis"
) -> None:
    (request_id,) = claimed(database, requests=1)
    delivery = deliveries_of(database, finished(database, sweeper.reconciler))[0]["id"]
    sweeper.run_once()
    sent.clear()
    before = database.transact(epoch)
    sweeper.run_once()
    assert (sent, database.transact(epoch)) == ([], before)
    valkey.flushall()
    sweeper.run_once()
    current = database.transact(epoch)
    assert current != before
    assert sweeper.epoch_key.read() == Known(current)
    assert DispatchRequest(request_id=request_id) in sent
    assert Deliver(delivery_id=delivery) in sent
    assert {message.group for message in sent if isinstance(message, DispatchGroup)} == {1, 2, 3, 4}
    sent.clear()
    sweeper.run_once()
    assert (sent, database.transact(epoch)) == ([], current)


@pytest.mark.usefixtures("small_batches")
def test_the_repair_goes_in_batches_of_requests_and_then_of_groups(database: Database) -> None:
    claimed(database, requests=3)
    begin(database)
    assert due(database) == (0, 0, 0)
    assert repaired(database) == [2, 1, 3, 3, 3, 3]
    assert due(database) == (3, 12, 12 * 8)


class Killed(BaseException):
    """The process ends here."""


class Dying(Database):
    """Is killed in the transaction with number `dies_at`, before it commits."""

    def __init__(self, database: Database, dies_at: int) -> None:
        self.engine, self.patience, self.left = database.engine, 0.0, dies_at

    def transact(self, work: Callable[[Session], T]) -> T:
        def work_or_die(session: Session) -> T:
            done = work(session)
            self.left -= 1
            if self.left == 0:
                raise Killed
            return done

        return super().transact(work_or_die)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("dies_at", [2, 3, 5, 7, 9])
def test_a_notifier_killed_in_the_middle_leaves_the_rest_to_the_next_and_no_attempt_is_given_back_twice(
    database: Database, sweeper: Sweeper, valkey: "redis.Redis", dies_at: int
) -> None:
    requests = claimed(database, requests=3)
    for request_id in requests:
        sql(database, "UPDATE image SET attempts = attempts + 2 WHERE request_id = %(id)s", id=request_id)
    valkey.flushall()
    dying = replace(sweeper, reconciler=replace(sweeper.reconciler, database=Dying(database, dies_at)))
    with pytest.raises(Killed):
        dying.repair_wiped_broker(budget(sweeper))
    sweeper.repair_wiped_broker(budget(sweeper))
    assert due(database)[:2] == (3, 12)
    assert {row["attempts"] for request_id in requests for row in image_rows(database, request_id).values()} == {2}
    assert sweeper.epoch_key.read() == Known(database.transact(epoch))


def budget(sweeper: Sweeper) -> TimeBudget:
    return TimeBudget(60, sweeper.stop)


def test_a_notifier_with_little_time_goes_on_in_its_next_run(
    database: Database, sweeper: Sweeper, small_batches: None, valkey: "redis.Redis"
) -> None:
    claimed(database, requests=3)
    valkey.flushall()
    runs = 0
    while sweeper.repair_wiped_broker(TimeBudget(0, sweeper.stop)):
        runs += 1
    assert (runs > 1, due(database)[1]) == (True, 12)


def test_an_image_that_waits_for_a_retry_goes_on_waiting(database: Database) -> None:
    request_id, post = dispatched(database, images=2)
    take(database, post.batches[0], [1, 2])
    report(database, post.batches[0], [due_again(2, delay=15)])
    begin(database)
    repaired(database)
    rows = image_rows(database, request_id)
    assert [(row["claimed_by"], row["attempts"], row["due_in"] <= 0) for row in rows.values()] == [
        (None, 0, True),
        (None, 1, False),
    ]


def test_an_epoch_that_another_notifier_begins_meanwhile_is_not_another_wipe(
    database: Database, sweeper: Sweeper, valkey: "redis.Redis"
) -> None:
    begun: list[UUID] = []

    class Overtaken(EpochKey):
        """Another notifier repairs everything after Redis has answered and before the answer is used."""

        def read(self) -> Known | None:
            known = super().read()
            sweeper.run_once()
            begun.append(database.transact(epoch))
            return known

    valkey.flushall()
    replace(sweeper, epoch_key=Overtaken(valkey)).run_once()
    assert begun == [database.transact(epoch)]


def test_two_notifiers_do_not_work_on_the_same_repair_at_once(database: Database) -> None:
    claimed(database, requests=1)
    begin(database)
    first, second = overtaken(database, repair_batch, repair_batch)
    assert (first, second) == (1, 0)


def test_of_two_notifiers_one_begins_the_new_epoch(database: Database) -> None:
    seen, new = database.transact(epoch), uuid7()
    first, second = overtaken(
        database,
        lambda session: begin_epoch(session, seen=seen, new=new),
        lambda session: begin_epoch(session, seen=seen, new=uuid7()),
    )
    assert (first, second, database.transact(epoch)) == (True, False, new)


def test_many_sweepers_at_once_after_a_wipe_agree_on_one_epoch(
    database: Database, sweeper: Sweeper, valkey: "redis.Redis"
) -> None:
    claimed(database, requests=3)
    valkey.flushall()
    together([replace(sweeper).run_once for _ in range(4)])
    sweeper.run_once()
    assert sweeper.epoch_key.read() == Known(database.transact(epoch))
    assert database.transact(repair_batch) == 0
    assert sql(database, "SELECT 1 FROM image WHERE claimed_by IS NOT NULL") == []


def test_a_broker_that_cannot_be_asked_is_not_wiped(database: Database, sweeper: Sweeper) -> None:
    before = database.transact(epoch)
    replace(sweeper, epoch_key=NOWHERE).run_once()
    assert database.transact(epoch) == before


def test_a_locked_group_delays_the_repair_and_loses_nothing(database: Database, small_batches: None) -> None:
    """A lock that is held for too long costs this batch; the next one begins where it stopped."""
    claimed(database, requests=1)
    begin(database)
    hasty = Database(database.engine.url.render_as_string(hide_password=False), statement_timeout_ms=300)
    with Session(database.engine) as session, session.begin():
        execute(session, "SELECT 1 FROM image_group WHERE number = 2 FOR UPDATE")
        with pytest.raises(Exception, match="statement timeout"):
            repaired(hasty)
    assert sum(repaired(hasty)) == 4
    hasty.close()
    assert due(database) == (1, 4, 32)
